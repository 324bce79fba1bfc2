import type { Clock } from '../ports/clock.ts'
import type { TaskQueue } from '../ports/task-queue.ts'
import type { SweepOptions, TaskStore } from '../ports/task-store.ts'
import { Ringer } from './ringer.ts'

/** What a sweeper works with. */
export interface SweeperParts {
  readonly store: Pick<TaskStore, 'sweep'>
  readonly queue: Pick<TaskQueue, 'ring'>
  readonly clock: Clock
  /** Between two sweeps, more or less: several sweepers should not come together. */
  readonly everyMs: number
  /** Owners of leases renew in this time; see rule 2. */
  readonly renewMs: number
  readonly sweep: Omit<SweepOptions, 'limit'>
  readonly onChanged: (id: string) => void
  readonly onError: (message: string, error: unknown) => void
}

const LIMIT = 500
/** Between two sweeps, however much becomes due. */
const LEAST_WAIT_MS = 50
/** Of a renewal period, in which the store must have answered before a sweeper believes that its silence was the owners'. */
const TRUST_AFTER_PERIODS = 1.5

/**
 * Does what time has made due, and rings for it. Any number may run.
 *
 * 1. A sweep that did as much as it may is followed by another at once.
 * 2. After an outage of the store owners renew first: a sweeper takes no leases until the store has answered it for one and a
 *    half renewal periods. Otherwise each restart of the store would run everything again.
 */
export class Sweeper {
  readonly #parts: SweeperParts
  /** No sweep waits for a broker: what is due is due without it. */
  readonly #ringer: Ringer
  readonly #stop = new AbortController()
  #running: Promise<void> | undefined
  /** When to sweep at the latest, by the monotonic clock. */
  #nextMs = 0
  #wait = new AbortController()
  /** Since when the store has answered without a break; `undefined`: it has not. */
  #answersSinceMs: number | undefined

  constructor(parts: SweeperParts) {
    this.#parts = parts
    this.#ringer = new Ringer(parts.queue, (error) => parts.onError('Workers could not be told of tasks.', error))
  }

  start(): void {
    this.#running ??= this.#run()
  }

  /** Something becomes due after `afterMs`: sweeps then, and not only when it would anyway. */
  dueAfter(afterMs: number): void {
    const atMs = this.#parts.clock.monotonic() + Math.max(afterMs, LEAST_WAIT_MS)
    if (atMs >= this.#nextMs) return
    this.#nextMs = atMs
    this.#wait.abort()
  }

  async close(): Promise<void> {
    this.#stop.abort()
    this.#wait.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { clock, everyMs } = this.#parts
    const { signal } = this.#stop
    while (!signal.aborted) {
      this.#nextMs = clock.monotonic() + everyMs * (0.5 + Math.random())
      if (await this.#sweep()) continue
      for (let waitMs; (waitMs = this.#nextMs - clock.monotonic()) > 0 && !signal.aborted;) {
        this.#wait = new AbortController()
        await clock.sleep(waitMs, this.#wait.signal).catch(() => undefined) // sooner, or closed
      }
    }
  }

  async #sweep(): Promise<boolean> {
    const { store, clock, sweep, renewMs, onChanged, onError } = this.#parts
    const nowMs = clock.monotonic()
    const isTrusted =
      this.#answersSinceMs !== undefined && nowMs - this.#answersSinceMs >= renewMs * TRUST_AFTER_PERIODS
    try {
      const report = await store.sweep({ ...sweep, limit: LIMIT, sparesLeases: !isTrusted })
      this.#answersSinceMs ??= nowMs
      // What was taken from a lost worker waits, and then is everybody's.
      if (report.lost > 0) this.dueAfter(sweep.crashBackoffMs)
      for (const { id } of report.changed) onChanged(id)
      // A bell that is lost rings again at the next sweep.
      for (const { queue, ids } of report.rings) for (const id of ids) this.#ringer.ring(queue, id)
      return [report.woken, report.expired, report.lost, report.purged].some((count) => count >= LIMIT)
    } catch (error) {
      this.#answersSinceMs = undefined
      onError('Due tasks could not be looked for.', error)
      return false
    }
  }
}

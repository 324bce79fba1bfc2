import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import type { TaskQueue } from '../ports/task-queue.ts'
import type { QueueState, Telemetry } from '../ports/telemetry.ts'
import { atMost, START_WAIT_MS } from './at-most.ts'

/** What a {@link Topology} works with. */
export interface TopologyParts {
  readonly queue: Pick<TaskQueue, 'ensureTopology'>
  readonly queues: readonly string[]
  readonly clock: Clock
  /** Told of what each attempt came to, but for one that ends the start. */
  readonly onChange: (error: Error | undefined) => void
}

/** Between two attempts; it doubles. */
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 15_000

/**
 * Has the broker create or check what a server's queues need. The broker is a doorbell: tasks are made and found without it, so
 * nobody waits for one that is away.
 *
 * 1. A start fails by what the first attempt finds to differ, since that is a mistake of whoever set it up; by nothing else.
 * 2. A broker that is away is asked again until it has what is needed, with jitter: many nodes may have lost the same one.
 * 3. What is found to differ later is told, and looked at again: it can be put right while the server runs.
 */
export class Topology {
  readonly #parts: TopologyParts
  readonly #closed = new AbortController()
  readonly #standing = Promise.withResolvers<void>()
  #isStanding = false
  #isStarting = true

  constructor(parts: TopologyParts) {
    this.#parts = parts
  }

  /** The broker has what is needed. */
  get isStanding(): boolean {
    return this.#isStanding
  }
  /** Resolves when the broker has what is needed; never, where that does not come about. */
  get stands(): Promise<void> {
    return this.#standing.promise
  }

  /**
   * Resolves when the start may go on.
   * @throws {HoldfastError} `backend_mismatch` or `invalid_option`, with what differs.
   */
  async start(): Promise<void> {
    const first = this.#ensure()
    void this.#persist(first)
    try {
      await atMost(this.#parts.clock, START_WAIT_MS, first)
    } catch (error) {
      if (!isDifference(error)) return
      this.close()
      throw error
    } finally {
      this.#isStarting = false
    }
  }

  /** Asks no more. */
  close(): void {
    this.#closed.abort()
  }

  async #ensure(): Promise<void> {
    await this.#parts.queue.ensureTopology(this.#parts.queues)
  }

  async #persist(first: Promise<void>): Promise<void> {
    const { clock, onChange } = this.#parts
    const { signal } = this.#closed
    let attempt = first
    for (let failures = 0; !signal.aborted; failures++)
      try {
        await attempt
        this.#isStanding = true
        onChange(undefined)
        this.#standing.resolve()
        return
      } catch (error) {
        if (signal.aborted) return
        if (!(this.#isStarting && isDifference(error))) onChange(error as Error)
        const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures) * (0.5 + Math.random() / 2)
        await clock.sleep(pauseMs, signal).catch(() => undefined) // closed
        attempt = signal.aborted ? Promise.resolve() : this.#ensure()
      }
  }
}

/** Whether what the broker has is something else than what is needed: no waiting mends that. */
function isDifference(error: unknown): boolean {
  return error instanceof HoldfastError && (error.code === 'backend_mismatch' || error.code === 'invalid_option')
}

/** Tells of each change of a broker once, whichever of its users finds out. */
export function watchQueue(telemetry: Pick<Telemetry, 'queueChanged'>): (error: Error | undefined) => void {
  let last: QueueState = 'up'
  return (error) => {
    const state = error === undefined ? 'up' : isDifference(error) ? 'differs' : 'away'
    if (state === last) return
    last = state
    telemetry.queueChanged(state, error)
  }
}

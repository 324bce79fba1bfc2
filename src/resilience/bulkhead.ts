import type { ResolvedDependency } from '../define/dependency.ts'
import type { Clock } from '../ports/clock.ts'
import { Timed, Timers } from './timers.ts'

/** Why a place was not given: none was free in time, or nobody waits for it any more. */
export type Refusal = 'full' | 'cancelled'

/** Waits for a place: until it has one, its time is up, or its caller goes away. */
class Waiting extends Timed {
  readonly #signal: AbortSignal | undefined
  readonly #leave: (waiting: Waiting) => void
  readonly #done: (refusal: Refusal | undefined) => void

  constructor(
    signal: AbortSignal | undefined,
    leave: (waiting: Waiting) => void,
    done: (refusal: Refusal | undefined) => void,
  ) {
    super()
    this.#signal = signal
    this.#leave = leave
    this.#done = done
    signal?.addEventListener('abort', this)
  }
  handleEvent(): void {
    this.#leave(this)
    this.end('cancelled')
  }
  onDue(): void {
    this.#leave(this)
    this.end('full')
  }
  end(refusal: Refusal | undefined): void {
    this.#signal?.removeEventListener('abort', this)
    this.#done(refusal)
  }
}

/** So many at once, and a bounded queue, first in, first out, before them. A place that becomes free goes to who has waited longest. */
export class Bulkhead {
  readonly #options: Exclude<ResolvedDependency['bulkhead'], false>
  readonly #clock: Clock
  readonly #timers: Timers
  /** In the order of their coming. */
  readonly #queue = new Set<Waiting>()
  #running = 0

  constructor(options: Exclude<ResolvedDependency['bulkhead'], false>, clock: Clock) {
    this.#options = options
    this.#clock = clock
    this.#timers = new Timers(clock)
  }

  get running(): number {
    return this.#running
  }
  get queued(): number {
    return this.#queue.size
  }
  get maxWaitMs(): number {
    return this.#options.maxWaitMs
  }

  /** Takes a place, if one is free. Give it back by {@link give}. */
  take(): boolean {
    // While anybody waits no place is free: each goes to the next at once.
    if (this.#running >= this.#options.maxConcurrent) return false
    this.#running++
    return true
  }

  /**
   * Waits for a place, where none was free.
   * @param maxWaitMs no longer than this, where it is less than the bulkhead's own
   * @returns why there is none; `undefined`: it is taken.
   */
  wait(maxWaitMs: number, signal: AbortSignal | undefined): Promise<Refusal | undefined> {
    const { maxQueue, maxWaitMs: ownMs } = this.#options
    const waitMs = Math.min(maxWaitMs, ownMs)
    if (signal?.aborted) return Promise.resolve('cancelled')
    if (this.#queue.size >= maxQueue || waitMs <= 0) return Promise.resolve('full')
    return new Promise((resolve) => {
      const waiting = new Waiting(signal, (one) => this.#leave(one), resolve)
      this.#queue.add(waiting)
      this.#timers.add(waiting, this.#clock.monotonic() + waitMs)
    })
  }

  /** Gives a place back. */
  give(): void {
    for (const next of this.#queue) {
      this.#leave(next)
      next.end(undefined)
      return // the place goes on to it
    }
    this.#running--
  }

  #leave(waiting: Waiting): void {
    this.#queue.delete(waiting)
    this.#timers.remove(waiting)
  }
}

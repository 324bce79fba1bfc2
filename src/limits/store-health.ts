import type { Clock } from '../ports/clock.ts'
import type { StateStore, TokenBucket } from '../ports/state-store.ts'

/** Mean time between two attempts to reach a store that did not answer; jittered by half of it. */
const PROBE_MS = 1500

/**
 * Whether the shared state answers. After a failure it is left alone, and asked in the background until it answers again:
 * so no request waits for a time-out more than once in an outage.
 */
export class StoreHealth {
  readonly #store: StateStore
  readonly #clock: Clock
  readonly #closed = new AbortController()
  #isLost = false

  constructor(store: StateStore, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  get isLost(): boolean {
    return this.#isLost
  }
  /** What a refused client is told to wait. */
  get retryAfterMs(): number {
    return Math.ceil(PROBE_MS * (1 + Math.random()))
  }

  /** The store did not answer. `true`: it is news. @param want a bucket that it was asked for. */
  lose(tag: string, want: TokenBucket): boolean {
    if (this.#isLost) return false
    this.#isLost = true
    void this.#probe(tag, { ...want, cost: 0, least: 0 })
    return true
  }

  async #probe(tag: string, want: TokenBucket): Promise<void> {
    while (!this.#closed.signal.aborted) {
      try {
        await this.#clock.sleep(PROBE_MS * (0.5 + Math.random()), this.#closed.signal)
        await this.#store.takeTokens(tag, [want])
        this.#isLost = false
        return
      } catch {
        // Still lost, or closed: the one is tried again, the other ends the loop.
      }
    }
  }

  close(): void {
    this.#closed.abort()
  }
}

import type { Clock } from '../ports/clock.ts'

/** Something that wants to look at the time now and then. */
export interface Ticking {
  tick(nowMs: number): void
}

/**
 * One slow beat for everything that waits: keep-alives, quiet calls, lingering streams. A timer for each request would cost
 * more than the request.
 *
 * Invariant: while `items` is empty no timer runs.
 */
export class Ticker {
  readonly #clock: Clock
  readonly #intervalMs: number
  readonly #items = new Set<Ticking>()
  readonly #stop = new AbortController()
  #running = false

  constructor(clock: Clock, intervalMs: number) {
    this.#clock = clock
    this.#intervalMs = intervalMs
  }

  add(item: Ticking): void {
    this.#items.add(item)
    if (!this.#running && !this.#stop.signal.aborted) void this.#run()
  }

  delete(item: Ticking): void {
    this.#items.delete(item)
  }

  close(): void {
    this.#items.clear()
    this.#stop.abort()
  }

  async #run(): Promise<void> {
    this.#running = true
    while (this.#items.size > 0) {
      try {
        await this.#clock.sleep(this.#intervalMs, this.#stop.signal)
      } catch {
        break // closed
      }
      const now = this.#clock.monotonic()
      for (const item of this.#items) item.tick(now)
    }
    this.#running = false
  }
}

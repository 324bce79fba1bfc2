import type { Clock } from '../ports/clock.ts'

/** A clock that moves when the test says so. */
export class FakeClock implements Clock {
  readonly #startMs: number
  #elapsedMs = 0
  readonly #sleepers = new Set<{ dueMs: number; wake: () => void }>()

  /** @param startMs what `now()` says first, in milliseconds since the epoch. */
  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#startMs = startMs
  }

  now(): number {
    return this.#startMs + this.#elapsedMs
  }
  monotonic(): number {
    return this.#elapsedMs
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error)
      const onAbort = (): void => {
        this.#sleepers.delete(sleeper)
        reject(signal!.reason as Error)
      }
      const sleeper = {
        dueMs: this.#elapsedMs + ms,
        wake: () => {
          signal?.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#sleepers.add(sleeper)
    })
  }

  /** Moves time on, waking sleepers in the order in which they are due, with a turn of the event loop after each. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#elapsedMs + ms
    for (;;) {
      const next = [...this.#sleepers].filter(({ dueMs }) => dueMs <= untilMs).sort((a, b) => a.dueMs - b.dueMs)[0]
      if (next === undefined) break
      this.#sleepers.delete(next)
      this.#moveTo(next.dueMs)
      next.wake()
      await turn()
    }
    this.#moveTo(untilMs)
    await turn()
  }

  /** How many wait. */
  get sleeping(): number {
    return this.#sleepers.size
  }

  #moveTo(elapsedMs: number): void {
    this.#elapsedMs = Math.max(this.#elapsedMs, elapsedMs)
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

import { HoldfastError } from '../../errors/holdfast-error.ts'

/** What a queue tells of its broker, for log and metrics. */
export interface QueueEvents {
  /** It is reached, the first time or again. */
  onUp(): void
  /**
   * It is lost, or could not be reached: told once for each time that it is away. Or it is there, and what it has differs from what
   * is needed (`backend_mismatch`).
   */
  onDown(error: Error): void
  /** A listener has rejected, so its bell comes again. */
  onRefused(error: unknown): void
}

/** Tells each change once. A queue with several connections is up when none of them is down. */
export class Presence {
  readonly #events: QueueEvents
  readonly #down = new Set<string>()
  #isUp: boolean | undefined
  #differs = false

  constructor(events: QueueEvents) {
    this.#events = events
  }

  readonly refused = (error: unknown): void => this.#events.onRefused(error)

  up(part = ''): void {
    this.#down.delete(part)
    if (this.#isUp === true || this.#down.size > 0) return
    this.#isUp = true
    this.#differs = false
    this.#events.onUp()
  }

  down(error: Error, part = ''): void {
    this.#down.add(part)
    const differs = error instanceof HoldfastError && error.code === 'backend_mismatch'
    // One that has come back with something else is another trouble than one that is away.
    if (this.#isUp === false && differs === this.#differs) return
    this.#isUp = false
    this.#differs = differs
    this.#events.onDown(error)
  }
}

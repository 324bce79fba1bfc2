/** What a queue tells of its broker, for log and metrics. */
export interface QueueEvents {
  /** It is reached, the first time or again. */
  onUp(): void
  /** It is lost, or could not be reached. Told once for each time that it is away. */
  onDown(error: Error): void
  /** A listener has rejected, so its bell comes again. */
  onRefused(error: unknown): void
}

/** Tells each change once. A queue with several connections is up when none of them is down. */
export class Presence {
  readonly #events: QueueEvents
  readonly #down = new Set<string>()
  #isUp: boolean | undefined

  constructor(events: QueueEvents) {
    this.#events = events
  }

  readonly refused = (error: unknown): void => this.#events.onRefused(error)

  up(part = ''): void {
    this.#down.delete(part)
    if (this.#isUp === true || this.#down.size > 0) return
    this.#isUp = true
    this.#events.onUp()
  }

  down(error: Error, part = ''): void {
    this.#down.add(part)
    if (this.#isUp === false) return
    this.#isUp = false
    this.#events.onDown(error)
  }
}

/** What a queue tells of its broker, for log and metrics. */
export interface QueueEvents {
  /** It is reached, the first time or again. */
  onUp(): void
  /** It is lost, or could not be reached. Told once for each time that it is away. */
  onDown(error: Error): void
}

/** Tells each change once. */
export class Presence {
  readonly #events: QueueEvents
  #isUp: boolean | undefined

  constructor(events: QueueEvents) {
    this.#events = events
  }

  up(): void {
    if (this.#isUp === true) return
    this.#isUp = true
    this.#events.onUp()
  }

  down(error: Error): void {
    if (this.#isUp === false) return
    this.#isUp = false
    this.#events.onDown(error)
  }
}

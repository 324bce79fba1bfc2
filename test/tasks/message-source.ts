import type { MessageSource, SourceEvents, SourceMessage } from '../../src/ports/message-source.ts'

/** A broker in the test's memory: gives out what is in it, again where it was not acknowledged, as often as it likes. */
export class TestSource implements MessageSource {
  readonly waiting: SourceMessage[] = []
  readonly acknowledged: SourceMessage[] = []
  readonly aside: { message: SourceMessage; reason: string }[] = []
  readonly events: SourceEvents
  isPaused = false
  isClosed = false
  underWay = 0
  #onMessage: ((message: SourceMessage, signal: AbortSignal) => Promise<string | void>) | undefined
  #credits = 0
  readonly #lost = new AbortController()

  constructor(events: SourceEvents) {
    this.events = events
  }

  async listen(
    onMessage: (message: SourceMessage, signal: AbortSignal) => Promise<string | void>,
    { credits }: { readonly credits: number },
  ) {
    this.#onMessage = onMessage
    this.#credits = credits
    this.deliver()
    return {
      pause: () => void (this.isPaused = true),
      resume: () => undefined,
      close: async () => undefined,
    }
  }

  send(body: string, id: string | undefined, headers: Record<string, string> = {}): void {
    this.waiting.push({ id, body: Buffer.from(body), headers })
    this.deliver()
  }

  deliver(): void {
    while (this.#onMessage !== undefined && !this.isPaused && this.underWay < this.#credits) {
      const message = this.waiting.shift()
      if (message === undefined) return
      this.underWay++
      this.#onMessage(message, this.#lost.signal)
        .then(
          (reason) =>
            typeof reason === 'string' ? this.aside.push({ message, reason }) : this.acknowledged.push(message),
          (error: unknown) => {
            this.events.onRefused(error)
            this.waiting.push(message)
          },
        )
        .finally(() => {
          this.underWay--
          this.deliver()
        })
    }
  }

  async close(): Promise<void> {
    this.isClosed = true
    this.isPaused = true
    this.#lost.abort()
  }
}

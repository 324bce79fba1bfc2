import type { ChannelModel, ConfirmChannel, Message, Options } from 'amqplib'
import { HoldfastError } from '../../errors/holdfast-error.ts'

/** Messages that the broker has not yet confirmed. What comes on top is refused: the store rings again. */
const MAX_UNCONFIRMED = 10_000

/** Publishes with confirms on one channel. A message that no queue took counts as failed. */
export class Publisher {
  readonly #channel: Promise<ConfirmChannel>
  /** Ids of messages that came back; the confirm follows. */
  readonly #returned = new Set<string>()
  #nextId = 0
  #unconfirmed = 0
  #isOpen = true

  constructor(model: ChannelModel) {
    this.#channel = model.createConfirmChannel().then((channel) => {
      channel.on('return', (message: Message) => this.#returned.add(String(message.properties.messageId)))
      channel.on('error', () => undefined) // `close` follows, and each message under way is told
      channel.on('close', () => (this.#isOpen = false))
      return channel
    })
    this.#channel.catch(() => (this.#isOpen = false))
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /**
   * Resolves when the broker has confirmed.
   * @param more of the message's properties; its id is this publisher's own
   * @throws {HoldfastError} `backend_failed` where the broker refused, or no queue took it.
   */
  async publish(queue: string, body: string | Buffer, more: Options.Publish = {}): Promise<void> {
    if (this.#unconfirmed >= MAX_UNCONFIRMED)
      throw new HoldfastError('backend_failed', `RabbitMQ has ${MAX_UNCONFIRMED} messages to confirm already.`)
    this.#unconfirmed++
    try {
      const channel = await this.#channel
      const messageId = String(this.#nextId++)
      await new Promise<void>((resolve, reject) => {
        const options = { contentType: 'application/json', ...more, persistent: true, mandatory: true, messageId }
        channel.publish('', queue, Buffer.from(body), options, (error: Error | null) => {
          const isReturned = this.#returned.delete(messageId)
          if (error !== null) reject(error)
          else if (isReturned)
            reject(
              new HoldfastError(
                'backend_failed',
                `RabbitMQ has no queue ${JSON.stringify(queue)}: it was deleted, or never declared.`,
              ),
            )
          else resolve()
        })
      })
    } finally {
      this.#unconfirmed--
    }
  }
}

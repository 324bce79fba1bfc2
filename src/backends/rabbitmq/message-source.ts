import type { ChannelModel, ConsumeMessage } from 'amqplib'
import type { MessageSource, SourceEvents, SourceMessage } from '../../ports/message-source.ts'
import type { QueueListener } from '../../ports/task-queue.ts'
import { closedError, toQueueError } from '../broker/bell.ts'
import { Presence } from '../broker/events.ts'
import { loadClient } from '../broker/url.ts'
import { within } from '../broker/wait.ts'
import { Publishing, Reading } from './connections.ts'
import type { Amqplib } from './link.ts'
import type { Consumption } from './listener.ts'
import { parseRabbitmqSourceUrl, type RabbitmqSourceAddress } from './url.ts'

/**
 * Opens a queue of RabbitMQ to be read from: `amqp://[user:password@]host[:port][/vhost]/queue[?options]`. Does not wait for the
 * broker.
 * @throws {HoldfastError} `invalid_option` for a malformed URL, or where the package `amqplib` is not installed.
 */
export async function openRabbitmqSource(url: string, events: SourceEvents): Promise<MessageSource> {
  const address = parseRabbitmqSourceUrl(url)
  const library = await loadClient(() => import('amqplib'), 'amqplib@2', address.shown)
  return new RabbitmqSource(library, address, events)
}

/**
 * A queue of RabbitMQ, classic or quorum. A message's id is its property `message-id`. One that is not to be acted on goes to the
 * queue that the URL names as `dead`, confirmed before it is acknowledged; without one it is rejected, for the queue's own
 * dead-letter exchange.
 */
class RabbitmqSource implements MessageSource {
  readonly #address: RabbitmqSourceAddress
  readonly #reading: Reading<SourceMessage>
  /** For dead letters. */
  readonly #publishing: Publishing | undefined
  #isClosed = false

  constructor(library: Amqplib, address: RabbitmqSourceAddress, events: SourceEvents) {
    this.#address = address
    this.#reading = new Reading(library, address, 'reads', new Presence(events))
    if (address.dead !== undefined)
      this.#publishing = new Publishing(library, address, 'dead letters', {
        onUp: () => undefined, // a dead letter that could not be kept is told by itself
        onDown: () => undefined,
      })
  }

  async listen(
    onMessage: (message: SourceMessage, signal: AbortSignal) => Promise<string | void>,
    { credits }: { readonly credits: number },
  ): Promise<QueueListener> {
    if (this.#isClosed) throw closedError('message source')
    const { queue, dead, commandTimeoutMs } = this.#address
    const what: Consumption<SourceMessage> = {
      queues: [queue],
      commandTimeoutMs,
      prepare: (model) =>
        within(commandTimeoutMs, `A look at the queue ${JSON.stringify(queue)}`, exists(model, queue)),
      read: toSourceMessage,
      ...(dead === undefined ? {} : { keep: (message, reason) => this.#keep(dead, message, reason) }),
    }
    return this.#reading.listen(what, onMessage, credits)
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#reading.closeListeners()
    await Promise.all([this.#reading.close(), this.#publishing?.close()])
  }

  async #keep(dead: string, { content, properties }: ConsumeMessage, reason: string): Promise<void> {
    try {
      const publisher = await this.#publishing!.publisher()
      const headers = {
        ...properties.headers,
        'holdfast-refusal': reason,
        'holdfast-queue': this.#address.queue,
        ...(properties.messageId === undefined ? {} : { 'holdfast-message-id': String(properties.messageId) }),
      }
      const contentType = properties.contentType as string | undefined
      const kept = publisher.publish(dead, content, { headers, ...(contentType && { contentType }) })
      await within(this.#address.commandTimeoutMs, 'RabbitMQ: a dead letter', kept)
    } catch (error) {
      throw toQueueError('RabbitMQ', 'a dead letter', error)
    }
  }
}

/** On a channel of its own: a queue that is not there closes it. */
async function exists(model: ChannelModel, queue: string): Promise<void> {
  const channel = await model.createChannel()
  channel.on('error', () => undefined) // comes back from the operation too
  await channel.checkQueue(queue)
  await channel.close()
}

function toSourceMessage({ content, properties }: ConsumeMessage): SourceMessage {
  const { messageId, headers = {} } = properties
  const texts = Object.entries(headers).map(([name, value]): [string, string] => [name, toText(value)])
  return {
    id: messageId === undefined ? undefined : String(messageId),
    body: content,
    headers: Object.fromEntries(texts),
  }
}

/** Values of AMQP tables have types of their own. */
const toText = (value: unknown): string =>
  typeof value === 'string'
    ? value
    : Buffer.isBuffer(value)
      ? value.toString()
      : (JSON.stringify(value) ?? String(value))

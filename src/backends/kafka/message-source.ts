import type { Admin, Message } from '@platformatic/kafka'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { MessageSource, SourceEvents, SourceMessage } from '../../ports/message-source.ts'
import type { QueueListener } from '../../ports/task-queue.ts'
import { closedError } from '../broker/bell.ts'
import { Presence } from '../broker/events.ts'
import { within } from '../broker/wait.ts'
import { loadKafka, toKafkaError, type KafkaClients } from './client.ts'
import { KafkaListener, type Consumption } from './listener.ts'
import { isUnknownTopic } from './topology.ts'
import { parseKafkaSourceUrl, type KafkaSourceAddress } from './url.ts'

/**
 * Opens a topic of Kafka to be read from: `kafka://[user:password@]host[:port],…/topic[?options]`. Does not wait for the brokers.
 * @param group consumer group, where the URL names none
 * @throws {HoldfastError} `invalid_option` for a malformed URL, or where the package `@platformatic/kafka` is not installed.
 */
export async function openKafkaSource(url: string, group: string, events: SourceEvents): Promise<MessageSource> {
  return new KafkaSource(await loadKafka(parseKafkaSourceUrl(url)), group, events)
}

/**
 * A topic of Kafka, read by a consumer group from where it stood, at first from the beginning. A message's id is the topic's id
 * (a topic that is deleted and created again has another), its partition and its offset. One that is not to be acted on goes to
 * the topic that the URL names as `dead` before its offset is committed; without one it is passed over, and stays where it is.
 */
class KafkaSource implements MessageSource {
  readonly #clients: KafkaClients<KafkaSourceAddress>
  readonly #group: string
  readonly #presence: Presence
  readonly #admin: Admin
  readonly #producer: ReturnType<KafkaClients['producer']> | undefined
  readonly #listeners = new Set<KafkaListener<SourceMessage>>()
  #topicId = ''
  #isClosed = false

  constructor(clients: KafkaClients<KafkaSourceAddress>, group: string, events: SourceEvents) {
    this.#clients = clients
    this.#group = clients.address.group ?? group
    this.#presence = new Presence(events)
    this.#admin = clients.admin()
    this.#producer = clients.address.dead === undefined ? undefined : clients.producer()
  }

  async listen(
    onMessage: (message: SourceMessage, signal: AbortSignal) => Promise<string | void>,
    { credits }: { readonly credits: number },
  ): Promise<QueueListener> {
    if (this.#isClosed) throw closedError('message source')
    const { topic } = this.#clients.address
    const what: Consumption<SourceMessage> = {
      topic,
      groupId: this.#group,
      maxDeliveries: Number.POSITIVE_INFINITY,
      prepare: () => this.#prepare(),
      read: (message) => this.#read(message),
      keep: (message, reason) => this.#keep(message, reason),
    }
    const listener = new KafkaListener(this.#clients, [what], onMessage, credits, {
      onReady: () => this.#presence.up(),
      onRefused: this.#presence.refused,
      onTrouble: (error) => this.#presence.down(error),
      onClose: () => this.#listeners.delete(listener),
    })
    this.#listeners.add(listener)
    await listener.started()
    return listener
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await Promise.all(Array.from(this.#listeners, (listener) => listener.close()))
    await this.#clients.end(this.#producer, this.#admin)
  }

  async #prepare(): Promise<void> {
    const { topic } = this.#clients.address
    try {
      const { topics } = await this.#admin.metadata({ topics: [topic], forceUpdate: true })
      this.#topicId = topics.get(topic)!.id
    } catch (cause) {
      if (!isUnknownTopic(cause)) throw cause
      throw new HoldfastError('backend_mismatch', `Kafka has no topic ${JSON.stringify(topic)}.`, { cause })
    }
  }

  #read({ value, headers, partition, offset }: Message): SourceMessage {
    return {
      id: `${this.#topicId}/${partition}/${offset}`,
      // A tombstone of a compacted topic has no value.
      body: (value as Buffer | undefined | null) ?? Buffer.alloc(0),
      headers: Object.fromEntries(Array.from(headers ?? [], ([name, text]) => [String(name), String(text)])),
    }
  }

  async #keep(message: Message, reason: string): Promise<void> {
    const { dead, commandTimeoutMs } = this.#clients.address
    if (dead === undefined || this.#producer === undefined) return
    const { topic, key, value, partition, offset } = message
    const headers = new Map(message.headers)
    headers.set(Buffer.from('holdfast-refusal'), Buffer.from(reason))
    headers.set(Buffer.from('holdfast-origin'), Buffer.from(`${topic}/${partition}/${offset}`))
    try {
      const kept = this.#producer.send({ messages: [{ topic: dead, key, value, headers }] })
      await within(commandTimeoutMs, 'Kafka: a dead letter', kept)
    } catch (error) {
      throw toKafkaError(this.#clients, 'a dead letter', error)
    }
  }
}

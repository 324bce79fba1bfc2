import type { Admin, Message } from '@platformatic/kafka'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { QueueListener, TaskQueue } from '../../ports/task-queue.ts'
import { closedError, fromMessage, toMessages, type Bell } from '../broker/bell.ts'
import { Presence, type QueueEvents } from '../broker/events.ts'
import { Reach } from '../broker/reach.ts'
import { within } from '../broker/wait.ts'
import { isAnswer, loadKafka, toKafkaError, type KafkaClients } from './client.ts'
import { KafkaListener } from './listener.ts'
import { deadName, declare, isUnknownTopic, topicName } from './topology.ts'
import { parseKafkaUrl } from './url.ts'

/** Rings that are not confirmed yet. What comes on top is refused: the store rings again. */
const MAX_RINGS = 10_000
/** Creating topics waits for every replica. */
const TOPOLOGY_TIMEOUT_MS = 30_000

/**
 * Opens the queue that a Kafka URL names. Does not wait for the brokers: those that are away may come back.
 * @throws {HoldfastError} `invalid_option` for a malformed URL, or where the package `@platformatic/kafka` is not installed.
 */
export async function openKafkaQueue(url: string, events: QueueEvents): Promise<TaskQueue> {
  return new KafkaTaskQueue(await loadKafka(parseKafkaUrl(url)), events)
}

/**
 * Bells over Kafka: a topic and a group for each queue, manual commits after the listener has answered.
 * A partition belongs to one listener: what lies in that of a busy one waits, and the store's polling finds the task.
 */
class KafkaTaskQueue implements TaskQueue {
  readonly #clients: KafkaClients
  readonly #presence: Presence
  readonly #producer: ReturnType<KafkaClients['producer']>
  readonly #admin: Admin
  readonly #listeners = new Set<KafkaListener<Bell>>()
  /** Each ring tries to connect anew, to each broker: those that are away would meet hundreds of connections a second. */
  readonly #reach: Reach
  #ringing = 0
  #isClosed = false

  constructor(clients: KafkaClients, events: QueueEvents) {
    this.#clients = clients
    this.#presence = new Presence(events)
    this.#producer = clients.producer()
    this.#admin = clients.admin()
    this.#reach = new Reach({ server: 'Kafka', saysOf: (error) => (isAnswer(clients, error) ? 'there' : 'away') })
  }

  async ensureTopology(queues: readonly string[]): Promise<void> {
    this.#check()
    await this.#bounded(TOPOLOGY_TIMEOUT_MS, 'the creation of its topics', () =>
      declare(this.#clients, this.#admin, queues),
    )
  }

  async ring(queue: string, taskIds: readonly string[]): Promise<void> {
    this.#check()
    if (this.#ringing >= MAX_RINGS)
      throw new HoldfastError('backend_failed', `Kafka has ${MAX_RINGS} rings to confirm already.`)
    this.#ringing++
    try {
      const topic = topicName(this.#clients.address, queue)
      await this.#reach.use(() => this.#send(topic, toMessages(queue, taskIds)))
      this.#presence.up()
    } catch (error) {
      this.#presence.down(error as Error)
      throw error
    } finally {
      this.#ringing--
    }
  }

  async listen(
    queues: readonly string[],
    onRing: (bell: Bell) => Promise<void>,
    { credits }: { readonly credits: number },
  ): Promise<QueueListener> {
    this.#check()
    const { address } = this.#clients
    const topics = queues.map((queue) => ({
      topic: topicName(address, queue),
      groupId: topicName(address, queue),
      maxDeliveries: address.maxDeliveries,
      prepare: () => this.ensureTopology([queue]),
      read: ({ value }: Message) => fromMessage(value),
      keep: ({ value }: Message) => this.#send(deadName(address), [value]),
    }))
    const listener = new KafkaListener<Bell>(this.#clients, topics, onRing, credits, {
      onReady: () => this.#presence.up(),
      onRefused: this.#presence.refused,
      onTrouble: (error) => this.#presence.down(error),
      onClose: () => this.#listeners.delete(listener),
    })
    this.#listeners.add(listener)
    await listener.started()
    return listener
  }

  async depth(queue: string): Promise<number | undefined> {
    this.#check()
    const name = topicName(this.#clients.address, queue)
    return this.#bounded(this.#clients.address.commandTimeoutMs, 'the count of messages', async () => {
      try {
        return await this.#lag(name)
      } catch (error) {
        if (isUnknownTopic(error)) return undefined
        throw error
      }
    })
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await Promise.all([...this.#listeners].map((listener) => listener.close()))
    await this.#clients.end(this.#producer, this.#admin)
  }

  async #send(topic: string, messages: readonly (string | Buffer)[]): Promise<void> {
    const { commandTimeoutMs } = this.#clients.address
    await this.#bounded(commandTimeoutMs, 'a ring', () =>
      this.#producer.send({
        messages: messages.map((message) => {
          const value = Buffer.from(message)
          // Spreads bells over partitions; their order means nothing.
          return { topic, key: value.subarray(-64), value }
        }),
      }),
    )
  }

  /** Messages after the group's offsets. */
  async #lag(name: string): Promise<number> {
    const { ListOffsetTimestamps } = this.#clients.library
    const { topics } = await this.#admin.metadata({ topics: [name], forceUpdate: true })
    const partitions = Array.from({ length: topics.get(name)!.partitionsCount }, (_, index) => index)
    const at = async (timestamp: bigint): Promise<Map<number, bigint>> => {
      const asked = partitions.map((partitionIndex) => ({ partitionIndex, timestamp }))
      const [listed] = await this.#admin.listOffsets({ topics: [{ name, partitions: asked }] })
      return new Map(listed!.partitions.map(({ partitionIndex, offset }) => [partitionIndex, offset]))
    }
    const [starts, ends, groups] = await Promise.all([
      at(ListOffsetTimestamps.EARLIEST),
      at(ListOffsetTimestamps.LATEST),
      this.#admin.listConsumerGroupOffsets({
        groups: [{ groupId: name, topics: [{ name, partitionIndexes: partitions }] }],
      }),
    ])
    const committed = new Map(
      groups[0]?.topics[0]?.partitions.map(({ partitionIndex, committedOffset }) => [partitionIndex, committedOffset]),
    )
    let lag = 0
    for (const partition of partitions) {
      const start = starts.get(partition)!
      const done = committed.get(partition) ?? -1n
      lag += Number(ends.get(partition)! - (done > start ? done : start))
    }
    return lag
  }

  async #bounded<T>(timeoutMs: number, operation: string, act: () => Promise<T>): Promise<T> {
    try {
      return await within(timeoutMs, `Kafka: ${operation}`, act())
    } catch (error) {
      throw toKafkaError(this.#clients, operation, error)
    }
  }

  #check(): void {
    if (this.#isClosed) throw closedError()
  }
}

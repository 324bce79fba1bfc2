import type { ChannelModel } from 'amqplib'
import type { QueueListener, TaskQueue } from '../../ports/task-queue.ts'
import { closedError, fromMessage, toMessages, toQueueError, type Bell } from '../broker/bell.ts'
import { Presence, type QueueEvents } from '../broker/events.ts'
import { loadClient } from '../broker/url.ts'
import { within } from '../broker/wait.ts'
import { Link, type Amqplib } from './link.ts'
import { RabbitmqListener } from './listener.ts'
import { Publisher } from './publisher.ts'
import { declare, queueName } from './topology.ts'
import { parseRabbitmqUrl, type RabbitmqAddress } from './url.ts'

const NOT_FOUND = 404

/**
 * Opens the queue that an AMQP URL names. Does not wait for the broker: one that is away may come back.
 * @throws {HoldfastError} `invalid_option` for a malformed URL, or where the package `amqplib` is not installed.
 */
export async function openRabbitmqQueue(url: string, events: QueueEvents): Promise<TaskQueue> {
  const address = parseRabbitmqUrl(url)
  const library = await loadClient(() => import('amqplib'), 'amqplib@2', address.shown)
  return new RabbitmqTaskQueue(library, address, events)
}

/**
 * Bells over RabbitMQ: a durable quorum queue for each task queue, persistent and mandatory messages, publisher confirms, and
 * an exchange for what came too often. Publishing and listening have a connection each, since a broker short of memory stops
 * reading from those that publish, and acknowledgements must get through.
 */
class RabbitmqTaskQueue implements TaskQueue {
  readonly #library: Amqplib
  readonly #address: RabbitmqAddress
  readonly #presence: Presence
  readonly #listeners = new Set<RabbitmqListener<Bell>>()
  readonly #publishing: Link
  /** Opened by the first listener. */
  #listening: Link | undefined
  #listeningModel: ChannelModel | undefined
  #publisher: Publisher | undefined
  #isClosed = false

  constructor(library: Amqplib, address: RabbitmqAddress, events: QueueEvents) {
    this.#library = library
    this.#address = address
    this.#presence = new Presence(events)
    this.#publishing = new Link(library, address, 'rings', {
      onUp: (model) => {
        this.#publisher = new Publisher(model)
        this.#presence.up('rings')
      },
      onDown: (error) => {
        this.#publisher = undefined
        this.#presence.down(error, 'rings')
      },
    })
  }

  async ensureTopology(queues: readonly string[]): Promise<void> {
    this.#check()
    await this.#bounded('the declaration of its queues', async () =>
      declare(await this.#publishing.model(), this.#address, queues),
    )
  }

  async ring(queue: string, taskIds: readonly string[]): Promise<void> {
    this.#check()
    await this.#bounded('a ring', async () => {
      const model = await this.#publishing.model()
      // The broker closes a channel on an error, and the connection stays.
      if (this.#publisher?.isOpen !== true) this.#publisher = new Publisher(model)
      const publisher = this.#publisher
      const name = queueName(this.#address, queue)
      await Promise.all(toMessages(queue, taskIds).map((message) => publisher.publish(name, message)))
    })
  }

  async listen(
    queues: readonly string[],
    onRing: (bell: Bell) => Promise<void>,
    { credits }: { readonly credits: number },
  ): Promise<QueueListener> {
    this.#check()
    const address = this.#address
    const listener = new RabbitmqListener<Bell>(
      {
        queues: queues.map((queue) => queueName(address, queue)),
        commandTimeoutMs: address.commandTimeoutMs,
        prepare: (model) => declare(model, address, queues),
        read: ({ content }) => fromMessage(content),
      },
      onRing,
      credits,
      {
        onClose: () => this.#listeners.delete(listener),
        onReady: () => this.#presence.up('listens'),
        onRefused: this.#presence.refused,
        onTrouble: (error) => this.#presence.down(error, 'listens'),
      },
    )
    this.#listeners.add(listener)
    const model = this.#listeningModel
    if (model !== undefined) await listener.attach(model)
    this.#listening ??= new Link(this.#library, this.#address, 'listens', {
      onUp: (up) => {
        this.#listeningModel = up
        for (const one of this.#listeners) void one.attach(up)
      },
      onDown: (error) => {
        this.#listeningModel = undefined
        for (const one of this.#listeners) one.detach()
        this.#presence.down(error, 'listens')
      },
    })
    return listener
  }

  async depth(queue: string): Promise<number | undefined> {
    this.#check()
    return this.#bounded('the count of messages', async () => {
      const channel = await (await this.#publishing.model()).createChannel()
      channel.on('error', () => undefined) // comes back from the operation too
      try {
        const { messageCount } = await channel.checkQueue(queueName(this.#address, queue))
        await channel.close()
        return messageCount
      } catch (error) {
        if ((error as { code?: number }).code === NOT_FOUND) return undefined
        throw error
      }
    })
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await Promise.all([...this.#listeners].map((listener) => listener.close()))
    await Promise.all([this.#publishing.close(), this.#listening?.close()])
  }

  async #bounded<T>(operation: string, act: () => Promise<T>): Promise<T> {
    try {
      return await within(this.#address.commandTimeoutMs, `RabbitMQ: ${operation}`, act())
    } catch (error) {
      throw toQueueError('RabbitMQ', operation, error)
    }
  }

  #check(): void {
    if (this.#isClosed) throw closedError()
  }
}

import type { QueueListener, TaskQueue } from '../../ports/task-queue.ts'
import { closedError, fromMessage, toMessages, toQueueError, type Bell } from '../broker/bell.ts'
import { Presence, type QueueEvents } from '../broker/events.ts'
import { loadClient } from '../broker/url.ts'
import { within } from '../broker/wait.ts'
import { Publishing, Reading } from './connections.ts'
import type { Amqplib } from './link.ts'
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
 * an exchange for what came too often.
 */
class RabbitmqTaskQueue implements TaskQueue {
  readonly #address: RabbitmqAddress
  readonly #publishing: Publishing
  readonly #listening: Reading<Bell>
  #isClosed = false

  constructor(library: Amqplib, address: RabbitmqAddress, events: QueueEvents) {
    const presence = new Presence(events)
    this.#address = address
    this.#publishing = new Publishing(library, address, 'rings', {
      onUp: () => presence.up('rings'),
      onDown: (error) => presence.down(error, 'rings'),
    })
    this.#listening = new Reading(library, address, 'listens', presence)
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
      const publisher = await this.#publishing.publisher()
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
    return this.#listening.listen(
      {
        queues: queues.map((queue) => queueName(address, queue)),
        commandTimeoutMs: address.commandTimeoutMs,
        prepare: (model) => declare(model, address, queues),
        read: ({ content }) => fromMessage(content),
      },
      onRing,
      credits,
    )
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
    await this.#listening.closeListeners()
    await Promise.all([this.#publishing.close(), this.#listening.close()])
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

import type { Message } from '@aws-sdk/client-sqs'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { QueueListener, TaskQueue } from '../../ports/task-queue.ts'
import { closedError, fromMessage, toMessages, toQueueError, type Bell } from '../broker/bell.ts'
import { Presence, type QueueEvents } from '../broker/events.ts'
import { Reach } from '../broker/reach.ts'
import { loadClient } from '../broker/url.ts'
import { SqsListener } from './listener.ts'
import { declare, queueName, SqsCommands } from './topology.ts'
import { parseSqsUrl } from './url.ts'

/** SQS takes so many messages at once. */
const MAX_BATCH = 10
/** Requests under way: the SDK keeps 50 sockets, and more would wait in its memory. What comes on top is refused. */
const MAX_RINGS = 500

/**
 * Opens the queue that an SQS URL names. Does not wait for the service: one that is away may come back.
 * @throws {HoldfastError} `invalid_option` for a malformed URL, or where the package `@aws-sdk/client-sqs` is not installed.
 */
export async function openSqsQueue(url: string, events: QueueEvents): Promise<TaskQueue> {
  const address = parseSqsUrl(url)
  const library = await loadClient(() => import('@aws-sdk/client-sqs'), '@aws-sdk/client-sqs@3', address.shown)
  return new SqsTaskQueue(new SqsCommands(library, address), events)
}

/** Bells over SQS: a standard queue for each task queue, long polls, deletion after the listener has answered, a redrive policy. */
class SqsTaskQueue implements TaskQueue {
  readonly #commands: SqsCommands
  readonly #presence: Presence
  readonly #listeners = new Set<SqsListener<Bell>>()
  /** A connection that is refused fails at once: without this, each task would try one. */
  readonly #reach = new Reach({ server: 'SQS', saysOf })
  #ringing = 0
  #isClosed = false

  constructor(commands: SqsCommands, events: QueueEvents) {
    this.#commands = commands
    this.#presence = new Presence(events)
  }

  async ensureTopology(queues: readonly string[]): Promise<void> {
    this.#check()
    await this.#guarded('the declaration of its queues', () => declare(this.#commands, queues))
  }

  async ring(queue: string, taskIds: readonly string[]): Promise<void> {
    this.#check()
    if (this.#ringing >= MAX_RINGS)
      throw new HoldfastError('backend_failed', `SQS has ${MAX_RINGS} rings to confirm already.`)
    this.#ringing++
    try {
      const messages = toMessages(queue, taskIds)
      for (let from = 0; from < messages.length; from += MAX_BATCH)
        await this.#guarded('a ring', () =>
          this.#reach.use(() => this.#send(queue, messages.slice(from, from + MAX_BATCH))),
        )
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
    const consumed = queues.map((queue) => ({
      name: queueName(this.#commands.address, queue),
      prepare: () => declare(this.#commands, [queue]),
      read: ({ Body = '' }: Message) => fromMessage(Body),
    }))
    const listener = new SqsListener<Bell>(this.#commands, consumed, onRing, credits, {
      onReady: () => this.#presence.up(),
      onRefused: this.#presence.refused,
      onTrouble: (error) => this.#presence.down(error),
      onClose: () => this.#listeners.delete(listener),
    })
    this.#listeners.add(listener)
    return listener
  }

  /** What SQS calls approximate: visible messages, some seconds late. */
  async depth(queue: string): Promise<number | undefined> {
    this.#check()
    return this.#guarded('the count of messages', async () => {
      const { library, client } = this.#commands
      const url = await this.#commands.urlOf(queueName(this.#commands.address, queue))
      if (url === undefined) return undefined
      const { Attributes } = await client.send(
        new library.GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['ApproximateNumberOfMessages'] }),
        this.#commands.bound(),
      )
      return Number(Attributes!['ApproximateNumberOfMessages'])
    })
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await Promise.all([...this.#listeners].map((listener) => listener.close()))
    this.#commands.close()
  }

  async #send(queue: string, messages: readonly string[]): Promise<void> {
    const { library, client } = this.#commands
    const name = queueName(this.#commands.address, queue)
    const url = await this.#commands.urlOf(name)
    if (url === undefined)
      throw new HoldfastError('backend_failed', `SQS has no queue ${JSON.stringify(name)}: it was deleted.`)
    const { Failed = [] } = await client.send(
      new library.SendMessageBatchCommand({
        QueueUrl: url,
        Entries: messages.map((message, index) => ({ Id: String(index), MessageBody: message })),
      }),
      this.#commands.bound(),
    )
    const [failed] = Failed
    if (failed !== undefined)
      throw new HoldfastError(
        'backend_failed',
        `SQS took ${messages.length - Failed.length} of ${messages.length} messages: ${failed.Code}`,
      )
  }

  async #guarded<T>(operation: string, act: () => Promise<T>): Promise<T> {
    try {
      const result = await act()
      this.#presence.up()
      return result
    } catch (cause) {
      const error = toQueueError('SQS', operation, cause)
      this.#presence.down(error)
      throw error
    }
  }

  #check(): void {
    if (this.#isClosed) throw closedError()
  }
}

/** What has a status came from the service, and so did what is an error of ours. */
function saysOf(error: unknown): 'away' | 'there' | 'nothing' {
  const { $metadata, name } = error as { $metadata?: { httpStatusCode?: number }; name?: string }
  if (error instanceof HoldfastError || $metadata?.httpStatusCode !== undefined) return 'there'
  return name === 'CredentialsProviderError' ? 'nothing' : 'away'
}

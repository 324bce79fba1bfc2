import type { Message, MessageAttributeValue } from '@aws-sdk/client-sqs'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { MessageSource, SourceEvents, SourceMessage } from '../../ports/message-source.ts'
import type { QueueListener } from '../../ports/task-queue.ts'
import { closedError, toQueueError } from '../broker/bell.ts'
import { Presence } from '../broker/events.ts'
import { loadClient } from '../broker/url.ts'
import { SqsListener, type Consumption } from './listener.ts'
import { SqsCommands } from './topology.ts'
import { parseSqsSourceUrl, type SqsSourceAddress } from './url.ts'

/** A message of SQS has so many attributes at most, and dead letters get one more. */
const MAX_ATTRIBUTES = 10

/**
 * Opens a queue of SQS to be read from: `sqs://queue[?region=…&endpoint=…&dead=…]`. Does not wait for the service.
 * @throws {HoldfastError} `invalid_option` for a malformed URL, or where the package `@aws-sdk/client-sqs` is not installed.
 */
export async function openSqsSource(url: string, events: SourceEvents): Promise<MessageSource> {
  const address = parseSqsSourceUrl(url)
  const library = await loadClient(() => import('@aws-sdk/client-sqs'), '@aws-sdk/client-sqs@3', address.shown)
  return new SqsSource(new SqsCommands(library, address), events)
}

/**
 * A queue of SQS, standard or FIFO. A message's id is its `MessageId`. One that is not to be acted on is sent to the queue that
 * the URL names as `dead`, or else the redrive policy, before it is deleted.
 */
class SqsSource implements MessageSource {
  readonly #commands: SqsCommands<SqsSourceAddress>
  readonly #presence: Presence
  readonly #listeners = new Set<SqsListener<SourceMessage>>()
  /** Name of the queue of dead letters. */
  #dead = ''
  #isClosed = false

  constructor(commands: SqsCommands<SqsSourceAddress>, events: SourceEvents) {
    this.#commands = commands
    this.#presence = new Presence(events)
  }

  async listen(
    onMessage: (message: SourceMessage, signal: AbortSignal) => Promise<string | void>,
    { credits }: { readonly credits: number },
  ): Promise<QueueListener> {
    if (this.#isClosed) throw closedError('message source')
    const what: Consumption<SourceMessage> = {
      name: this.#commands.address.queue,
      prepare: () => this.#prepare(),
      read: toSourceMessage,
      keep: (message, reason) => this.#keep(message, reason),
    }
    const listener = new SqsListener(this.#commands, [what], onMessage, credits, {
      onReady: () => this.#presence.up(),
      onRefused: this.#presence.refused,
      onTrouble: (error) => this.#presence.down(error),
      onClose: () => this.#listeners.delete(listener),
    })
    this.#listeners.add(listener)
    return listener
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await Promise.all(Array.from(this.#listeners, (listener) => listener.close()))
    this.#commands.close()
  }

  async #prepare(): Promise<void> {
    const { library, client, address } = this.#commands
    const url = await this.#urlOf(address.queue)
    const { Attributes } = await client.send(
      new library.GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['RedrivePolicy'] }),
      this.#commands.bound(),
    )
    const policy = Attributes?.['RedrivePolicy']
    const target = policy === undefined ? undefined : (JSON.parse(policy) as { deadLetterTargetArn?: string })
    const dead = address.dead ?? target?.deadLetterTargetArn?.split(':').at(-1)
    if (dead === undefined)
      throw new HoldfastError(
        'backend_mismatch',
        `The SQS queue ${JSON.stringify(address.queue)} has no redrive policy, so messages that can't be acted on would come for ever: give it one, or write dead=… into the URL.`,
      )
    await this.#urlOf(dead)
    this.#dead = dead
  }

  async #keep(message: Message, reason: string): Promise<void> {
    const { library, client } = this.#commands
    const refusal: MessageAttributeValue = { DataType: 'String', StringValue: reason }
    const attributes = Object.entries(message.MessageAttributes ?? {}).slice(0, MAX_ATTRIBUTES - 1)
    const fifo = this.#dead.endsWith('.fifo')
      ? {
          MessageGroupId: message.Attributes?.MessageGroupId ?? 'holdfast',
          MessageDeduplicationId: message.MessageId,
        }
      : {}
    try {
      await client.send(
        new library.SendMessageCommand({
          QueueUrl: await this.#urlOf(this.#dead),
          MessageBody: message.Body,
          MessageAttributes: Object.fromEntries([...attributes, ['holdfast-refusal', refusal]]),
          ...fifo,
        }),
        this.#commands.bound(),
      )
    } catch (error) {
      throw toQueueError('SQS', 'a dead letter', error)
    }
  }

  async #urlOf(name: string): Promise<string> {
    const url = await this.#commands.urlOf(name)
    if (url === undefined)
      throw new HoldfastError(
        'backend_mismatch',
        `SQS has no queue ${JSON.stringify(name)}: create it, or change the URL.`,
      )
    return url
  }
}

function toSourceMessage({ MessageId, Body = '', MessageAttributes = {} }: Message): SourceMessage {
  const headers = Object.entries(MessageAttributes).map(([name, { StringValue, BinaryValue }]): [string, string] => [
    name,
    StringValue ?? Buffer.from(BinaryValue ?? []).toString(),
  ])
  return { id: MessageId, body: Buffer.from(Body), headers: Object.fromEntries(headers) }
}

import type { Message } from '@aws-sdk/client-sqs'
import type { QueueListener } from '../../ports/task-queue.ts'
import { Deliveries, type OnPayload } from '../broker/deliveries.ts'
import { backoffMs, pause } from '../broker/wait.ts'
import type { SqsCommands } from './topology.ts'
import type { SqsService } from './url.ts'

/** What a listener consumes: one queue. */
export interface Consumption<Payload> {
  readonly name: string
  /** Declares or checks the queue, at the start and after each failure. */
  prepare(): Promise<void>
  /** What a message says; `undefined` for one that is not of the kind that is listened to: it comes until it is a dead letter. */
  read(message: Message): Payload | undefined
  /** Keeps a message that is not to be acted on elsewhere. */
  keep?(message: Message, reason: string): Promise<void>
}

/** What a listener tells those that it belongs to. */
export interface ListenerEvents {
  onReady(): void
  onTrouble(error: Error): void
  onRefused(error: unknown): void
  onClose(): void
}

/** SQS gives, and takes, so many messages at once. */
const MAX_BATCH = 10

/**
 * One listener: a loop of long polls for each queue, all under the same credits. It asks only while there is a free credit. The
 * visibility of what it has taken and not answered is renewed, so that nobody else gets it meanwhile; a close gives it back.
 */
export class SqsListener<Payload> implements QueueListener {
  readonly #commands: SqsCommands<SqsService>
  readonly #deliveries: Deliveries<Payload>
  readonly #events: ListenerEvents
  readonly #ended = new AbortController()
  /** Taken and not answered: receipt and queue. */
  readonly #held = new Map<string, string>()
  readonly #answers = new Set<Promise<unknown>>()
  readonly #renewal: NodeJS.Timeout
  readonly #loops: Promise<unknown>
  #isPaused = false
  /** Loops that wait for a credit, or for the end of a pause. */
  readonly #sleepers = new Set<() => void>()

  constructor(
    commands: SqsCommands<SqsService>,
    queues: readonly Consumption<Payload>[],
    onPayload: OnPayload<Payload>,
    credits: number,
    events: ListenerEvents,
  ) {
    this.#commands = commands
    this.#events = events
    this.#deliveries = new Deliveries(onPayload, credits, events.onRefused, () => this.#wake())
    this.#renewal = setInterval(() => void this.#renew(), (commands.address.visibilityS * 1000) / 3).unref()
    this.#loops = Promise.all(queues.map((queue) => this.#run(queue)))
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#wake()
  }

  async close(): Promise<void> {
    if (this.#ended.signal.aborted) return
    this.#ended.abort()
    clearInterval(this.#renewal)
    this.#deliveries.stop()
    this.#wake()
    this.#events.onClose()
    await this.#loops
    for (const [receipt, url] of Array.from(this.#held)) this.#giveBack(url, receipt)
    await Promise.all(this.#answers)
  }

  async #run(queue: Consumption<Payload>): Promise<void> {
    const { signal } = this.#ended
    for (let attempt = 0; !signal.aborted; attempt++)
      try {
        await queue.prepare()
        const url = await this.#commands.urlOf(queue.name)
        if (url === undefined) throw new Error(`SQS has no queue ${JSON.stringify(queue.name)}.`)
        this.#events.onReady()
        while (!signal.aborted) {
          if (this.#isPaused || this.#deliveries.free <= 0) await this.#sleep()
          else {
            const messages = await this.#receive(url)
            this.#events.onReady()
            this.#take(queue, url, messages)
          }
          attempt = 0
        }
      } catch (error) {
        if (signal.aborted) return
        this.#commands.forget(queue.name)
        this.#events.onTrouble(error as Error)
        await pause(backoffMs(attempt), signal)
      }
  }

  #sleep(): Promise<void> {
    return new Promise((resolve) => this.#sleepers.add(resolve))
  }
  #wake(): void {
    for (const wake of this.#sleepers) wake()
    this.#sleepers.clear()
  }

  async #receive(url: string): Promise<readonly Message[]> {
    const { library, client, address } = this.#commands
    const { Messages = [] } = await client.send(
      new library.ReceiveMessageCommand({
        QueueUrl: url,
        MaxNumberOfMessages: Math.min(MAX_BATCH, this.#deliveries.free),
        WaitTimeSeconds: address.waitS,
        VisibilityTimeout: address.visibilityS,
        MessageSystemAttributeNames: ['ApproximateReceiveCount', 'MessageGroupId'],
        MessageAttributeNames: ['All'],
      }),
      this.#commands.bound(address.waitS * 1000, this.#ended.signal),
    )
    return Messages
  }

  #take(queue: Consumption<Payload>, url: string, messages: readonly Message[]): void {
    for (const message of messages) {
      const receipt = message.ReceiptHandle!
      const payload = queue.read(message)
      this.#held.set(receipt, url)
      // Asked for before the pause; or not one of ours, which becomes a dead letter by coming often enough.
      if (this.#isPaused || payload === undefined) this.#giveBack(url, receipt)
      else
        this.#deliveries.take({
          payload,
          attempt: Number(message.Attributes?.ApproximateReceiveCount ?? 1),
          ack: () => this.#delete(url, receipt),
          bury: async (reason) => {
            await queue.keep?.(message, reason)
            this.#delete(url, receipt)
          },
          giveBack: () => this.#giveBack(url, receipt),
        })
    }
  }

  /** The loops, and the lateness of answers, are told of a service that is away; one failure here costs a second delivery. */
  async #renew(): Promise<void> {
    const { library, client, address } = this.#commands
    for (const url of new Set(this.#held.values())) {
      const receipts = [...this.#held].filter(([, of]) => of === url).map(([receipt]) => receipt)
      for (let from = 0; from < receipts.length; from += MAX_BATCH) {
        const command = new library.ChangeMessageVisibilityBatchCommand({
          QueueUrl: url,
          Entries: receipts.slice(from, from + MAX_BATCH).map((receipt, index) => ({
            Id: String(index),
            ReceiptHandle: receipt,
            VisibilityTimeout: address.visibilityS,
          })),
        })
        await client.send(command, this.#commands.bound()).catch((error: Error) => this.#events.onTrouble(error))
      }
    }
  }

  #delete(url: string, receipt: string): void {
    const { library, client } = this.#commands
    const command = new library.DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: receipt })
    this.#answer(receipt, client.send(command, this.#commands.bound()))
  }

  #giveBack(url: string, receipt: string): void {
    const { library, client } = this.#commands
    const command = new library.ChangeMessageVisibilityCommand({
      QueueUrl: url,
      ReceiptHandle: receipt,
      VisibilityTimeout: 0,
    })
    this.#answer(receipt, client.send(command, this.#commands.bound()))
  }

  /** An answer that fails costs a second delivery, after the visibility has ended. */
  #answer(receipt: string, sent: Promise<unknown>): void {
    this.#held.delete(receipt)
    const answer = sent
      .catch((error: Error) => this.#events.onTrouble(error))
      .finally(() => this.#answers.delete(answer))
    this.#answers.add(answer)
  }
}

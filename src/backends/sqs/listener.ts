import type { Message } from '@aws-sdk/client-sqs'
import type { QueueListener } from '../../ports/task-queue.ts'
import { fromMessage, type Bell } from '../broker/bell.ts'
import { Deliveries } from '../broker/deliveries.ts'
import { backoffMs, pause } from '../broker/wait.ts'
import { declare, queueName, type SqsCommands } from './topology.ts'

/** What a listener tells the queue that it belongs to. */
interface ListenerEvents {
  onReady(): void
  onTrouble(error: Error): void
  onRefused(error: unknown): void
  onClose(): void
}

/** SQS gives so many messages at once. */
const MAX_BATCH = 10

/**
 * One listener: a loop of long polls for each queue, all under the same credits. It asks only while there is a free credit. What
 * it has taken and not answered is a listener's until the visibility ends, so a close gives it back by itself.
 */
export class SqsListener implements QueueListener {
  readonly #commands: SqsCommands
  readonly #deliveries: Deliveries
  readonly #events: ListenerEvents
  readonly #ended = new AbortController()
  /** Taken and not answered: receipt and queue. */
  readonly #held = new Map<string, string>()
  readonly #loops: Promise<unknown>
  #isPaused = false
  /** Loops that wait for a credit, or for the end of a pause. */
  readonly #sleepers = new Set<() => void>()

  constructor(
    commands: SqsCommands,
    queues: readonly string[],
    onRing: (bell: Bell) => Promise<void>,
    credits: number,
    events: ListenerEvents,
  ) {
    this.#commands = commands
    this.#events = events
    this.#deliveries = new Deliveries(onRing, credits, events.onRefused, () => this.#wake())
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
    this.#deliveries.stop()
    this.#wake()
    this.#events.onClose()
    await this.#loops
    await Promise.all([...this.#held].map(([receipt, url]) => this.#giveBack(url, receipt)))
  }

  async #run(queue: string): Promise<void> {
    const { signal } = this.#ended
    const name = queueName(this.#commands.address, queue)
    for (let attempt = 0; !signal.aborted; attempt++)
      try {
        await declare(this.#commands, [queue])
        const url = await this.#commands.urlOf(name)
        if (url === undefined) throw new Error(`The queue ${name} was deleted while it was being declared.`)
        this.#events.onReady()
        while (!signal.aborted) {
          if (this.#isPaused || this.#deliveries.free <= 0) await this.#sleep()
          else this.#take(url, await this.#receive(url))
          attempt = 0
        }
      } catch (error) {
        if (signal.aborted) return
        this.#commands.forget(name)
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
        MessageSystemAttributeNames: ['ApproximateReceiveCount'],
      }),
      this.#commands.bound(address.waitS * 1000, this.#ended.signal),
    )
    return Messages
  }

  #take(url: string, messages: readonly Message[]): void {
    for (const message of messages) {
      const receipt = message.ReceiptHandle!
      const bell = fromMessage(message.Body ?? '')
      this.#held.set(receipt, url)
      // Asked for before the pause; or not one of ours, which becomes a dead letter by coming often enough.
      if (this.#isPaused || bell === undefined) void this.#giveBack(url, receipt)
      else
        this.#deliveries.take({
          bell,
          attempt: Number(message.Attributes?.ApproximateReceiveCount ?? 1),
          ack: () => void this.#delete(url, receipt),
          giveBack: () => void this.#giveBack(url, receipt),
        })
    }
  }

  /** Failures of these two cost a second delivery, after the visibility has ended. */
  async #delete(url: string, receipt: string): Promise<void> {
    this.#held.delete(receipt)
    const { library, client } = this.#commands
    const command = new library.DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: receipt })
    await client.send(command, this.#commands.bound()).catch((error: Error) => this.#events.onTrouble(error))
  }

  async #giveBack(url: string, receipt: string): Promise<void> {
    this.#held.delete(receipt)
    const { library, client } = this.#commands
    const command = new library.ChangeMessageVisibilityCommand({
      QueueUrl: url,
      ReceiptHandle: receipt,
      VisibilityTimeout: 0,
    })
    await client.send(command, this.#commands.bound()).catch((error: Error) => this.#events.onTrouble(error))
  }
}

import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib'
import type { QueueListener } from '../../ports/task-queue.ts'
import { Deliveries, type OnPayload } from '../broker/deliveries.ts'
import { backoffMs, pause, within } from '../broker/wait.ts'

/** What a listener consumes. */
export interface Consumption<Payload> {
  /** Names on the broker. */
  readonly queues: readonly string[]
  readonly commandTimeoutMs: number
  /** Declares or checks the queues, on each connection anew. */
  prepare(model: ChannelModel): Promise<void>
  /** What a message says; `undefined` for one that is not of the kind that is listened to. */
  read(message: ConsumeMessage): Payload | undefined
  /** Keeps a message that is not to be acted on; without it, it goes where the queue sends its dead letters, or nowhere. */
  readonly keep?: (message: ConsumeMessage, reason: string) => Promise<void>
}

/** What a listener tells the queue that it belongs to. */
interface ListenerEvents {
  /** Its consumers are in place. */
  onReady(): void
  onTrouble(error: Error): void
  onRefused(error: unknown): void
  onClose(): void
}

/**
 * One listener: a channel with a consumer for each queue, made anew with each connection, and when the broker takes it away
 * (a deleted queue, an acknowledgement that came too late). Paused it has a channel and no consumer; heartbeats go on.
 */
export class RabbitmqListener<Payload> implements QueueListener {
  readonly #what: Consumption<Payload>
  readonly #onPayload: OnPayload<Payload>
  readonly #credits: number
  readonly #events: ListenerEvents
  readonly #ended = new AbortController()
  #deliveries: Deliveries<Payload>
  #channel: Channel | undefined
  #tags: string[] = []
  #model: ChannelModel | undefined
  #isPaused = false
  /** Changes of consumers, one after the other. */
  #changes: Promise<unknown> = Promise.resolve()

  constructor(what: Consumption<Payload>, onPayload: OnPayload<Payload>, credits: number, events: ListenerEvents) {
    this.#what = what
    this.#onPayload = onPayload
    this.#credits = credits
    this.#events = events
    this.#deliveries = new Deliveries(onPayload, credits, events.onRefused)
  }

  /** A connection has come to stand. Resolves when the consumers are in place. */
  attach(model: ChannelModel): Promise<void> {
    this.#model = model
    return this.#open(model)
  }

  /** The connection is lost; the broker gives its messages to others. */
  detach(): void {
    this.#model = undefined
    this.#forget()
  }

  pause(): void {
    this.#isPaused = true
    void this.#change()
  }

  resume(): void {
    this.#isPaused = false
    void this.#change()
  }

  async close(): Promise<void> {
    if (this.#ended.signal.aborted) return
    this.#ended.abort()
    const channel = this.#channel
    this.#forget()
    this.#events.onClose()
    if (channel === undefined) return
    // With its channel go its messages: back into their queues.
    await within(this.#what.commandTimeoutMs, 'The end of a channel', channel.close()).catch(
      () => undefined, // it has ended already, or will with the connection
    )
  }

  async #open(model: ChannelModel): Promise<void> {
    for (let attempt = 0; this.#model === model && !this.#ended.signal.aborted; attempt++)
      try {
        await this.#what.prepare(model)
        const channel = await model.createChannel()
        if (this.#model !== model || this.#ended.signal.aborted) return await channel.close()
        channel.on('error', (error: Error) => this.#events.onTrouble(error))
        channel.on('close', () => this.#lost(channel))
        await channel.prefetch(this.#credits)
        this.#deliveries = new Deliveries(this.#onPayload, this.#credits, this.#events.onRefused)
        this.#channel = channel
        await this.#change()
        this.#events.onReady()
        return
      } catch (error) {
        if (this.#model !== model) return // the connection went: the next one attaches again
        this.#events.onTrouble(error as Error)
        await pause(backoffMs(attempt), this.#ended.signal)
      }
  }

  /** The broker has closed the channel, or taken a consumer from it: all anew. */
  #lost(channel: Channel): void {
    if (this.#channel !== channel) return
    this.#forget()
    const model = this.#model
    if (model !== undefined) void pause(backoffMs(0), this.#ended.signal).then(() => this.#open(model))
  }

  #forget(): void {
    this.#deliveries.stop()
    this.#channel = undefined
    this.#tags = []
  }

  /** Brings the consumers to what was asked for last. */
  #change(): Promise<void> {
    const change = this.#changes.then(async () => {
      const channel = this.#channel
      if (channel === undefined) return
      try {
        if (this.#isPaused) {
          for (const tag of this.#tags.splice(0)) await channel.cancel(tag)
        } else if (this.#tags.length === 0)
          for (const name of this.#what.queues) {
            const { consumerTag } = await channel.consume(name, (message) => this.#take(channel, message))
            if (this.#channel === channel) this.#tags.push(consumerTag)
          }
      } catch (error) {
        if (this.#channel === channel) this.#events.onTrouble(error as Error) // its `close` leads to a new one
      }
    })
    this.#changes = change
    return change
  }

  #take(channel: Channel, message: ConsumeMessage | null): void {
    if (this.#channel !== channel) return
    if (message === null) {
      // The queue was deleted, or its node is going: a channel without its consumer hears nothing.
      this.#lost(channel)
      channel.close().catch(() => undefined) // it may have ended by itself
      return
    }
    const payload = this.#what.read(message)
    if (payload === undefined) return channel.nack(message, false, false) // a dead letter
    // Sent before the broker knew of the pause.
    if (this.#isPaused) return channel.nack(message, false, true)
    const redelivered = Number(message.properties.headers?.['x-delivery-count'] ?? 0)
    const settle = (act: () => void): void => {
      if (this.#channel === channel) act()
    }
    this.#deliveries.take({
      payload,
      attempt: redelivered + 1,
      ack: () => settle(() => channel.ack(message)),
      bury: async (reason) => {
        if (this.#what.keep === undefined) return settle(() => channel.nack(message, false, false))
        await this.#what.keep(message, reason)
        settle(() => channel.ack(message))
      },
      giveBack: () => settle(() => channel.nack(message, false, true)),
    })
  }
}

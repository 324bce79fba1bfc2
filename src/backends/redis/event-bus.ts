import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { EventBus, Unsubscribe } from '../../ports/event-bus.ts'
import { BusConnection, type Connect } from './bus-connection.ts'
import { toBackendError } from './errors.ts'

interface Subscriber {
  readonly onMessage: (message: Uint8Array) => void
  readonly onGap: () => void
}
interface Channel {
  readonly subscribers: Set<Subscriber>
  /** Rejected where the server could not be told: then the channel is forgotten. */
  readonly ready: Promise<void>
  /** The server knows; after a loss it is told again. */
  isLive: boolean
}

/** More channels than this with unsent messages are announced as "all". */
const MAX_UNSENT = 1000

/**
 * A bus on Redis pub/sub, over a connection of its own.
 *
 * 1. A message goes to the present subscribers of its channel, at most once, in the order of its publisher: all of a node's
 *    messages take the one connection.
 * 2. Whenever the connection was lost, every subscriber gets `onGap` as soon as the new one listens on its channel.
 * 3. A message that could not be sent, or may not have been, is a gap that its subscribers elsewhere can't see: the
 *    publisher says so, on a channel that every bus listens on, as soon as it is connected.
 * 4. While the connection is lost, `publish` and `subscribe` fail at once.
 */
export class RedisEventBus implements EventBus {
  readonly #connection: BusConnection
  readonly #timeoutMs: number
  readonly #messages: string
  readonly #gaps: string
  readonly #channels = new Map<string, Channel>()
  #unsent = new Set<string>()
  #isAnnouncing = false
  #isClosed = false

  /**
   * @param space begins the name of every channel: pub/sub knows no databases, so it should name prefix and database.
   * @param connect makes a connection that does not connect again by itself.
   * @param timeoutMs for each answer of the server.
   */
  constructor(space: string, connect: Connect, timeoutMs: number) {
    this.#messages = `${space}c:`
    this.#gaps = `${space}gaps`
    this.#timeoutMs = timeoutMs
    this.#connection = new BusConnection({
      connect,
      timeoutMs,
      channels: () => [
        this.#gaps,
        ...[...this.#channels].filter(([, { isLive }]) => isLive).map(([name]) => this.#messages + name),
      ],
      onMessage: (channel, message) => this.#receive(channel, message),
      onRestored: () => this.#tellOfGap([...this.#channels.keys()]),
      onBeat: () => void this.#announce(),
    })
  }

  /** Resolves when the bus is connected for the first time, rejects with the reason when the first attempt fails; it goes on trying. */
  get connected(): Promise<void> {
    return this.#connection.connected
  }

  async publish(channel: string, message: Uint8Array): Promise<void> {
    this.#check()
    const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength)
    try {
      await this.#withTimeout(this.#connection.client.publish(this.#messages + channel, bytes))
    } catch (error) {
      this.#rememberUnsent([channel])
      throw toBackendError('publish', error)
    }
  }

  async subscribe(name: string, onMessage: Subscriber['onMessage'], onGap: Subscriber['onGap']): Promise<Unsubscribe> {
    this.#check()
    const subscriber: Subscriber = { onMessage: (message) => onMessage(message), onGap: () => onGap() }
    const channel = this.#channels.get(name) ?? this.#open(name)
    channel.subscribers.add(subscriber)
    await channel.ready
    onGap()
    return async () => {
      if (!channel.subscribers.delete(subscriber) || channel.subscribers.size > 0) return
      if (this.#channels.get(name) !== channel) return
      this.#channels.delete(name)
      await this.#leave(name)
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#channels.clear()
    await this.#connection.close()
  }

  #open(name: string): Channel {
    const channel: Channel = { subscribers: new Set(), ready: this.#join(name), isLive: false }
    this.#channels.set(name, channel)
    channel.ready.then(
      () => (channel.isLive = true),
      () => this.#channels.get(name) === channel && this.#channels.delete(name),
    )
    return channel
  }

  async #join(name: string): Promise<void> {
    try {
      await this.#withTimeout(this.#connection.client.subscribe(this.#messages + name))
    } catch (error) {
      throw toBackendError('subscribe', error)
    }
  }

  async #leave(name: string): Promise<void> {
    try {
      await this.#withTimeout(this.#connection.client.unsubscribe(this.#messages + name))
    } catch {
      // The next connection does not ask for the channel; until then its messages find no subscriber.
    }
  }

  #receive(channel: string, message: Buffer): void {
    if (channel.startsWith(this.#messages)) {
      const subscribers = this.#channels.get(channel.slice(this.#messages.length))?.subscribers
      for (const { onMessage } of Array.from(subscribers ?? [])) onMessage(message)
    } else if (channel === this.#gaps) {
      const names = JSON.parse(message.toString()) as string[] | 'all'
      this.#tellOfGap(names === 'all' ? [...this.#channels.keys()] : names)
    }
  }

  #tellOfGap(names: readonly string[]): void {
    for (const name of names) {
      const channel = this.#channels.get(name)
      if (channel?.isLive === true) for (const { onGap } of Array.from(channel.subscribers)) onGap()
    }
  }

  #rememberUnsent(names: Iterable<string>): void {
    // One more than the bound stands for all.
    for (const name of names) if (this.#unsent.size <= MAX_UNSENT) this.#unsent.add(name)
  }

  /** Rule 3. Runs while connected: after each connecting, and at every beat. */
  async #announce(): Promise<void> {
    if (this.#unsent.size === 0 || this.#isAnnouncing) return
    this.#isAnnouncing = true
    const unsent = this.#unsent
    this.#unsent = new Set()
    try {
      const names = unsent.size > MAX_UNSENT ? 'all' : [...unsent]
      await this.#withTimeout(this.#connection.client.publish(this.#gaps, JSON.stringify(names)))
    } catch {
      this.#rememberUnsent(unsent) // until the next beat
    } finally {
      this.#isAnnouncing = false
    }
  }

  async #withTimeout<T>(answer: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new HoldfastError('backend_failed', `Redis did not answer within ${this.#timeoutMs} ms.`)),
        this.#timeoutMs,
      )
    })
    try {
      return await Promise.race([answer, timeout])
    } finally {
      clearTimeout(timer)
    }
  }

  #check(): void {
    if (this.#isClosed) throw new HoldfastError('closed', 'The event bus was closed.')
  }
}

import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { EventBus, Unsubscribe } from '../../ports/event-bus.ts'
import type { IpcChannel } from './channel.ts'

type Subscriber = (message: Uint8Array) => void

/** A bus between the worker processes of one primary (`--processes`). */
export class IpcEventBus implements EventBus {
  readonly #channel: () => IpcChannel
  readonly #subscribers = new Map<string, { all: Set<Subscriber>; ready: Promise<void> }>()
  #isClosed = false

  /** @param channel to the primary; its handler `message` must be {@link deliver}. */
  constructor(channel: () => IpcChannel) {
    this.#channel = channel
  }

  /** The primary's word that something was published. */
  readonly deliver = async (name: string, message: Uint8Array): Promise<void> => {
    for (const subscriber of Array.from(this.#subscribers.get(name)?.all ?? [])) subscriber(message)
  }

  async publish(name: string, message: Uint8Array): Promise<void> {
    this.#check()
    await this.#channel().call('publish', name, message)
  }

  async subscribe(name: string, onMessage: Subscriber, onGap: () => void): Promise<Unsubscribe> {
    this.#check()
    const subscriber: Subscriber = (message) => onMessage(message)
    let entry = this.#subscribers.get(name)
    if (entry === undefined) {
      entry = { all: new Set(), ready: this.#channel().call('subscribe', name) }
      this.#subscribers.set(name, entry)
      entry.ready.catch(() => this.#subscribers.delete(name))
    }
    entry.all.add(subscriber)
    await entry.ready
    onGap()
    const own = entry
    return async () => {
      if (!own.all.delete(subscriber) || own.all.size > 0 || this.#subscribers.get(name) !== own) return
      this.#subscribers.delete(name)
      if (!this.#isClosed) await this.#channel().call('unsubscribe', name)
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#subscribers.clear()
  }

  #check(): void {
    if (this.#isClosed) throw new HoldfastError('closed', 'The event bus was closed.')
  }
}

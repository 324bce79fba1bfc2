import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { EventBus, Unsubscribe } from '../../ports/event-bus.ts'

/** A bus within one process: the embedded default. Delivers in a microtask, in order; it never has a gap but the first. */
export class MemoryEventBus implements EventBus {
  readonly #subscribers = new Map<string, Set<(message: Uint8Array) => void>>()
  #isClosed = false

  async publish(channel: string, message: Uint8Array): Promise<void> {
    this.#check()
    const copy = Uint8Array.from(message)
    await Promise.resolve()
    for (const subscriber of Array.from(this.#subscribers.get(channel) ?? [])) subscriber(copy)
  }

  async subscribe(channel: string, onMessage: (message: Uint8Array) => void, onGap: () => void): Promise<Unsubscribe> {
    this.#check()
    const subscriber = (message: Uint8Array): void => onMessage(message)
    const subscribers = this.#subscribers.get(channel) ?? new Set()
    this.#subscribers.set(channel, subscribers.add(subscriber))
    onGap()
    return async () => {
      subscribers.delete(subscriber)
      if (subscribers.size === 0 && this.#subscribers.get(channel) === subscribers) this.#subscribers.delete(channel)
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

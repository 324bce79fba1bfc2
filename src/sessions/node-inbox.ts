import { inboxChannel } from '../kernel/keys.ts'
import type { EventBus, Unsubscribe } from '../ports/event-bus.ts'

/** Who is interested in a kind of message, by how its text begins. */
interface Listener {
  readonly prefix: string
  onMessage(text: string): void
  onGap(): void
}

/** What other nodes tell this one in person. Subscribed to when somebody first expects to be told something. */
export class NodeInbox {
  readonly #bus: EventBus
  readonly #nodeId: string
  readonly #listeners: Listener[] = []
  #subscription: Promise<Unsubscribe> | undefined

  constructor(bus: EventBus, nodeId: string) {
    this.#bus = bus
    this.#nodeId = nodeId
  }

  on(prefix: string, onMessage: (text: string) => void, onGap: () => void): void {
    this.#listeners.push({ prefix, onMessage, onGap })
  }

  /** Resolves when messages will be heard. A failure is not for ever: the next call tries again. */
  async ready(): Promise<void> {
    const subscription = (this.#subscription ??= this.#bus.subscribe(
      inboxChannel(this.#nodeId),
      (message) => {
        const text = Buffer.from(message).toString()
        for (const listener of this.#listeners) if (text.startsWith(listener.prefix)) listener.onMessage(text)
      },
      () => {
        for (const listener of this.#listeners) listener.onGap()
      },
    ))
    try {
      await subscription
    } catch (error) {
      if (this.#subscription === subscription) this.#subscription = undefined
      throw error
    }
  }

  async close(): Promise<void> {
    // One that fails meanwhile is told to who waits for it; here there is nothing to end then.
    const unsubscribe = await this.#subscription?.catch(() => undefined)
    await unsubscribe?.()
  }
}

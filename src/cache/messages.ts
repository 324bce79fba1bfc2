import { keepSubscribed } from '../kernel/keep-subscribed.ts'
import { CACHE_CHANNEL } from '../kernel/keys.ts'
import type { Clock } from '../ports/clock.ts'
import type { EventBus, Unsubscribe } from '../ports/event-bus.ts'

/** What nodes tell each other of their caches: `landed` names a flight, `invalidated` keys of tags. */
export type CacheMessage = readonly [kind: 'landed' | 'invalidated', ...names: string[]]

/** What {@link CacheMessages} work with. */
export interface CacheMessagesParts {
  readonly bus: EventBus
  readonly clock: Clock
  readonly onMessage: (message: CacheMessage) => void
  /** Some may have been missed. */
  readonly onGap: () => void
  readonly onAway: (error: unknown) => void
}

/** One channel of the bus for all that caches tell each other. Nothing rests on a message: they spare time. */
export class CacheMessages {
  readonly #parts: CacheMessagesParts
  #unsubscribe: Unsubscribe | undefined

  constructor(parts: CacheMessagesParts) {
    this.#parts = parts
  }

  async start(): Promise<void> {
    const { bus, clock, onGap, onAway } = this.#parts
    this.#unsubscribe = await keepSubscribed(bus, CACHE_CHANNEL, (message) => this.#hear(message), clock, onAway, onGap)
  }

  async close(): Promise<void> {
    await this.#unsubscribe?.()
  }

  /** Tells all nodes; never rejects. */
  async tell(message: CacheMessage): Promise<void> {
    const { bus, onAway } = this.#parts
    await bus.publish(CACHE_CHANNEL, Buffer.from(JSON.stringify(message))).catch(onAway)
  }

  #hear(message: Uint8Array): void {
    let parsed: unknown
    try {
      parsed = JSON.parse(Buffer.from(message).toString())
    } catch {
      return // none of ours
    }
    if (!Array.isArray(parsed) || !parsed.every((part) => typeof part === 'string')) return
    if (parsed[0] === 'landed' || parsed[0] === 'invalidated') this.#parts.onMessage(parsed as unknown as CacheMessage)
  }
}

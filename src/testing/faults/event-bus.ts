import { HoldfastError } from '../../errors/holdfast-error.ts'
import { systemClock, type Clock } from '../../ports/clock.ts'
import type { EventBus, Unsubscribe } from '../../ports/event-bus.ts'
import { underFault, type FaultPlan, type MessageFault, type OperationFault } from './plan.ts'

/** A message that is held back until the next one of its channel has been sent. */
interface Held {
  readonly send: () => Promise<void>
  readonly released: PromiseWithResolvers<void>
}

const HOLD_MS = 50

/**
 * An event bus with whose operations and messages things go wrong, as a plan says; and one that can be cut off as a whole,
 * by {@link lose} and {@link restore}.
 */
export class FaultyEventBus implements EventBus {
  readonly #bus: EventBus
  readonly #plan: FaultPlan<MessageFault>
  readonly #clock: Clock
  readonly #held = new Map<string, Held>()
  readonly #gaps = new Set<() => void>()
  #isLost = false

  /**
   * @param bus carries the messages; closed with this one.
   * @param plan asked with `publish` and `subscribe`; `drop`, `duplicate` and `reorder` mean something for `publish` alone.
   * @param clock for delays. Default: the machine's.
   */
  constructor(bus: EventBus, plan: FaultPlan<MessageFault> = () => undefined, clock: Clock = systemClock) {
    this.#bus = bus
    this.#plan = plan
    this.#clock = clock
  }

  async publish(channel: string, message: Uint8Array): Promise<void> {
    this.#check()
    const fault = this.#plan('publish')
    if (fault === 'drop') return
    const send = (): Promise<void> => this.#bus.publish(channel, message)
    if (fault === 'reorder' && !this.#held.has(channel)) return this.#hold(channel, send)
    await underFault(asOperation(fault), 'publish', (ms) => this.#clock.sleep(ms), send)
    if (fault === 'duplicate') await send()
    await this.#release(channel)
  }

  async subscribe(channel: string, onMessage: (message: Uint8Array) => void, onGap: () => void): Promise<Unsubscribe> {
    this.#check()
    const hear = (message: Uint8Array): void => {
      if (!this.#isLost) onMessage(message)
    }
    const tell = (): void => onGap()
    const unsubscribe = await underFault(
      asOperation(this.#plan('subscribe')),
      'subscribe',
      (ms) => this.#clock.sleep(ms),
      () => this.#bus.subscribe(channel, hear, tell),
    )
    this.#gaps.add(tell)
    return async () => {
      this.#gaps.delete(tell)
      await unsubscribe()
    }
  }

  /** Cuts this end off: it hears nothing, and `publish` and `subscribe` fail. */
  lose(): void {
    this.#isLost = true
  }

  /** Ends that, and tells every subscriber of the gap, as a bus must. */
  restore(): void {
    this.#isLost = false
    for (const tell of Array.from(this.#gaps)) tell()
  }

  async close(): Promise<void> {
    for (const { released } of this.#held.values()) released.resolve()
    this.#held.clear()
    this.#gaps.clear()
    await this.#bus.close()
  }

  /** Sends after the next message of the channel, or after a moment in which none came. */
  async #hold(channel: string, send: () => Promise<void>): Promise<void> {
    const held: Held = { send, released: Promise.withResolvers() }
    this.#held.set(channel, held)
    await Promise.race([held.released.promise, this.#clock.sleep(HOLD_MS)])
    if (this.#held.get(channel) === held) await this.#release(channel)
  }
  async #release(channel: string): Promise<void> {
    const held = this.#held.get(channel)
    if (held === undefined) return
    this.#held.delete(channel)
    await held.send()
    held.released.resolve()
  }

  #check(): void {
    if (this.#isLost) throw new HoldfastError('backend_failed', 'Injected: the bus is cut off.')
  }
}

const asOperation = (fault: MessageFault | undefined): OperationFault | undefined =>
  fault === 'drop' || fault === 'duplicate' || fault === 'reorder' ? undefined : fault

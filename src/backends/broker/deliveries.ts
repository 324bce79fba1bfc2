import { backoffMs } from './wait.ts'

/**
 * What a listener does with a message: resolves when its work is done, with a reason where the message is not one to be acted
 * on, however often it comes; rejects where it is to come again. The signal aborts when the message is not the listener's any more.
 */
export type OnPayload<Payload> = (payload: Payload, signal: AbortSignal) => Promise<string | void>

/** One message, taken from a broker and not yet acknowledged. */
export interface Delivery<Payload> {
  readonly payload: Payload
  /** How often it has come, this time included. */
  readonly attempt: number
  /** It has done its work. */
  ack(): void
  /** It is to be put aside, for this reason; without this, it is acknowledged. Rejects where that failed: then it comes again. */
  bury?(reason: string): Promise<void>
  /** It is to come again, or to become a dead letter where it has come often enough. */
  giveBack(): void
}

/** Before a message that was rejected is given back: a store that is down is not asked in a loop. */
const FIRST_WAIT_MS = 100
const MAX_WAIT_MS = 5000

/**
 * Runs what listens to messages, at most `credits` at once. A message keeps its credit until it was acknowledged or given back,
 * the wait before giving it back included, so that a store in trouble slows the listener down.
 */
export class Deliveries<Payload> {
  readonly #onPayload: OnPayload<Payload>
  readonly #credits: number
  readonly #onFree: () => void
  readonly #onRefused: (error: unknown) => void
  /** Taken over the credits: brokers that can't be told a number across queues send some more. Bounded by what they send. */
  readonly #waiting: Delivery<Payload>[] = []
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #stopped = new AbortController()
  #running = 0

  /**
   * @param onRefused told why a listener has rejected
   * @param onFree called whenever there is a free credit again
   */
  constructor(
    onPayload: OnPayload<Payload>,
    credits: number,
    onRefused: (error: unknown) => void,
    onFree: () => void = () => undefined,
  ) {
    this.#onPayload = onPayload
    this.#credits = credits
    this.#onRefused = onRefused
    this.#onFree = onFree
  }

  /** How many more may be taken now; negative where some wait. */
  get free(): number {
    return this.#credits - this.#running - this.#waiting.length
  }

  take(delivery: Delivery<Payload>): void {
    if (this.#stopped.signal.aborted) return
    if (this.#running >= this.#credits) this.#waiting.push(delivery)
    else void this.#run(delivery)
  }

  /** What was taken is neither acknowledged nor given back any more: the broker finds out by itself, or the caller sees to it. */
  stop(): void {
    this.#stopped.abort()
    this.#waiting.length = 0
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  async #run(delivery: Delivery<Payload>): Promise<void> {
    this.#running++
    try {
      const reason = await this.#onPayload(delivery.payload, this.#stopped.signal)
      if (!this.#stopped.signal.aborted) {
        if (typeof reason === 'string' && delivery.bury !== undefined) await delivery.bury(reason)
        else delivery.ack()
      }
      this.#end()
    } catch (error) {
      this.#onRefused(error)
      if (this.#stopped.signal.aborted) return
      const timer = setTimeout(
        () => {
          this.#timers.delete(timer)
          delivery.giveBack()
          this.#end()
        },
        backoffMs(delivery.attempt - 1, FIRST_WAIT_MS, MAX_WAIT_MS),
      )
      this.#timers.add(timer)
    }
  }

  #end(): void {
    this.#running--
    if (this.#stopped.signal.aborted) return
    const next = this.#waiting.shift()
    if (next !== undefined) void this.#run(next)
    if (this.free > 0) this.#onFree()
  }
}

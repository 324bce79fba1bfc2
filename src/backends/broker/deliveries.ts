import type { Bell } from './bell.ts'
import { backoffMs } from './wait.ts'

/** One message, taken from a broker and not yet acknowledged. */
export interface Delivery {
  readonly bell: Bell
  /** How often it has come, this time included. */
  readonly attempt: number
  /** It has done its work. */
  ack(): void
  /** It is to come again, or to become a dead letter where it has come often enough. */
  giveBack(): void
}

/** Before a message whose bell was refused is given back: a store that is down is not asked in a loop. */
const FIRST_WAIT_MS = 100
const MAX_WAIT_MS = 5000

/**
 * Runs what listens to bells, at most `credits` at once. A message keeps its credit until it was acknowledged or given back,
 * the wait before giving it back included, so that a store in trouble slows the listener down.
 */
export class Deliveries {
  readonly #onRing: (bell: Bell) => Promise<void>
  readonly #credits: number
  readonly #onFree: () => void
  readonly #onRefused: (error: unknown) => void
  /** Taken over the credits: brokers that can't be told a number across queues send some more. Bounded by what they send. */
  readonly #waiting: Delivery[] = []
  readonly #timers = new Set<NodeJS.Timeout>()
  #running = 0
  #isStopped = false

  /**
   * @param onRefused told why a listener has rejected
   * @param onFree called whenever there is a free credit again
   */
  constructor(
    onRing: (bell: Bell) => Promise<void>,
    credits: number,
    onRefused: (error: unknown) => void,
    onFree: () => void = () => undefined,
  ) {
    this.#onRing = onRing
    this.#credits = credits
    this.#onRefused = onRefused
    this.#onFree = onFree
  }

  /** How many more may be taken now; negative where some wait. */
  get free(): number {
    return this.#credits - this.#running - this.#waiting.length
  }

  take(delivery: Delivery): void {
    if (this.#isStopped) return
    if (this.#running >= this.#credits) this.#waiting.push(delivery)
    else void this.#run(delivery)
  }

  /** What was taken is neither acknowledged nor given back any more: the broker finds out by itself, or the caller sees to it. */
  stop(): void {
    this.#isStopped = true
    this.#waiting.length = 0
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  async #run(delivery: Delivery): Promise<void> {
    this.#running++
    try {
      await this.#onRing(delivery.bell)
      if (!this.#isStopped) delivery.ack()
      this.#end()
    } catch (error) {
      this.#onRefused(error)
      if (this.#isStopped) return
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
    if (this.#isStopped) return
    const next = this.#waiting.shift()
    if (next !== undefined) void this.#run(next)
    if (this.free > 0) this.#onFree()
  }
}

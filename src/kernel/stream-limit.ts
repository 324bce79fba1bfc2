import { HoldfastError } from '../errors/holdfast-error.ts'
import { callerOf } from './caller.ts'
import type { Exchange } from './exchange.ts'

/** Counts the open streams of each caller (an anonymous one is told by address). */
export class StreamLimit {
  readonly #max: number
  readonly #open = new Map<string, number>()

  constructor(max: number) {
    this.#max = max
  }

  /** Open streams on this node. */
  get size(): number {
    let sum = 0
    for (const count of this.#open.values()) sum += count
    return sum
  }

  /**
   * Takes a place; the returned function gives it back (once, however often it is called).
   * @throws {HoldfastError} `too_many_streams`
   */
  take(exchange: Exchange): () => void {
    const key = callerOf(exchange)
    const count = this.#open.get(key) ?? 0
    if (count >= this.#max)
      throw new HoldfastError('too_many_streams', `You hold ${count} open streams, and may hold ${this.#max}.`, {
        data: { retryAfterMs: 5000 },
      })
    this.#open.set(key, count + 1)
    let isTaken = true
    return () => {
      if (!isTaken) return
      isTaken = false
      const left = this.#open.get(key)! - 1
      if (left === 0) this.#open.delete(key)
      else this.#open.set(key, left)
    }
  }
}

import { LRUCache } from 'lru-cache'
import type { BucketState } from '../ports/state-store.ts'

/** A portion is good for this long after it was asked for. */
const PORTION_TTL_MS = 1000
/** A refusal is believed for so long at most: the limit may have been overridden, or tokens given back. */
const REFUSAL_TTL_MS = 1000
/** Buckets that this node remembers something of. */
const MAX_BUCKETS = 50_000

/**
 * What this node knows of a shared bucket: tokens taken in advance, and until when it has none.
 *
 * 1. Tokens held were taken from the shared bucket before; no more than one portion once those who waited for it are served, and none
 *    after its second.
 * 2. A refusal holds until the time that came with it: tokens come back with time, so to ask earlier is in vain.
 */
export class Advance {
  /** The bucket as it was last seen, without what is held here. */
  state: BucketState | undefined
  #tokens = 0
  #diesMs = 0
  #refusedCost = Infinity
  #refusedUntilMs = 0
  #askAgainMs = 0

  /** Tokens that are held. */
  held(nowMs: number): number {
    return nowMs < this.#diesMs ? this.#tokens : 0
  }

  /** Takes from what is held; the number of the portion (its end), or 0 where too little is held. */
  take(cost: number, nowMs: number): number {
    if (this.held(nowMs) < cost) return 0
    this.#tokens -= cost
    return this.#diesMs
  }

  /** Takes back what was not used after all, if its portion is still held. */
  putBack(cost: number, portion: number): void {
    if (portion === this.#diesMs) this.#tokens += cost
  }

  /**
   * Holds what was granted.
   * @param sentMs when they were asked for.
   * @returns `false`, and holds nothing, where their second is over already.
   */
  hold(state: BucketState, sentMs: number, nowMs: number): boolean {
    this.state = state
    if (nowMs >= sentMs + PORTION_TTL_MS) return false
    this.#tokens = this.held(nowMs) + state.granted
    this.#diesMs = sentMs + PORTION_TTL_MS
    return true
  }

  refuse(cost: number, state: BucketState, retryAfterMs: number, nowMs: number): void {
    this.#refusedCost = cost
    this.#refusedUntilMs = nowMs + retryAfterMs
    this.#askAgainMs = nowMs + Math.min(retryAfterMs, REFUSAL_TTL_MS)
    this.state = state
  }

  /** How long a request of this cost is sure to be refused; 0: it may pass. */
  refusedForMs(cost: number, nowMs: number): number {
    return cost >= this.#refusedCost && nowMs < this.#askAgainMs ? Math.ceil(this.#refusedUntilMs - nowMs) : 0
  }

  /** The bucket as a caller may be told of it: with what is held here. */
  seen(): BucketState | undefined {
    return this.state && { ...this.state, remaining: this.state.remaining + this.#tokens }
  }
}

/** The advances of this node, by key of the bucket. */
export class Advances {
  readonly #all = new LRUCache<string, Advance>({ max: MAX_BUCKETS })

  /** Only if something is known. */
  find(key: string): Advance | undefined {
    return this.#all.get(key)
  }
  of(key: string): Advance {
    let advance = this.#all.get(key)
    if (advance === undefined) this.#all.set(key, (advance = new Advance()))
    return advance
  }
}

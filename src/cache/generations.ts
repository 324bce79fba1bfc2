import { LRUCache } from 'lru-cache'
import { cacheTagKey } from '../kernel/keys.ts'
import { takeRandom } from '../kernel/random.ts'
import { sha256 } from '../kernel/digest.ts'
import type { Clock } from '../ports/clock.ts'
import type { StateStore } from '../ports/state-store.ts'

/** Tags whose generation this process knows, at most: one that was forgotten is asked for, or (without a store) counts as invalidated. */
const MAX_KNOWN = 100_000
/** A generation outlives what was stored under it. */
const LEAST_TTL_MS = 30 * 24 * 3_600_000
/** A generation is given its time again when this share of it is over. */
const RENEWED_AT_SHARE = 0.25
/** How often a generation that changes meanwhile is read again. */
const MAX_READS = 5
const SEPARATOR = '.'

interface Known {
  readonly generation: string
  /** When it was asked for, by the monotonic clock. */
  readonly readMs: number
}

/**
 * The generations of tags. A generation is a random name that stands for the time from one invalidation to the next; a value
 * carries those of its tags as they were before it was computed, and is served only while they are the present ones.
 *
 * 1. What invalidates deletes the generation; who next needs one makes another. So a generation that was lost, or has expired,
 *    invalidates: the store may fail in no direction in which an old value comes back.
 * 2. What is known here was read from the store, not from a message. Messages only have it forgotten.
 * 3. A read that was under way while something was forgotten does not count as known.
 */
export class Generations {
  readonly #state: StateStore | undefined
  readonly #clock: Clock
  readonly #known = new LRUCache<string, Known>({ max: MAX_KNOWN })
  /** Until when generations need no renewal, by the monotonic clock. */
  readonly #renewed = new LRUCache<string, { generation: string; untilMs: number }>({ max: MAX_KNOWN })
  #epoch = 0

  /** @param state `undefined`: this process is alone, and what is known here is the truth. */
  constructor(state: StateStore | undefined, clock: Clock) {
    this.#state = state
    this.#clock = clock
  }

  /** Keys of tags, in an order of their own, each once. */
  static keysOf(server: string, tags: readonly string[] | undefined): readonly string[] {
    if (tags === undefined || tags.length === 0) return []
    return [...new Set(tags)].sort().map((tag) => cacheTagKey(sha256([server, tag])))
  }

  /** Changes whenever something is forgotten. */
  get epoch(): number {
    return this.#epoch
  }

  /** What is known here and was read within `maxAgeMs`; `undefined`: the store has to be asked. */
  known(keys: readonly string[], maxAgeMs: number): string | undefined {
    if (keys.length === 0) return ''
    const sinceMs = this.#state === undefined ? -Infinity : this.#clock.monotonic() - maxAgeMs
    let joined = ''
    for (const key of keys) {
      const known = this.#known.get(key)
      if (known === undefined || (known.readMs <= sinceMs && this.#state !== undefined)) return undefined
      joined += joined === '' ? known.generation : SEPARATOR + known.generation
    }
    return joined
  }

  /**
   * What a read has found, remembered and joined; `undefined`: one of them is missing.
   * @param sent the epoch and the monotonic time at which the store was asked
   */
  take(
    keys: readonly string[],
    values: readonly (Uint8Array | undefined)[],
    sent: { epoch: number; atMs: number },
  ): string | undefined {
    const generations = values.map((bytes) => bytes && Buffer.from(bytes).toString('latin1'))
    if (sent.epoch === this.#epoch)
      for (const [index, generation] of generations.entries())
        if (generation !== undefined) this.#known.set(keys[index]!, { generation, readMs: sent.atMs })
    return generations.every((generation) => generation !== undefined) ? generations.join(SEPARATOR) : undefined
  }

  /**
   * The present generations, made where there are none, good for what is stored now.
   * @throws where the store can't be asked
   */
  async ensure(keys: readonly string[], lifetimeMs: number): Promise<string> {
    if (keys.length === 0) return ''
    const made: string[] = []
    for (const key of keys) made.push(await this.#ensureOne(key, lifetimeMs))
    return made.join(SEPARATOR)
  }

  async #ensureOne(key: string, lifetimeMs: number): Promise<string> {
    const state = this.#state
    if (state === undefined) {
      const generation = this.#known.get(key)?.generation ?? newGeneration()
      this.#known.set(key, { generation, readMs: 0 })
      return generation
    }
    const ttlMs = Math.max(LEAST_TTL_MS, 2 * lifetimeMs)
    for (let reads = 0; reads < MAX_READS; reads++) {
      const sent = { epoch: this.#epoch, atMs: this.#clock.monotonic() }
      const values = await state.getMany([key])
      const present = this.take([key], values, sent)
      const generation = present ?? newGeneration()
      const bytes = Buffer.from(generation, 'latin1')
      const renewed = this.#renewed.get(key)
      if (renewed?.generation === present && renewed !== undefined && renewed.untilMs > sent.atMs + lifetimeMs)
        return generation
      // Compared, since an invalidation may have come meanwhile: what it deleted must not come back.
      if (!(await state.compareAndSet(key, values[0], bytes, { ttlMs }))) continue
      this.#renewed.set(key, { generation, untilMs: sent.atMs + ttlMs * (1 - RENEWED_AT_SHARE) })
      return generation
    }
    // Invalidated again and again just now: of no generation that anybody has.
    return newGeneration()
  }

  /** Forgets what is known here. */
  forget(keys: Iterable<string>): void {
    this.#epoch++
    for (const key of keys) this.#known.delete(key)
  }

  /** Forgets everything: some invalidations may not have been heard of. */
  forgetAll(): void {
    this.#epoch++
    if (this.#state !== undefined) this.#known.clear()
  }
}

/** 72 random bits: two of one tag are never equal. */
const newGeneration = (): string => takeRandom(9).toString('base64url')

import type { Clock } from '../ports/clock.ts'
import type { StateStore } from '../ports/state-store.ts'
import { Coalescer } from './coalescer.ts'
import type { Generations } from './generations.ts'
import { checkPayload, type Held, type MemoryTier } from './held.ts'
import { decodeRecord, encodeRecord, type CacheRecord } from './record.ts'
import type { CacheRequest } from './request.ts'

/** A value of more bytes stays in the memory of the process that computed it; nor is one read that would become more. */
const MAX_STORED_BYTES = 32 * 1024 * 1024
/** Keys of one read. */
const KEYS_AT_ONCE = 500

/** What is known of a request before it is computed. */
export interface Seen {
  /** Of its tags, before it is computed; `undefined`: the store can't be asked, and nothing can be kept. */
  readonly generations: string | undefined
  /** Of these generations; may be long stale. */
  readonly held?: Held | undefined
}

/** What {@link StoreTier} works with. */
export interface StoreTierParts {
  readonly state: StateStore
  readonly clock: Clock
  readonly memory: MemoryTier
  readonly generations: Generations
  /** The store could not be asked. */
  readonly onAway: (error: unknown) => void
}

/** The values that nodes share. */
export class StoreTier {
  readonly #parts: StoreTierParts
  readonly #seeing = new Coalescer<Seen>()

  constructor(parts: StoreTierParts) {
    this.#parts = parts
  }

  /**
   * The value and the generations of its tags, in one read; what is found is in memory then.
   * @throws where the store can't be asked
   */
  async look<T>(request: CacheRequest<T>): Promise<Seen> {
    const [seen] = await this.lookMany([request])
    return seen!
  }

  /** {@link look} for many, together. */
  async lookMany<T>(requests: readonly CacheRequest<T>[]): Promise<Seen[]> {
    const { generations } = this.#parts
    const keys = [...new Set(requests.flatMap(({ storeKey, tagKeys }) => [storeKey, ...tagKeys]))]
    const sent = this.#sent()
    const values = await this.#read(keys)
    return Promise.all(
      requests.map(async (request): Promise<Seen> => {
        const { storeKey, tagKeys } = request
        const present = generations.take(
          tagKeys,
          tagKeys.map((key) => values.get(key)),
          sent,
        )
        const record = await this.#decode(values.get(storeKey), request)
        if (record === undefined || present === undefined || record.generations !== present)
          return { generations: present }
        return { generations: present, held: this.#parts.memory.put(request.text, record, request.codec) }
      }),
    )
  }

  /**
   * What a request with tags has to know before it may be computed, or answered from memory: generations that were present after
   * it was made. Shared with others that are made meanwhile.
   */
  see<T>(request: CacheRequest<T>): Promise<Seen> {
    return this.#seeing.run(`${request.text}\n${request.tagKeys.join()}`, () => this.#see(request))
  }

  async #see<T>(request: CacheRequest<T>): Promise<Seen> {
    const { memory, generations } = this.#parts
    const { tagKeys } = request
    const held = memory.get(request.text)
    let seen: Seen
    if (held === undefined) seen = await this.look(request)
    else {
      const present = await this.#present(request)
      if (present === held.generations) return { generations: present, held }
      // Another node may have computed it since.
      seen = present === undefined ? { generations: present } : await this.look(request)
    }
    if (seen.generations !== undefined) return seen
    return { generations: await generations.ensure(tagKeys, request.lifetimeMs) }
  }

  /** Stores a value for other nodes; never rejects. */
  async put<T>(request: CacheRequest<T>, record: CacheRecord): Promise<void> {
    const { state, clock, onAway } = this.#parts
    if (record.payload.length > MAX_STORED_BYTES) return
    try {
      const bytes = await encodeRecord(record, request.codec.isDense === true)
      // What was invalidated meanwhile is of no use, and may stand in the way of a newer one.
      if (request.tagKeys.length > 0 && (await this.#present(request)) !== record.generations) return
      const ttlMs = record.keptUntilMs - clock.now()
      if (ttlMs > 0) await state.set(request.storeKey, bytes, { ttlMs })
    } catch (error) {
      onAway(error)
    }
  }

  /** The present generations of its tags; `undefined`: one is missing. */
  async #present<T>({ tagKeys }: CacheRequest<T>): Promise<string | undefined> {
    const sent = this.#sent()
    const values = await this.#read(tagKeys)
    return this.#parts.generations.take(tagKeys, [...values.values()], sent)
  }

  #sent(): { epoch: number; atMs: number } {
    const { generations, clock } = this.#parts
    return { epoch: generations.epoch, atMs: clock.monotonic() }
  }

  async #read(keys: readonly string[]): Promise<Map<string, Uint8Array | undefined>> {
    const { state } = this.#parts
    const parts: Promise<(Uint8Array | undefined)[]>[] = []
    for (let from = 0; from < keys.length; from += KEYS_AT_ONCE)
      parts.push(state.getMany(keys.slice(from, from + KEYS_AT_ONCE)))
    const values = (await Promise.all(parts)).flat()
    return new Map(keys.map((key, index) => [key, values[index]]))
  }

  /** `undefined` for what is no record any more, or none that can be read: it is computed anew, and written over. */
  async #decode<T>(bytes: Uint8Array | undefined, request: CacheRequest<T>): Promise<CacheRecord | undefined> {
    if (bytes === undefined) return undefined
    const { clock, onAway } = this.#parts
    try {
      const record = await decodeRecord(bytes, MAX_STORED_BYTES)
      if (record === undefined || !(record.keptUntilMs > clock.now())) return undefined
      checkPayload(record, request.codec)
      return request.bound(record, clock.now())
    } catch (error) {
      onAway(error)
      return undefined
    }
  }
}

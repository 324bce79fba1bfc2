import { LRUCache } from 'lru-cache'
import { fromPortable, type PortableError } from '../errors/portable-error.ts'
import type { Found } from './cache.ts'
import { textOf, type Codec } from './codec.ts'
import type { CacheRecord } from './record.ts'

/** A value in the memory of this process. */
export interface Held extends CacheRecord {
  /** The value itself, where it may be given to many; in memory it takes the payload's place. */
  readonly shared?: { readonly value: unknown }
  /** Computing it anew has failed: it is not tried again before that time. */
  retryAtMs?: number
}

/** What the book-keeping of one value takes, roughly. */
const OVERHEAD_BYTES = 300
const NOTHING = new Uint8Array(0)

/** The values in memory: those used least recently go when there are too many bytes of them. */
export class MemoryTier {
  readonly #held: LRUCache<string, Held>
  evictions = 0

  /** @param maxBytes of payloads and keys, at most */
  constructor(maxBytes: number) {
    this.#held = new LRUCache<string, Held>({
      maxSize: maxBytes,
      dispose: (_held, _text, reason) => {
        if (reason === 'evict') this.evictions++
      },
    })
  }

  get bytes(): number {
    return this.#held.calculatedSize
  }
  get count(): number {
    return this.#held.size
  }

  get(text: string): Held | undefined {
    return this.#held.get(text)
  }

  /**
   * Puts a value in, unless a newer one of the same generations is there; gives what is there then.
   * @param isNewest whatever is there: lifetimes are jittered, so that they do not tell for sure
   */
  put<T>(text: string, held: Held, codec: Codec<T>, isNewest = false): Held {
    const present = isNewest ? undefined : this.#held.peek(text)
    if (present !== undefined && present.generations === held.generations && present.freshUntilMs >= held.freshUntilMs)
      return present
    const size = OVERHEAD_BYTES + held.payload.length + text.length + held.generations.length
    const shared =
      codec.isShareable === true && !held.isThrown ? (held.shared ?? { value: codec.decode(held.payload) }) : undefined
    const kept = shared === undefined ? held : { ...held, payload: NOTHING, shared }
    this.#held.set(text, kept, { size })
    return kept
  }

  delete(text: string): void {
    this.#held.delete(text)
  }

  clear(): void {
    this.#held.clear()
  }
}

/**
 * The value, for one caller.
 * @throws the error that computing threw, where that is what was kept
 */
export function valueOf<T>(held: Held, codec: Codec<T>): T {
  if (held.isThrown) throw fromPortable(JSON.parse(textOf(held.payload)) as PortableError)
  return held.shared === undefined ? codec.decode(held.payload) : (held.shared.value as T)
}

/** @throws where what the store held is nothing that can be given out: others may have written it. */
export function checkPayload<T>({ payload, isThrown }: CacheRecord, codec: Codec<T>): void {
  if (isThrown) fromPortable(JSON.parse(textOf(payload)) as PortableError)
  else codec.decode(payload)
}

/** {@link valueOf}, and where it came from. */
export function toFound<T>(held: Held, codec: Codec<T>, from: Found<T>['from'], nowMs: number): Found<T> {
  return { value: valueOf(held, codec), from, freshForMs: Math.max(0, held.freshUntilMs - nowMs) }
}

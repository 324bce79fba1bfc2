import { sha256 } from '../kernel/digest.ts'
import { cacheValueKey } from '../kernel/keys.ts'
import type { CacheEntry, Compute } from './cache.ts'
import type { Codec } from './codec.ts'
import { Generations } from './generations.ts'
import { toKeyText } from './key-text.ts'
import { RECORD_FORMAT, type CacheTimes } from './record.ts'

/** Longer keys are replaced by their digest: they would fill the memory. */
const LONGEST_KEY_TEXT = 256
const NONE: readonly string[] = []
const MAX_FLIGHT_MS = 30_000
/** So much of `ttlMs` is taken off at most. */
const JITTER_SHARE = 0.1

/** An entry that is asked for, with all that follows from it. */
export class CacheRequest<T> {
  readonly entry: CacheEntry
  readonly codec: Codec<T>
  readonly compute: Compute<T>
  /** Names the value in the memory of this process. */
  readonly text: string
  /** Keys of the generations of its tags. */
  readonly tagKeys: readonly string[]
  readonly #server: string
  #digest: string | undefined

  constructor(server: string, entry: CacheEntry, codec: Codec<T>, compute: Compute<T>) {
    this.entry = entry
    this.codec = codec
    this.compute = compute
    this.#server = server
    const key = toKeyText(entry.key)
    const bounded = key.length > LONGEST_KEY_TEXT ? `#${sha256([key])}` : key
    const { partition, cache, version = '', tags } = entry
    // Lengths keep names and versions apart, whatever is in them: cheaper than to write them as JSON.
    this.text = `${partition.length} ${partition}${cache.length} ${cache}${version.length} ${version}${bounded}`
    this.tagKeys = tags === undefined ? NONE : Generations.keysOf(server, tags)
  }

  /** Of everything that it is named by: servers that share a store have values of their own. */
  get digest(): string {
    return (this.#digest ??= sha256([RECORD_FORMAT, this.#server, this.text]))
  }
  get storeKey(): string {
    return cacheValueKey(this.digest)
  }
  /** Names the flight that computes it while its tags have these generations. */
  flightOf(generations: string): string {
    return generations === '' ? this.digest : sha256([this.digest, generations])
  }
  get staleMs(): number {
    return this.entry.staleMs ?? 0
  }
  get maxFlightMs(): number {
    return this.entry.maxFlightMs ?? MAX_FLIGHT_MS
  }
  /** From when it is computed until nothing of it is of use. */
  get lifetimeMs(): number {
    return this.entry.ttlMs + Math.max(this.staleMs, this.entry.staleIfErrorMs ?? 0)
  }

  /** When a value that was computed now is fresh, may be given out stale, and is kept. */
  timesOf(nowMs: number, isFailure: boolean): CacheTimes {
    const { ttlMs, negativeTtlMs = 0 } = this.entry
    const lifetimeMs = isFailure ? negativeTtlMs : ttlMs
    const freshUntilMs = nowMs + lifetimeMs * (1 - JITTER_SHARE * Math.random())
    if (isFailure) return { freshUntilMs, staleUntilMs: freshUntilMs, keptUntilMs: freshUntilMs }
    return {
      freshUntilMs,
      staleUntilMs: this.staleMs === 0 ? freshUntilMs : nowMs + ttlMs + this.staleMs,
      keptUntilMs: Math.max(freshUntilMs, nowMs + this.lifetimeMs),
    }
  }

  /**
   * A record of another node, with no more time than one that is made now: the clock of who wrote it may be ahead.
   * @param nowMs by the clock of this node
   */
  bound<R extends CacheTimes>(record: R, nowMs: number): R {
    const { ttlMs, negativeTtlMs = 0 } = this.entry
    const freshMs = Math.max(ttlMs, negativeTtlMs)
    return {
      ...record,
      freshUntilMs: Math.min(record.freshUntilMs, nowMs + freshMs),
      staleUntilMs: Math.min(record.staleUntilMs, nowMs + freshMs + this.staleMs),
      keptUntilMs: Math.min(record.keptUntilMs, nowMs + Math.max(freshMs, this.lifetimeMs)),
    }
  }
}

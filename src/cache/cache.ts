import { ANONYMOUS, type Principal } from '../define/context.ts'
import { ownerOf } from '../kernel/owner.ts'
import type { Codec } from './codec.ts'

/** What a value is cached under, for whom, and for how long. */
export interface CacheEntry {
  /** Name of the cache: a label of metrics, and part of the key. */
  readonly cache: string
  /** What the value depends on: what JSON can say. */
  readonly key: unknown
  /** Whose it is; see {@link partitionOf}. */
  readonly partition: string
  /** How long it is fresh. Up to a tenth of it is taken off by chance, so that what was made together does not expire together. */
  readonly ttlMs: number
  /** How long after that it is still given out, while it is computed anew. Default 0. */
  readonly staleMs?: number | undefined
  /** How long after `ttlMs` it is given out where computing it anew has failed. Default 0. */
  readonly staleIfErrorMs?: number | undefined
  /** How long it is kept that computing has failed. Default 0: not at all. */
  readonly negativeTtlMs?: number | undefined
  /** Names by which it can be invalidated. Default: none. */
  readonly tags?: readonly string[] | undefined
  /** Values of other versions are not seen. Default: an empty text. */
  readonly version?: string | undefined
  /** How long who wants it waits for another's computing before it computes itself. Default 30,000. */
  readonly maxFlightMs?: number | undefined
}

/** A value that was asked for. */
export interface Found<T> {
  readonly value: T
  /**
   * Where it came from: the memory of this process, the store, an expired value (`stale`: it is computed anew meanwhile;
   * `stale_if_error`: that has failed), another caller's computing that was waited for, or this caller's own.
   */
  readonly from: 'memory' | 'store' | 'stale' | 'stale_if_error' | 'waited' | 'computed'
  /** How much longer it is fresh; 0 where it is not, or is not kept. */
  readonly freshForMs: number
}

/** One place of {@link Cache.lookup}. */
export interface CacheSlot<T> {
  /** `undefined`: nothing fresh is there. */
  readonly found: Found<T> | undefined
  /**
   * Keeps a value that was computed after the lookup; resolves when it is stored, and also where it can't be. What was
   * invalidated since the lookup is never served.
   */
  store(value: T): Promise<void>
}

/** Who waits for a value. */
export interface CacheCaller {
  /** Aborts when it no longer does. */
  readonly signal: AbortSignal
}

/** Computes a value. The signal aborts when nobody waits for it any longer. */
export type Compute<T> = (signal: AbortSignal) => T | PromiseLike<T>

/** Values that are computed once, in the memory of this process and in the store that nodes share. */
export interface Cache {
  /**
   * The value of an entry where it lies in memory: at once, without a promise. What is stale is computed anew meanwhile.
   * @throws what computing threw, where that is kept (`negativeTtlMs`)
   */
  hit<T>(entry: CacheEntry, compute: Compute<T>, codec: Codec<T>): Found<T> | undefined
  /**
   * The value of an entry; computed where there is none, once for all who want it meanwhile, on all nodes.
   * @throws {HoldfastError} `invalid_cache` for a key that JSON can't say; what `compute` throws; the reason of the caller's signal.
   */
  through<T>(entry: CacheEntry, compute: Compute<T>, codec: Codec<T>, caller?: CacheCaller): Promise<Found<T>>
  /** What is there of many entries, asked for at once: for batches, which compute what is missing together. Only what is fresh. */
  lookup<T>(entries: readonly CacheEntry[], codec: Codec<T>): Promise<CacheSlot<T>[]>
  /**
   * Lets nothing be served any more that has one of these tags and was computed before.
   * @throws {HoldfastError} `state_unavailable` where the other nodes can't be told: nothing is promised then.
   */
  invalidate(tags: readonly string[]): Promise<void>
}

/** Values that belong to everybody. */
export const PUBLIC = 'public'

/** Whose a value is; `undefined`: nothing is cached, since nobody can tell anonymous callers apart. */
export function partitionOf(principal: Principal, scope: 'principal' | 'public' = 'principal'): string | undefined {
  if (scope === 'public') return PUBLIC
  return principal.issuer === ANONYMOUS.issuer ? undefined : ownerOf(principal)
}

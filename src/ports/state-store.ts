/**
 * What nodes share: small values that expire, and bounded logs. Every key has a time to live; nothing scans.
 *
 * Values are bytes. Keys are built in one place ({@link ../kernel/keys.ts}); a part in braces (`{tag}`) names what must
 * lie together, as in a Redis Cluster hash tag. Expected outcomes are return values; an error means that the store
 * could not answer.
 */
export interface StateStore {
  /** Reads several keys in one round trip. A missing or expired key is `undefined`. No order holds between keys of different tags. */
  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]>
  /** Writes one key atomically. Resolves to `false`, without writing, where `onlyIf` does not hold. */
  set(key: string, value: Uint8Array, options: { ttlMs: number; onlyIf?: 'absent' | 'present' }): Promise<boolean>
  /** Writes only if the present value equals `expected` (`undefined`: absent). Linearizable for one key on one primary. */
  compareAndSet(
    key: string,
    expected: Uint8Array | undefined,
    value: Uint8Array,
    options: { ttlMs: number },
  ): Promise<boolean>
  /** Deletes keys; resolves to how many existed. */
  delete(keys: readonly string[]): Promise<number>
  /**
   * Appends to a log, if `after` is its last id (0 for an empty one) and it is not closed: so an entry is written once, and
   * a log has one writer at a time. Ids count from 1. The oldest entries go when `maxEntries` or `maxBytes` is passed.
   * `close: true` closes the log after this append.
   */
  append(log: string, after: number, entries: readonly Uint8Array[], options: AppendOptions): Promise<AppendResult>
  /** Reads entries with an id above `id`. `truncated`: entries that would have been part of the answer are no longer kept. */
  readAfter(log: string, id: number, limit: number): Promise<ReadResult>
  /**
   * Takes tokens from all the buckets, or from none, by the store's own clock (generic cell rate algorithm, ITU-T I.371).
   * @param tag what the buckets' keys have in braces: they lie together, so that they can be taken together.
   */
  takeTokens(tag: string, buckets: readonly TokenBucket[]): Promise<TokensTaken>
  /**
   * Takes a lock that goes by itself after `ttlMs`. Advisory: it saves work done twice, and nothing may rest on it, since its
   * holder may outlive it. Resolves to what {@link release} needs, or to `undefined` where another holds it.
   */
  acquire(name: string, ttlMs: number): Promise<string | undefined>
  /** Gives a lock `ttlMs` from now on; `false` where it was no longer the caller's. */
  extend(name: string, token: string, ttlMs: number): Promise<boolean>
  /** Gives a lock back; `false` where it was no longer the caller's. */
  release(name: string, token: string): Promise<boolean>
  close(): Promise<void>
}

/** One bucket of {@link StateStore.takeTokens}. A bucket that was never used is full. */
export interface TokenBucket {
  readonly key: string
  /** Tokens of a full bucket: the most that can be taken at once. */
  readonly burst: number
  /** Microseconds in which one token comes back. */
  readonly intervalUs: number
  /** Tokens wanted, at most `burst`. Less than 0 gives so many back, and is never refused; a full bucket stays as it is. */
  readonly cost: number
  /** Take fewer where there are fewer, down to this many. Default: `cost`. */
  readonly least?: number
}

/** `ok: false`: nothing was taken, since bucket number `refusedBy` had too few; it has enough after `retryAfterMs`. */
export type TokensTaken =
  | { readonly ok: true; readonly buckets: readonly BucketState[] }
  | {
      readonly ok: false
      readonly buckets: readonly BucketState[]
      readonly refusedBy: number
      readonly retryAfterMs: number
    }

/** A bucket after {@link StateStore.takeTokens}. */
export interface BucketState {
  /** Tokens taken now. */
  readonly granted: number
  /** Whole tokens left. */
  readonly remaining: number
  /** Until the bucket is full, if nobody takes more. */
  readonly fullAfterMs: number
}

/** Bounds of a log, and whether the append closes it. `ttlMs` counts from the last append. */
export interface AppendOptions {
  maxEntries: number
  maxBytes: number
  ttlMs: number
  close?: boolean
}

/** `ok: false` where `after` was not the last id, or the log is closed; `last` is the last id then. */
export interface AppendResult {
  ok: boolean
  last: number
  closed: boolean
}

/** What {@link StateStore.readAfter} found. */
export interface ReadResult {
  entries: { id: number; value: Uint8Array }[]
  truncated: boolean
  closed: boolean
}

import { randomUUID } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { Clock } from '../../ports/clock.ts'
import type {
  AppendOptions,
  AppendResult,
  BucketState,
  ReadResult,
  StateStore,
  TokenBucket,
  TokensTaken,
} from '../../ports/state-store.ts'

interface Log {
  entries: { id: number; value: Uint8Array }[]
  last: number
  closed: boolean
  bytes: number
}
interface Entry {
  /** A number is a bucket of tokens: its theoretical arrival time in microseconds. */
  value: Uint8Array | Log | number
  expiresMs: number
}

const bytesOf = (value: Entry['value']): number =>
  typeof value === 'number' ? 8 : value instanceof Uint8Array ? value.length : value.bytes
const wrong = (key: string): string => `The key ${key} holds something of another kind.`

/** A rough size of the book-keeping for one key, so that many small keys count too. */
const KEY_OVERHEAD_BYTES = 200

/**
 * State in the memory of one process: the embedded default. Bounded in bytes: past the bound the keys that were not used for
 * longest go, as if they had expired.
 */
export class MemoryStateStore implements StateStore {
  readonly #clock: Clock
  readonly #entries: LRUCache<string, Entry>
  #isClosed = false

  constructor(clock: Clock, options: { maxBytes?: number } = {}) {
    this.#clock = clock
    this.#entries = new LRUCache({
      maxSize: options.maxBytes ?? 256 * 1024 * 1024,
      sizeCalculation: (entry, key) => key.length + KEY_OVERHEAD_BYTES + bytesOf(entry.value),
    })
  }

  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    this.#check()
    return keys.map((key) => this.#value(key))
  }

  async set(
    key: string,
    value: Uint8Array,
    { ttlMs, onlyIf }: { ttlMs: number; onlyIf?: 'absent' | 'present' },
  ): Promise<boolean> {
    this.#check()
    if (onlyIf !== undefined && (onlyIf === 'present') !== (this.#live(key) !== undefined)) return false
    this.#put(key, value, ttlMs)
    return true
  }

  async compareAndSet(
    key: string,
    expected: Uint8Array | undefined,
    value: Uint8Array,
    { ttlMs }: { ttlMs: number },
  ): Promise<boolean> {
    this.#check()
    const present = this.#value(key)
    const isEqual =
      expected === undefined || present === undefined ? expected === present : Buffer.compare(expected, present) === 0
    if (isEqual) this.#put(key, value, ttlMs)
    return isEqual
  }

  async delete(keys: readonly string[]): Promise<number> {
    this.#check()
    let count = 0
    for (const key of keys) {
      if (this.#live(key) !== undefined) count++
      this.#entries.delete(key)
    }
    return count
  }

  async append(
    key: string,
    after: number,
    entries: readonly Uint8Array[],
    options: AppendOptions,
  ): Promise<AppendResult> {
    this.#check()
    const log = this.#log(key) ?? { entries: [], last: 0, closed: false, bytes: 0 }
    if (log.closed || log.last !== after) return { ok: false, last: log.last, closed: log.closed }
    for (const value of entries) {
      log.entries.push({ id: ++log.last, value: Uint8Array.from(value) })
      log.bytes += value.length
    }
    // The newest entry stays even where it alone is over the bound: it may be the response.
    while (log.entries.length > 1 && (log.entries.length > options.maxEntries || log.bytes > options.maxBytes))
      log.bytes -= log.entries.shift()!.value.length
    log.closed = options.close === true
    this.#entries.set(key, { value: log, expiresMs: this.#clock.now() + options.ttlMs })
    return { ok: true, last: log.last, closed: log.closed }
  }

  async readAfter(key: string, id: number, limit: number): Promise<ReadResult> {
    this.#check()
    const log = this.#log(key)
    if (log === undefined) return { entries: [], truncated: id > 0, closed: false }
    const from = log.entries.findIndex((entry) => entry.id > id)
    const entries = from === -1 ? [] : log.entries.slice(from, from + limit)
    const oldest = log.entries[0]?.id ?? log.last + 1
    const isComplete = from === -1 || from + limit >= log.entries.length
    return { entries, truncated: id + 1 < oldest, closed: log.closed && isComplete }
  }

  async takeTokens(_tag: string, buckets: readonly TokenBucket[]): Promise<TokensTaken> {
    return this.takeTokensNow(buckets)
  }

  /** {@link takeTokens} without a promise, for who knows that the store is this one. */
  takeTokensNow(buckets: readonly TokenBucket[]): TokensTaken {
    this.#check()
    const nowMs = this.#clock.now()
    const nowUs = nowMs * 1000
    let refusedBy = -1
    let waitUs = 0
    const entries: (Entry | undefined)[] = []
    const missing: number[] = []
    const granted: number[] = []
    // All reckoned from now: beside the epoch in microseconds a part of a token would be lost to rounding.
    for (let index = 0; index < buckets.length; index++) {
      const { key, burst, intervalUs, cost, least = cost } = buckets[index]!
      const entry = this.#bucket(key)
      const fullAfterUs = entry === undefined ? 0 : (entry.value as number) - nowUs
      const missingUs = Math.min(Math.max(fullAfterUs, 0), burst * intervalUs)
      // The clock was set back (or the burst lowered): a bucket is at worst empty, and refills from now on.
      if (fullAfterUs > missingUs + 1000) this.#putArrival(entry, key, nowMs, missingUs)
      const available = wholeTokens(burst, missingUs, intervalUs)
      entries.push(entry)
      missing.push(missingUs)
      granted.push(Math.min(cost, available))
      if (available >= least) continue
      const untilUs = missingUs - (burst - least) * intervalUs
      if (untilUs > waitUs) {
        waitUs = untilUs
        refusedBy = index
      }
    }
    const states: BucketState[] = []
    for (let index = 0; index < buckets.length; index++) {
      const { key, burst, intervalUs } = buckets[index]!
      const taken = refusedBy === -1 ? granted[index]! : 0
      const fullAfterUs = Math.max(missing[index]! + taken * intervalUs, 0)
      if (taken !== 0) this.#putArrival(entries[index], key, nowMs, fullAfterUs)
      states.push({
        granted: taken,
        remaining: wholeTokens(burst, fullAfterUs, intervalUs),
        fullAfterMs: Math.ceil(fullAfterUs / 1000),
      })
    }
    if (refusedBy === -1) return { ok: true, buckets: states }
    return { ok: false, buckets: states, refusedBy, retryAfterMs: Math.ceil(waitUs / 1000) }
  }

  async acquire(name: string, ttlMs: number): Promise<string | undefined> {
    const token = randomUUID()
    return (await this.set(name, Buffer.from(token), { ttlMs, onlyIf: 'absent' })) ? token : undefined
  }

  async release(name: string, token: string): Promise<boolean> {
    this.#check()
    const isOurs = Buffer.from(this.#value(name) ?? []).toString() === token
    if (isOurs) this.#entries.delete(name)
    return isOurs
  }

  async extend(name: string, token: string, ttlMs: number): Promise<boolean> {
    this.#check()
    const isOurs = Buffer.from(this.#value(name) ?? []).toString() === token
    if (isOurs) this.#put(name, Buffer.from(token), ttlMs)
    return isOurs
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#entries.clear()
  }

  #live(key: string): Entry | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined || entry.expiresMs > this.#clock.now()) return entry
    this.#entries.delete(key)
    return undefined
  }
  #value(key: string): Uint8Array | undefined {
    const value = this.#live(key)?.value
    if (value !== undefined && !(value instanceof Uint8Array)) throw new HoldfastError('backend_failed', wrong(key))
    return value
  }
  #log(key: string): Log | undefined {
    const value = this.#live(key)?.value
    if (value instanceof Uint8Array || typeof value === 'number') throw new HoldfastError('backend_failed', wrong(key))
    return value
  }
  /** A bucket that has expired is full, as its number says too. */
  #bucket(key: string): Entry | undefined {
    const entry = this.#entries.get(key)
    if (entry !== undefined && typeof entry.value !== 'number' && this.#live(key) !== undefined)
      throw new HoldfastError('backend_failed', wrong(key))
    return typeof entry?.value === 'number' ? entry : undefined
  }
  #putArrival(entry: Entry | undefined, key: string, nowMs: number, fullAfterUs: number): void {
    const value = nowMs * 1000 + fullAfterUs
    const expiresMs = nowMs + fullAfterUs / 1000 + 1000
    // Every call takes tokens, and a bucket's size stays the same: writing in place spares the book-keeping of a new entry.
    if (entry === undefined) this.#entries.set(key, { value, expiresMs })
    else {
      entry.value = value
      entry.expiresMs = expiresMs
    }
  }
  #put(key: string, value: Uint8Array, ttlMs: number): void {
    this.#entries.set(key, { value: Uint8Array.from(value), expiresMs: this.#clock.now() + ttlMs })
  }
  #check(): void {
    if (this.#isClosed) throw new HoldfastError('closed', 'The state store was closed.')
  }
}

/** A millionth of a token is what rounding may have cost. */
const wholeTokens = (burst: number, missingUs: number, intervalUs: number): number =>
  Math.max(0, Math.floor(burst - missingUs / intervalUs + 1e-6))

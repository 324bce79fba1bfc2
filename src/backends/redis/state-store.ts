import { randomUUID } from 'node:crypto'
import type { Cluster } from 'ioredis'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type {
  AppendOptions,
  AppendResult,
  ReadResult,
  StateStore,
  TokenBucket,
  TokensTaken,
} from '../../ports/state-store.ts'
import { endClient, type Client } from './client.ts'
import { replyCode, toBackendError } from './errors.ts'
import { COMPARE_AND_DELETE, COMPARE_AND_EXTEND, COMPARE_AND_SET } from './scripts/compare-and-set.lua.ts'
import { APPEND, READ_AFTER } from './scripts/log.lua.ts'
import type { Script } from './scripts/script.ts'
import { TAKE_TOKENS } from './scripts/take-tokens.lua.ts'

/** What the client's types leave out: scripts that answer with bytes. */
type Scripts = Record<
  'evalBuffer' | 'evalshaBuffer',
  (script: string, keyCount: number, ...keysAndArgs: (string | number | Buffer)[]) => Promise<unknown>
>

/**
 * State on Redis, Valkey or KeyDB: commands of Redis 6.2. Each operation is one round trip, tried once: whoever calls knows
 * whether it may be tried again. While the connection is lost everything fails at once.
 */
export class RedisStateStore implements StateStore {
  readonly #client: Client
  readonly #scripts: Scripts
  readonly #prefix: string
  #isClosed = false

  /**
   * @param client connected, or connecting; ended by {@link close}.
   * @param prefix begins every key.
   */
  constructor(client: Client, prefix: string) {
    this.#client = client
    this.#scripts = client as unknown as Scripts
    this.#prefix = prefix
  }

  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    if (keys.length === 0) return []
    const names = keys.map((key) => this.#prefix + key)
    const values = await this.#run('getMany', async () =>
      // Keys of several slots can't be read by one command of a cluster; one each still goes out at once.
      this.#client.isCluster
        ? Promise.all(names.map((name) => (this.#client as Cluster).getBuffer(name)))
        : this.#client.mgetBuffer(names),
    )
    return values.map((value) => value ?? undefined)
  }

  async set(
    key: string,
    value: Uint8Array,
    { ttlMs, onlyIf }: { ttlMs: number; onlyIf?: 'absent' | 'present' },
  ): Promise<boolean> {
    const name = this.#prefix + key
    const bytes = toBuffer(value)
    const ms = wholeMs(ttlMs)
    const answer = await this.#run('set', () => {
      if (onlyIf === undefined) return this.#client.set(name, bytes, 'PX', ms)
      return onlyIf === 'absent'
        ? this.#client.set(name, bytes, 'PX', ms, 'NX')
        : this.#client.set(name, bytes, 'PX', ms, 'XX')
    })
    return answer !== null
  }

  async compareAndSet(
    key: string,
    expected: Uint8Array | undefined,
    value: Uint8Array,
    { ttlMs }: { ttlMs: number },
  ): Promise<boolean> {
    if (expected === undefined) return this.set(key, value, { ttlMs, onlyIf: 'absent' })
    const args = [toBuffer(expected), toBuffer(value), wholeMs(ttlMs)]
    return (await this.#script('compareAndSet', COMPARE_AND_SET, [key], args)) === 1
  }

  async delete(keys: readonly string[]): Promise<number> {
    if (keys.length === 0) return 0
    const names = keys.map((key) => this.#prefix + key)
    return this.#run('delete', async () => {
      if (!this.#client.isCluster) return this.#client.unlink(names)
      const counts = await Promise.all(names.map((name) => this.#client.unlink(name)))
      return counts.reduce((sum, count) => sum + count, 0)
    })
  }

  async append(
    log: string,
    after: number,
    entries: readonly Uint8Array[],
    { maxEntries, maxBytes, ttlMs, close }: AppendOptions,
  ): Promise<AppendResult> {
    const args = [after, maxEntries, maxBytes, wholeMs(ttlMs), close === true ? 1 : 0, ...entries.map(toBuffer)]
    const [ok, last, closed] = (await this.#script('append', APPEND, [log], args)) as [number, number, number]
    return { ok: ok === 1, last, closed: closed === 1 }
  }

  async readAfter(log: string, id: number, limit: number): Promise<ReadResult> {
    const [last, first, closed, from, ...values] = (await this.#script(
      'readAfter',
      READ_AFTER,
      [log],
      [id, limit],
    )) as [number?, number?, number?, number?, ...Buffer[]]
    if (last === undefined) return { entries: [], truncated: id > 0, closed: false }
    const entries = values.map((value, index) => ({ id: from! + index, value }))
    return { entries, truncated: id + 1 < first!, closed: closed === 1 && from! + entries.length > last }
  }

  async takeTokens(_tag: string, buckets: readonly TokenBucket[]): Promise<TokensTaken> {
    if (buckets.length === 0) return { ok: true, buckets: [] }
    const args = buckets.flatMap(({ intervalUs, burst, cost, least = cost }) => [intervalUs, burst, cost, least])
    const keys = buckets.map(({ key }) => key)
    const [refusedBy, retryAfterMs, ...numbers] = (await this.#script('takeTokens', TAKE_TOKENS, keys, args)) as [
      number,
      number,
      ...number[],
    ]
    const states = buckets.map((_, index) => ({
      granted: numbers[index * 3]!,
      remaining: numbers[index * 3 + 1]!,
      fullAfterMs: numbers[index * 3 + 2]!,
    }))
    if (refusedBy === 0) return { ok: true, buckets: states }
    return { ok: false, buckets: states, refusedBy: refusedBy - 1, retryAfterMs }
  }

  async acquire(name: string, ttlMs: number): Promise<string | undefined> {
    const token = randomUUID()
    return (await this.set(name, Buffer.from(token), { ttlMs, onlyIf: 'absent' })) ? token : undefined
  }

  async release(name: string, token: string): Promise<boolean> {
    return (await this.#script('release', COMPARE_AND_DELETE, [name], [token])) === 1
  }

  async extend(name: string, token: string, ttlMs: number): Promise<boolean> {
    return (await this.#script('extend', COMPARE_AND_EXTEND, [name], [token, wholeMs(ttlMs)])) === 1
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await endClient(this.#client)
  }

  /** Runs a script by its name; a server that does not know it (new, or restarted) has not run it, and gets the text. */
  #script(
    operation: string,
    { sha, text }: Script,
    keys: readonly string[],
    args: (string | number | Buffer)[],
  ): Promise<unknown> {
    const names = keys.map((key) => this.#prefix + key)
    return this.#run(operation, async () => {
      try {
        return await this.#scripts.evalshaBuffer(sha, names.length, ...names, ...args)
      } catch (error) {
        if (replyCode(error) !== 'NOSCRIPT') throw error
        return this.#scripts.evalBuffer(text, names.length, ...names, ...args)
      }
    })
  }

  async #run<T>(operation: string, run: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new HoldfastError('closed', 'The state store was closed.')
    try {
      if (this.#client.isCluster && this.#client.status !== 'ready') throw new Error('The cluster is not connected.')
      return await run()
    } catch (error) {
      throw toBackendError(operation, error)
    }
  }
}

/** Without a copy: the client writes it to the socket before the caller goes on. */
const toBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
/** Redis takes whole milliseconds, and none that are not positive. */
const wholeMs = (ttlMs: number): number => Math.max(1, Math.ceil(ttlMs))

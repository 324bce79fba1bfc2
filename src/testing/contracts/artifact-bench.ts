import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { ArtifactInfo, ArtifactStore, ByteRange, StoredArtifact } from '../../ports/artifact-store.ts'

/** An artifact store under test, empty or shared, and whoever else uses the same one. */
export interface ArtifactStoreFixture {
  readonly store: ArtifactStore
  /** Another connection to the same objects; `store` itself where they are in memory. */
  readonly there: ArtifactStore
}

export const KIB = 1024
export const MIB = 1024 * KIB
export const bytes = (text: string): Uint8Array => Buffer.from(text)
export const MAX = { maxBytes: 64 * MIB }

/** Pieces of a body, each after a turn of the event loop. */
export async function* pieces(...parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    await new Promise((resolve) => setImmediate(resolve))
    yield part
  }
}
/** A body of `length` bytes that can be told from every other, in pieces of odd lengths. */
export function* pattern(length: number, pieceBytes = 65_521): Generator<Uint8Array> {
  for (let from = 0; from < length; from += pieceBytes) yield patternBytes(from, Math.min(length, from + pieceBytes))
}
export function patternBytes(from: number, to: number): Uint8Array {
  const part = Buffer.allocUnsafe(to - from)
  for (let at = from; at < to; at++) part[at - from] = (at * 31 + (at >> 8) * 7 + (at >> 16)) & 0xff
  return part
}
/** Reads an object, or a range, to its end. */
export async function read(
  store: ArtifactStore,
  key: string,
  range?: ByteRange,
): Promise<Buffer | 'beyond' | undefined> {
  const found = await store.get(key, range)
  if (found === undefined || found === 'beyond') return found
  const parts: Uint8Array[] = []
  for await (const part of found.body) parts.push(part)
  const whole = Buffer.concat(parts)
  assert.equal(whole.length, found.to - found.from)
  return whole
}
export const isInfo = (result: ArtifactInfo | string): result is ArtifactInfo => typeof result === 'object'
export const randomless = (length: number): Uint8Array => patternBytes(1000, 1000 + length)

/** What a test of an artifact store works with: keys of its own, and short ways to do what most tests do. */
export class ArtifactBench {
  readonly store: ArtifactStore
  readonly there: ArtifactStore
  /** Begins the keys of this test. */
  readonly place = `contract/${randomUUID()}`

  constructor({ store, there }: ArtifactStoreFixture) {
    this.store = store
    this.there = there
  }

  readonly key = (part: string): string => `${this.place}/${part}`
  readonly put = async (target: string, content: string): Promise<void> => {
    assert.ok(isInfo(await this.store.put(target, [bytes(content)], MAX)))
  }
  readonly keysOf = async (prefix: string): Promise<string[]> =>
    (await this.store.list(prefix)).objects.map((object) => object.key)
  readonly reading = async (target: string): Promise<StoredArtifact> => {
    const found = await this.store.get(target)
    assert.ok(typeof found === 'object')
    return found
  }

  /** Removes what the test has left, and closes the stores. */
  async close(): Promise<void> {
    for (let cursor: string | undefined, isMore = true; isMore; isMore = cursor !== undefined) {
      const page = await this.store.list(`${this.place}/`, cursor)
      await this.store.delete(page.objects.map((object) => object.key))
      cursor = page.cursor
    }
    await Promise.all([...new Set([this.store, this.there])].map((one) => one.close()))
  }
}

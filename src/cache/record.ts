import { promisify } from 'node:util'
import { zstdCompress, zstdDecompress } from 'node:zlib'

/** Until when a value is good, and for what. In milliseconds since the epoch. */
export interface CacheTimes {
  readonly freshUntilMs: number
  readonly staleUntilMs: number
  /** Until then it is given out where computing it anew fails. */
  readonly keptUntilMs: number
}

/** What the store keeps of a value. */
export interface CacheRecord extends CacheTimes {
  readonly payload: Uint8Array
  /** Computing has failed; the payload tells how. */
  readonly isThrown: boolean
  /** Generations of its tags, as they were before it was computed; empty without tags. */
  readonly generations: string
}

/** Part of every key: records of another format are not seen. */
export const RECORD_FORMAT = '1'

/** Payloads of fewer bytes are stored as they are: see `docs/design/cache.md` for the figures. */
const COMPRESSED_FROM_BYTES = 4 * 1024
/** What compression must gain to be worth undoing it. */
const WORTHWHILE_SHARE = 0.9
const IS_THROWN = 1
const IS_COMPRESSED = 2
/** Flags, three times, length of the generations. */
const HEAD_BYTES = 1 + 3 * 8 + 2

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)

/** @param isDense compression would gain nothing */
export async function encodeRecord(record: CacheRecord, isDense: boolean): Promise<Uint8Array> {
  const { generations, isThrown } = record
  let { payload } = record
  let isCompressed = false
  if (!isDense && payload.length >= COMPRESSED_FROM_BYTES) {
    const smaller = await compress(payload)
    if (smaller.length < payload.length * WORTHWHILE_SHARE) {
      payload = smaller
      isCompressed = true
    }
  }
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + generations.length + payload.length)
  bytes[0] = (isThrown ? IS_THROWN : 0) | (isCompressed ? IS_COMPRESSED : 0)
  bytes.writeDoubleBE(record.freshUntilMs, 1)
  bytes.writeDoubleBE(record.staleUntilMs, 9)
  bytes.writeDoubleBE(record.keptUntilMs, 17)
  bytes.writeUInt16BE(generations.length, 25)
  bytes.write(generations, HEAD_BYTES, 'latin1')
  bytes.set(payload, HEAD_BYTES + generations.length)
  return bytes
}

/**
 * `undefined`: these bytes are no record.
 * @param maxBytes of a payload that is decompressed: a store that strangers write to must not fill the memory
 */
export function decodeRecord(given: Uint8Array, maxBytes: number): CacheRecord | Promise<CacheRecord> | undefined {
  const bytes = Buffer.from(given.buffer, given.byteOffset, given.byteLength)
  if (bytes.length < HEAD_BYTES) return undefined
  const from = HEAD_BYTES + bytes.readUInt16BE(25)
  if (from > bytes.length) return undefined
  const flags = bytes[0]!
  const record: CacheRecord = {
    payload: bytes.subarray(from),
    isThrown: (flags & IS_THROWN) !== 0,
    freshUntilMs: bytes.readDoubleBE(1),
    staleUntilMs: bytes.readDoubleBE(9),
    keptUntilMs: bytes.readDoubleBE(17),
    generations: bytes.toString('latin1', HEAD_BYTES, from),
  }
  if ((flags & IS_COMPRESSED) === 0) return record
  return decompress(record.payload, { maxOutputLength: maxBytes }).then((payload) => ({ ...record, payload }))
}

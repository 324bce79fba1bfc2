/**
 * Where big results lie: bytes of any length under a key, written once and never changed.
 *
 * Rules for every implementation:
 * - Values stream: neither a writer's nor a reader's is held whole.
 * - An object is there whole or not at all. What a writer leaves behind that failed, or was killed, is never read or listed.
 * - Reads and lists see every write that has resolved.
 * - Expected outcomes are return values; an error means that the outcome is unknown, or that the caller's stream has failed.
 *
 * A key is one to eight segments of 1 to 64 letters, digits, `_` and `-`, separated by slashes; see {@link checkArtifactKey}. No
 * key lies below another (`a` and `a/b`): stores over a file system could not hold both.
 */
export interface ArtifactStore {
  /**
   * Writes an object. Of several writers of one key the first to end wins; the others are told `exists`.
   * `too-large`: the body has more than `maxBytes`; it is read no further, and nothing is left of it.
   * @throws what the body throws; nothing is left of it then.
   */
  put(
    key: string,
    body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: PutOptions,
  ): Promise<ArtifactInfo | 'exists' | 'too-large'>
  /**
   * Opens an object, or a range of it. `undefined`: there is none. `beyond`: the range begins behind its end.
   * Read the body to its end, or cancel it: it may hold a file or a connection.
   */
  get(key: string, range?: ByteRange): Promise<StoredArtifact | 'beyond' | undefined>
  /** What is known of an object without reading it. */
  head(key: string): Promise<ArtifactInfo | undefined>
  /** Deletes objects; those that are not there are passed over. */
  delete(keys: readonly string[]): Promise<void>
  /**
   * Keys that begin with `prefix`, in ascending order of their bytes, at most 1000 at a time; `cursor` of one answer gives the
   * next. An object that is there all the while is listed once, whatever comes and goes besides.
   */
  list(prefix: string, cursor?: string): Promise<{ objects: readonly ListedArtifact[]; cursor: string | undefined }>
  /** Clears away what writers have left behind that began at least so long ago and did not end; resolves to how many. */
  clearUploads(olderThanMs: number): Promise<number>
  /** A URL that serves the object to whoever has it, for `ttlMs`; absent where the store has no such thing. */
  signUrl?(key: string, ttlMs: number): Promise<string>
  close(): Promise<void>
}

/** See {@link ArtifactStore.put}. */
export interface PutOptions {
  readonly maxBytes: number
  /** What the bytes are; kept with the object. At most 255 printable ASCII characters. Default `application/octet-stream`. */
  readonly mimeType?: string
  /** What a person may call it; kept with the object. Any well-formed text of at most 255 characters. */
  readonly name?: string
  /** Ends the write. */
  readonly signal?: AbortSignal
}

/** At least one byte: from `from` up to, not including, `to` (default, and where it lies beyond it: the end). */
export interface ByteRange {
  readonly from: number
  readonly to?: number
}

/** What a store knows of an object. */
export interface ArtifactInfo {
  readonly key: string
  /** Bytes. */
  readonly size: number
  readonly mimeType: string
  readonly name: string | undefined
}

/** An object as a list shows it. */
export interface ListedArtifact {
  readonly key: string
  /** When it was written, by the store's clock. */
  readonly writtenMs: number
}

/** An object that is being read. */
export interface StoredArtifact {
  readonly info: ArtifactInfo
  /** The part that {@link body} gives. */
  readonly from: number
  readonly to: number
  readonly body: ReadableStream<Uint8Array>
}

/** What an object is taken for whose writer did not say. */
export const DEFAULT_MIME_TYPE = 'application/octet-stream'

/** Most that {@link ArtifactStore.list} answers at once. */
export const LIST_LIMIT = 1000

const KEY = /^[A-Za-z0-9_-]{1,64}(?:\/[A-Za-z0-9_-]{1,64}){0,7}$/

/** Whether a text is a key. */
export const isArtifactKey = (text: string): boolean => KEY.test(text)

/**
 * Refuses what is no key. Keys are built by us, of parts that callers can't choose: another one is a mistake.
 * @throws {RangeError}
 */
export function checkArtifactKey(key: string): void {
  if (!isArtifactKey(key))
    throw new RangeError(`${JSON.stringify(String(key).slice(0, 100))} is no key of an artifact.`)
}

/** Refuses descriptions that a store could not keep. @throws {RangeError} */
export function checkPutOptions({ maxBytes, mimeType, name }: PutOptions): void {
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 0) throw new RangeError(`maxBytes is ${maxBytes}.`)
  if (mimeType !== undefined && !/^[\x20-\x7e]{1,255}$/.test(mimeType))
    throw new RangeError(
      `The MIME type ${JSON.stringify(mimeType.slice(0, 100))} is not 1 to 255 printable ASCII characters.`,
    )
  if (name !== undefined && (name === '' || name.length > 255 || !name.isWellFormed()))
    throw new RangeError(
      `The name ${JSON.stringify(name.slice(0, 100))} does not have 1 to 255 characters, well-formed.`,
    )
}

/** The range of an object of `size` bytes; `beyond` where it begins behind the end. @throws {RangeError} for what is no range. */
export function rangeWithin(range: ByteRange | undefined, size: number): { from: number; to: number } | 'beyond' {
  const { from = 0, to = size } = range ?? {}
  if (range === undefined) return { from, to }
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 0 || (range.to !== undefined && to <= from))
    throw new RangeError(`From ${from} to ${to} is no range of bytes.`)
  return from >= size ? 'beyond' : { from, to: Math.min(to, size) }
}

import { HoldfastError } from '../../errors/holdfast-error.ts'
import {
  checkArtifactKey,
  checkPutOptions,
  DEFAULT_MIME_TYPE,
  LIST_LIMIT,
  rangeWithin,
  type ArtifactInfo,
  type ArtifactStore,
  type ByteRange,
  type ListedArtifact,
  type PutOptions,
  type StoredArtifact,
} from '../../ports/artifact-store.ts'
import type { Clock } from '../../ports/clock.ts'
import { abortable, checkBytes } from '../object/blocks.ts'

interface Entry {
  readonly info: ArtifactInfo
  readonly parts: readonly Uint8Array[]
  readonly writtenMs: number
}

/** Artifacts in the memory of this process, for tests and for who keeps nothing on disk. Bounded, and gone with the process. */
export class MemoryArtifactStore implements ArtifactStore {
  readonly #entries = new Map<string, Entry>()
  readonly #clock: Clock
  readonly #maxBytes: number
  #bytes = 0
  #isClosed = false

  /** @param options.maxBytes of all objects together, those that are being written included. Default 64 MiB. */
  constructor(clock: Clock, { maxBytes = 64 * 1024 * 1024 }: { maxBytes?: number } = {}) {
    this.#clock = clock
    this.#maxBytes = maxBytes
  }

  async put(
    key: string,
    body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: PutOptions,
  ): Promise<ArtifactInfo | 'exists' | 'too-large'> {
    this.#check(key)
    checkPutOptions(options)
    const { maxBytes, mimeType = DEFAULT_MIME_TYPE, name, signal } = options
    const parts: Uint8Array[] = []
    let size = 0
    let isKept = false
    try {
      for await (const piece of abortable(body, signal)) {
        checkBytes(piece)
        size += piece.length
        this.#bytes += piece.length
        if (size > maxBytes) return 'too-large'
        if (this.#bytes > this.#maxBytes)
          throw new HoldfastError(
            'backend_failed',
            `Artifacts in memory have more than ${this.#maxBytes} bytes: name a folder or a bucket (HOLDFAST_ARTIFACTS_URL).`,
          )
        // The giver may use its memory again.
        parts.push(piece.slice())
      }
      if (this.#entries.has(key)) return 'exists'
      const info = { key, size, mimeType, name }
      this.#entries.set(key, { info, parts, writtenMs: this.#clock.now() })
      isKept = true
      return info
    } finally {
      if (!isKept) this.#bytes -= size
    }
  }

  async get(key: string, range?: ByteRange): Promise<StoredArtifact | 'beyond' | undefined> {
    this.#check(key)
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    const part = rangeWithin(range, entry.info.size)
    if (part === 'beyond') return part
    return { info: entry.info, ...part, body: ReadableStream.from(within(entry.parts, part)) }
  }

  async head(key: string): Promise<ArtifactInfo | undefined> {
    this.#check(key)
    return this.#entries.get(key)?.info
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.#check(key)
    for (const key of keys) {
      this.#bytes -= this.#entries.get(key)?.info.size ?? 0
      this.#entries.delete(key)
    }
  }

  async list(prefix: string, cursor = ''): Promise<{ objects: readonly ListedArtifact[]; cursor: string | undefined }> {
    this.#check()
    const found = [...this.#entries].filter(([key]) => key.startsWith(prefix) && key > cursor)
    const objects = found
      .map(([key, { writtenMs }]) => ({ key, writtenMs }))
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .slice(0, LIST_LIMIT)
    return { objects, cursor: found.length > LIST_LIMIT ? objects.at(-1)!.key : undefined }
  }

  /** What a writer leaves behind here goes with it. */
  async clearUploads(): Promise<number> {
    this.#check()
    return 0
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#entries.clear()
  }

  #check(key?: string): void {
    if (this.#isClosed) throw new HoldfastError('closed', 'The artifact store was used after close().')
    if (key !== undefined) checkArtifactKey(key)
  }
}

function* within(parts: readonly Uint8Array[], { from, to }: { from: number; to: number }): Generator<Uint8Array> {
  let at = 0
  for (const part of parts) {
    const piece = part.subarray(Math.max(0, from - at), Math.max(0, to - at))
    at += part.length
    if (piece.length > 0) yield piece
  }
}

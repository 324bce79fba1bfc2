import type { ArtifactData } from '../define/artifact.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { ArtifactInfo, ArtifactStore, ByteRange, StoredArtifact } from '../ports/artifact-store.ts'
import type { KeyRing } from '../kernel/key-ring.ts'
import type { Clock } from '../ports/clock.ts'
import { LINK_TTL_MS, openLink, sealLink } from './links.ts'
import { wholeOf } from './read.ts'
import {
  keyOfUri,
  newArtifactKey,
  newValueKey,
  readKey,
  uriOfKey,
  type ArtifactPlace,
  type KeyFacts,
  type ValuePlace,
} from './keys.ts'

/** How {@link Artifacts} is made. */
export interface ArtifactsOptions {
  /** Opens the store; called at the first use, and again if it failed. */
  open(): Promise<ArtifactStore>
  /** Bytes of one artifact, at most. */
  readonly maxArtifactBytes: number
  /** Seals links to downloads; opens what is sealed in keys. */
  readonly keys: KeyRing
  readonly clock: Clock
  /**
   * The endpoint as clients write it, for links: a URL, or its path alone where that is all that is known. `undefined`: there is
   * none, so that nothing can be downloaded but what the store itself serves.
   */
  endpoint(): string | undefined
  /** Told when the store has been opened: by this process, or by one of its isolates; see {@link Artifacts.used}. */
  onUsed(): void
}

/** An artifact, as its URI names it. */
export interface NamedArtifact extends ArtifactInfo {
  readonly uri: string
}

/** A record names a value that is not in the store. That it can be reached now makes no difference: it does not come back. */
export class ValueGone extends HoldfastError {
  constructor(key: string) {
    super('backend_failed', `The artifact store has no value ${key}, which a task's records name.`)
  }
}

/** Artifacts of a runtime: what callers are given links to, and values that are too big for a task's records. */
export class Artifacts {
  readonly #options: ArtifactsOptions
  #opened: Promise<ArtifactStore> | undefined
  #isClosed = false

  constructor(options: ArtifactsOptions) {
    this.#options = options
  }

  /**
   * The store, opened at the first use.
   * @throws {HoldfastError} `closed`, and what opening throws.
   */
  store(): Promise<ArtifactStore> {
    if (this.#isClosed) return Promise.reject(new HoldfastError('closed', 'Artifacts were used after close().'))
    this.#opened ??= this.#options.open().then((store) => {
      this.used()
      return store
    })
    const opened = this.#opened
    opened.catch(() => {
      if (this.#opened === opened) this.#opened = undefined // the next who asks may be luckier
    })
    return opened
  }

  /**
   * Writes an artifact under a key of its own.
   * @throws {HoldfastError} `artifact_too_large`; `backend_failed`; and what the data throws.
   */
  async put(
    place: ArtifactPlace,
    data: ArtifactData,
    { name, mimeType, signal }: { name: string; mimeType: string; signal?: AbortSignal },
  ): Promise<NamedArtifact> {
    const store = await this.store()
    const key = newArtifactKey(place)
    const maxBytes = this.#options.maxArtifactBytes
    const written = await store.put(key, toBytes(data), { maxBytes, name, mimeType, ...(signal && { signal }) })
    if (written === 'too-large')
      throw new HoldfastError(
        'artifact_too_large',
        `The artifact ${JSON.stringify(name)} has more than ${maxBytes} bytes (maxArtifactBytes).`,
      )
    if (written === 'exists') throw new HoldfastError('backend_failed', `There is an artifact ${key} already.`)
    return { ...written, uri: uriOfKey(key) }
  }

  /** Opens an artifact of an owner, or a range of it. `undefined`: there is none of this owner under this URI. */
  async get(owner: string, uri: string, range?: ByteRange): Promise<StoredArtifact | 'beyond' | undefined> {
    const key = keyOfUri(uri, owner)
    return key === undefined ? undefined : (await this.store()).get(key, range)
  }

  /** What is known of an artifact of an owner. */
  async head(owner: string, uri: string): Promise<ArtifactInfo | undefined> {
    const key = keyOfUri(uri, owner)
    return key === undefined ? undefined : (await this.store()).head(key)
  }

  /**
   * Where an artifact can be downloaded by whoever has the URL, and until when: from the store, where it serves URLs of its own,
   * else from this server (`<endpoint>/artifacts/<sealed link>`). A reference without a host is one to the endpoint's.
   */
  async urlOf({ key }: ArtifactInfo): Promise<{ url: string; urlExpiresAt: string } | undefined> {
    const { keys, clock, endpoint } = this.#options
    const expiresMs = clock.now() + LINK_TTL_MS
    const urlExpiresAt = new Date(expiresMs).toISOString()
    const store = await this.store()
    if (store.signUrl !== undefined) return { url: await store.signUrl(key, LINK_TTL_MS), urlExpiresAt }
    const base = endpoint()
    return base === undefined ? undefined : { url: `${base}/artifacts/${sealLink(keys, key, expiresMs)}`, urlExpiresAt }
  }

  /** The key that the link of a download stands for; `undefined` where it was not made here, or its time is up. */
  openLink(link: string): string | undefined {
    return openLink(this.#options.keys, link, this.#options.clock.now())
  }

  /**
   * Writes a value of a task's records. Put the key on record (`artifacts` of `recordStep` and `finish`): what no record names
   * is collected.
   * @returns the key
   */
  async putValue(place: ValuePlace, value: Uint8Array): Promise<string> {
    const key = newValueKey(place)
    const written = await (await this.store()).put(key, [value], { maxBytes: value.length })
    if (typeof written === 'string')
      throw new HoldfastError('backend_failed', `The value ${key} was not written: ${written}.`)
    return key
  }

  /**
   * Reads a value of a task's records.
   * @throws {ValueGone} where it is not there.
   */
  async getValue(key: string): Promise<Uint8Array> {
    const found = key.startsWith('value/') ? await (await this.store()).get(key) : undefined
    if (found === undefined || found === 'beyond') throw new ValueGone(key)
    return wholeOf(found)
  }

  /** The store is open, here or in an isolate of this process, so that there may be something to collect. */
  used(): void {
    this.#options.onUsed()
  }

  /** What a key of the store says; see {@link readKey}. */
  factsOf(key: string): KeyFacts | undefined {
    return readKey(key, this.#options.keys)
  }

  /** Closes the store, if it was opened. */
  async close(): Promise<void> {
    this.#isClosed = true
    const store = await this.#opened?.catch(() => undefined) // it never was open
    await store?.close()
  }
}

function toBytes(data: ArtifactData): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  if (typeof data === 'string') return [Buffer.from(data)]
  if (data instanceof Uint8Array) return [data]
  if (typeof data === 'object' && data !== null && Symbol.asyncIterator in data) return encoded(data)
  throw new TypeError('An artifact must be text, bytes, or an async iterable (a stream) of them.')
}

async function* encoded(data: AsyncIterable<Uint8Array | string>): AsyncGenerator<Uint8Array> {
  for await (const part of data) yield typeof part === 'string' ? Buffer.from(part) : part
}

import type { Readable } from 'node:stream'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import {
  checkArtifactKey,
  checkPutOptions,
  DEFAULT_MIME_TYPE,
  isArtifactKey,
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
import { loadClient } from '../broker/url.ts'
import { BodyTooLarge } from '../object/blocks.ts'
import { nameOf, S3Commands, statusOf } from './client.ts'
import { MAX_OBJECT_BYTES, upload } from './upload.ts'
import { parseS3Url } from './url.ts'

/** S3 signs for a week at most. */
const MAX_SIGNED_S = 7 * 86_400
/** S3 deletes so many objects at once. */
const MAX_DELETED = 1000

/**
 * Opens the bucket that a URL names. Does not wait for the service: one that is away may come back.
 * @throws {HoldfastError} `invalid_option` for a malformed URL, or where `@aws-sdk/client-s3` or `@aws-sdk/s3-request-presigner`
 * is not installed.
 */
export async function openS3Artifacts(url: string, clock: Clock): Promise<ArtifactStore> {
  const address = parseS3Url(url)
  const [library, { getSignedUrl }] = await Promise.all([
    loadClient(() => import('@aws-sdk/client-s3'), '@aws-sdk/client-s3@3', address.shown),
    loadClient(() => import('@aws-sdk/s3-request-presigner'), '@aws-sdk/s3-request-presigner@3', address.shown),
  ])
  return new S3ArtifactStore(new S3Commands({ ...library, getSignedUrl }, address), clock)
}

/**
 * Artifacts as objects of a bucket. Type and name are headers of the object (`Content-Type`, `Content-Disposition`), so a signed
 * URL serves them, as a download: what users have written must not run as a page of the bucket's host.
 */
class S3ArtifactStore implements ArtifactStore {
  readonly #commands: S3Commands
  readonly #clock: Clock
  #isClosed = false

  constructor(commands: S3Commands, clock: Clock) {
    this.#commands = commands
    this.#clock = clock
  }

  async put(
    key: string,
    body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: PutOptions,
  ): Promise<ArtifactInfo | 'exists' | 'too-large'> {
    this.#check(key)
    checkPutOptions(options)
    const { mimeType = DEFAULT_MIME_TYPE, name, signal } = options
    const maxBytes = Math.min(options.maxBytes, MAX_OBJECT_BYTES)
    const headers = { ContentType: mimeType, ContentDisposition: dispositionOf(name) }
    try {
      const size = await upload(this.#commands, { key, body, maxBytes, headers, signal })
      return size === 'exists' ? size : { key, size, mimeType, name }
    } catch (error) {
      if (error instanceof BodyTooLarge) return 'too-large'
      throw error
    }
  }

  async get(key: string, range?: ByteRange): Promise<StoredArtifact | 'beyond' | undefined> {
    this.#check(key)
    const { library, steady, address } = this.#commands
    if (range !== undefined) rangeWithin(range, Number.MAX_SAFE_INTEGER) // refuses what is none
    const command = new library.GetObjectCommand({
      ...this.#commands.at(key),
      ...(range === undefined
        ? {}
        : {
            Range: `bytes=${range.from}-${range.to === undefined ? '' : Math.min(range.to, Number.MAX_SAFE_INTEGER) - 1}`,
          }),
    })
    try {
      const found = await this.#commands.run('a read', address.commandTimeoutMs, (options) =>
        steady.send(command, options),
      )
      const body = found.Body as Readable
      const size = Number(/\/(\d+)$/.exec(found.ContentRange ?? '')?.[1] ?? found.ContentLength)
      const part = rangeWithin(range, size)
      // Some servers answer with the whole of an empty object.
      if (part === 'beyond' || (found.ContentRange === undefined && part.to - part.from !== size)) {
        body.destroy()
        if (part === 'beyond') return part
        throw new HoldfastError('backend_failed', 'S3 gave a whole object where a range was asked for.')
      }
      return { info: { ...infoOf(key, found), size }, ...part, body: this.#stream(body, part.to - part.from) }
    } catch (error) {
      if (statusOf(error) === 416) return 'beyond'
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async head(key: string): Promise<ArtifactInfo | undefined> {
    this.#check(key)
    const { library, steady, address } = this.#commands
    const command = new library.HeadObjectCommand(this.#commands.at(key))
    try {
      return infoOf(
        key,
        await this.#commands.run('a read', address.commandTimeoutMs, (options) => steady.send(command, options)),
      )
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.#check(key)
    this.#check()
    const { library, steady, address } = this.#commands
    for (let from = 0; from < keys.length; from += MAX_DELETED) {
      const Objects = keys.slice(from, from + MAX_DELETED).map((key) => ({ Key: this.#commands.at(key).Key }))
      const command = new library.DeleteObjectsCommand({ Bucket: address.bucket, Delete: { Objects, Quiet: true } })
      const { Errors = [] } = await this.#commands.run('a deletion', address.transferTimeoutMs, (options) =>
        steady.send(command, options),
      )
      const [first] = Errors.filter(({ Code }) => Code !== 'NoSuchKey')
      if (first !== undefined)
        throw this.#commands.toError('a deletion', Object.assign(new Error(first.Message), { name: first.Code }))
    }
  }

  async list(
    prefix: string,
    cursor?: string,
  ): Promise<{ objects: readonly ListedArtifact[]; cursor: string | undefined }> {
    this.#check()
    const { library, steady, address } = this.#commands
    const command = new library.ListObjectsV2Command({
      Bucket: address.bucket,
      Prefix: address.prefix + prefix,
      MaxKeys: LIST_LIMIT,
      ...(cursor === undefined ? {} : { StartAfter: address.prefix + cursor }),
    })
    const { Contents = [], IsTruncated } = await this.#commands.run('a list', address.commandTimeoutMs, (options) =>
      steady.send(command, options),
    )
    const keys = Contents.map(({ Key = '' }) => Key.slice(address.prefix.length))
    const objects = Contents.map(({ LastModified }, index) => ({
      key: keys[index]!,
      writtenMs: LastModified?.getTime() ?? 0,
    }))
    return {
      // What others keep in the bucket is not ours.
      objects: objects.filter(({ key }) => isArtifactKey(key)),
      cursor: IsTruncated === true ? keys.at(-1) : undefined,
    }
  }

  async clearUploads(olderThanMs: number): Promise<number> {
    this.#check()
    const { library, steady, address } = this.#commands
    let count = 0
    let markers: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } = {}
    for (;;) {
      const list = new library.ListMultipartUploadsCommand({
        Bucket: address.bucket,
        Prefix: address.prefix,
        ...markers,
      })
      const page = await this.#commands.run('the list of unfinished writes', address.commandTimeoutMs, (options) =>
        steady.send(list, options),
      )
      for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
        if (this.#clock.now() - (Initiated?.getTime() ?? 0) < olderThanMs) continue
        const abort = new library.AbortMultipartUploadCommand({ Bucket: address.bucket, Key, UploadId })
        try {
          await this.#commands.run('the removal of an unfinished write', address.commandTimeoutMs, (options) =>
            steady.send(abort, options),
          )
          count++
        } catch (error) {
          if (statusOf(error) !== 404) throw error // its writer, or another who clears away, was faster
        }
      }
      if (page.IsTruncated !== true) return count
      markers = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker }
    }
  }

  async signUrl(key: string, ttlMs: number): Promise<string> {
    this.#check(key)
    const { library, signer } = this.#commands
    const expiresIn = Math.min(Math.max(Math.floor(ttlMs / 1000), 1), MAX_SIGNED_S)
    return library.getSignedUrl(signer, new library.GetObjectCommand(this.#commands.at(key)), { expiresIn })
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#commands.destroy()
  }

  #check(key?: string): void {
    if (this.#isClosed) throw new HoldfastError('closed', 'The artifact store was used after close().')
    if (key !== undefined) checkArtifactKey(key)
  }

  #stream(body: Readable, length: number): ReadableStream<Uint8Array> {
    const pieces = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    const { transferTimeoutMs } = this.#commands.address
    let left = length
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const timer = setTimeout(
            () => body.destroy(new Error(`Nothing came for ${transferTimeoutMs} ms.`)),
            transferTimeoutMs,
          )
          try {
            const { done, value } = await pieces.next()
            if (done === true) {
              if (left !== 0) throw new Error(`The answer ended ${left} bytes before its end.`)
              return controller.close()
            }
            left -= value.length
            controller.enqueue(value)
          } catch (error) {
            throw this.#commands.toError('a read', error)
          } finally {
            clearTimeout(timer)
          }
        },
        cancel: () => void body.destroy(),
      },
      { highWaterMark: 0 },
    )
  }
}

interface Described {
  readonly ContentLength?: number | undefined
  readonly ContentType?: string | undefined
  readonly ContentDisposition?: string | undefined
}

const infoOf = (key: string, { ContentLength = 0, ContentType, ContentDisposition }: Described): ArtifactInfo => ({
  key,
  size: ContentLength,
  mimeType: ContentType ?? DEFAULT_MIME_TYPE,
  name: nameIn(ContentDisposition),
})

/** A bucket that is missing is a mistake, and no missing object. */
const isMissing = (error: unknown): boolean => statusOf(error) === 404 && nameOf(error) !== 'NoSuchBucket'

/** RFC 6266, with the name as RFC 8187 has it. */
const dispositionOf = (name: string | undefined): string =>
  name === undefined
    ? 'attachment'
    : `attachment; filename*=UTF-8''${encodeURIComponent(name).replace(/['()*!]/g, (one) => `%${one.charCodeAt(0).toString(16)}`)}`
const nameIn = (disposition = ''): string | undefined => {
  const encoded = /filename\*=UTF-8''([^;\s]+)/.exec(disposition)?.[1]
  return encoded === undefined ? undefined : decodeURIComponent(encoded)
}

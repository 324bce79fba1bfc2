import type { CompletedPart } from '@aws-sdk/client-s3'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { inBlocks } from '../object/blocks.ts'
import { statusOf, type S3Commands } from './client.ts'

/** Bytes of a part, and of memory that an upload holds. S3 wants 5 MiB or more of all parts but the last. */
export const PART_BYTES = 8 * 1024 * 1024
/** S3 takes so many parts. */
const MAX_PARTS = 10_000
/** The largest object that can be written: 78 GiB. */
export const MAX_OBJECT_BYTES = PART_BYTES * MAX_PARTS

/** What is written, and how it is described. */
export interface Upload {
  readonly key: string
  readonly body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>
  readonly maxBytes: number
  readonly headers: { readonly ContentType: string; readonly ContentDisposition: string }
  readonly signal: AbortSignal | undefined
}

/**
 * Writes an object in parts, one after the other, or at once where it is smaller than one. It appears with the last request,
 * and only where there is none of its key.
 * @returns its size, or `exists`
 * @throws what the body throws, `BodyTooLarge`, the signal's reason, `backend_failed`; the parts are removed then.
 */
export async function upload(
  commands: S3Commands,
  { key, body, maxBytes, headers, signal }: Upload,
): Promise<number | 'exists'> {
  const { library, steady, once, address } = commands
  const at = commands.at(key)
  const parts: CompletedPart[] = []
  let size = 0
  let uploadId: string | undefined
  try {
    for await (const block of inBlocks(body, { blockBytes: PART_BYTES, maxBytes, signal })) {
      size += block.length
      if (uploadId === undefined && block.length < PART_BYTES) return await putWhole(block)
      uploadId ??= await begin()
      const part = { ...at, UploadId: uploadId, PartNumber: parts.length + 1, Body: block }
      const { ETag } = await commands.run(
        'the write of a part',
        timeoutOf(block),
        (options) => steady.send(new library.UploadPartCommand(part), options),
        signal,
      )
      parts.push({ ETag, PartNumber: part.PartNumber })
    }
    if (uploadId === undefined) return await putWhole(Buffer.alloc(0))
    const outcome = await ifNew(() =>
      commands.run(
        'the end of a write',
        address.transferTimeoutMs,
        (options) =>
          once.send(
            new library.CompleteMultipartUploadCommand({
              ...at,
              UploadId: uploadId,
              MultipartUpload: { Parts: parts },
              IfNoneMatch: '*',
            }),
            options,
          ),
        signal,
      ),
    )
    if (outcome === 'exists') await abort()
    return outcome
  } catch (error) {
    // The reason of the failure is what counts; what can't be removed now is cleared away later.
    await abort().catch(() => undefined)
    throw error
  }

  /** The answer has its time, and the bytes have that of a part, as far as they make one. */
  function timeoutOf(block: Buffer): number {
    return Math.ceil(address.commandTimeoutMs + address.transferTimeoutMs * (block.length / PART_BYTES))
  }
  async function begin(): Promise<string> {
    const { UploadId } = await commands.run(
      'the begin of a write',
      address.commandTimeoutMs,
      (options) => once.send(new library.CreateMultipartUploadCommand({ ...at, ...headers }), options),
      signal,
    )
    if (UploadId === undefined) throw new HoldfastError('backend_failed', 'S3 began a write without naming it.')
    return UploadId
  }
  function putWhole(block: Buffer): Promise<number | 'exists'> {
    const command = new library.PutObjectCommand({ ...at, ...headers, Body: block, IfNoneMatch: '*' })
    return ifNew(() => commands.run('a write', timeoutOf(block), (options) => once.send(command, options), signal))
  }
  async function abort(): Promise<void> {
    if (uploadId === undefined) return
    const command = new library.AbortMultipartUploadCommand({ ...at, UploadId: uploadId })
    await commands.run('the removal of an unfinished write', address.commandTimeoutMs, (options) =>
      steady.send(command, options),
    )
  }
  async function ifNew(write: () => Promise<unknown>): Promise<number | 'exists'> {
    try {
      await write()
      return size
    } catch (error) {
      if (statusOf(error) === 412) return 'exists'
      // Of two that write at once AWS may refuse both: there is none then.
      if (statusOf(error) === 409 && (await isThere())) return 'exists'
      throw error
    }
  }
  async function isThere(): Promise<boolean> {
    try {
      const command = new library.HeadObjectCommand(at)
      await commands.run('a read', address.commandTimeoutMs, (options) => steady.send(command, options))
      return true
    } catch (error) {
      if (statusOf(error) === 404) return false
      throw error
    }
  }
}

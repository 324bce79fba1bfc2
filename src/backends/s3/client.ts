import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { Reach } from '../broker/reach.ts'
import type { S3Address } from './url.ts'

/** The part of the client libraries that is used. */
export type S3Library = typeof import('@aws-sdk/client-s3') &
  Pick<typeof import('@aws-sdk/s3-request-presigner'), 'getSignedUrl'>

/** Tries of what may be tried again unseen: reads, deletions, single parts. The waits between them add up to a second, more or less. */
const MAX_ATTEMPTS = 6

/** Sends commands to S3, each within its time, and translates what it answers. */
export class S3Commands {
  readonly library: S3Library
  readonly address: S3Address
  /** For what may be tried again unseen. */
  readonly steady: S3Client
  /** For what decides: a second try of a write that was carried out would be told that the object exists. */
  readonly once: S3Client
  /** Signs URLs, and sends nothing. */
  readonly signer: S3Client
  readonly #reach: Reach

  constructor(library: S3Library, address: S3Address) {
    this.library = library
    this.address = address
    const { region, endpoint, publicEndpoint = endpoint, isPathStyle, connectTimeoutMs } = address
    const client = (config: S3ClientConfig, where: string | undefined): S3Client =>
      new library.S3Client({
        ...(region === undefined ? {} : { region }),
        ...(where === undefined ? {} : { endpoint: where }),
        forcePathStyle: isPathStyle,
        // What other servers than AWS' do not all know.
        requestChecksumCalculation: 'WHEN_REQUIRED',
        responseChecksumValidation: 'WHEN_REQUIRED',
        requestHandler: { connectionTimeout: connectTimeoutMs },
        ...config,
      })
    this.steady = client({ maxAttempts: MAX_ATTEMPTS }, endpoint)
    this.once = client({ maxAttempts: 1 }, endpoint)
    this.signer = client({}, publicEndpoint)
    this.#reach = new Reach({ server: `S3 (${address.bucket})`, saysOf })
  }

  /** Where the object of a key lies. */
  at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.address.bucket, Key: this.address.prefix + key }
  }

  /**
   * Runs a command within its time. The time ends with its answer: a body that comes after it has a time of its own.
   * @throws {HoldfastError} `backend_failed` with what the server said; the signal's reason.
   */
  async run<T>(
    operation: string,
    timeoutMs: number,
    send: (options: { abortSignal: AbortSignal }) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    signal?.throwIfAborted()
    const controller = new AbortController()
    const timer = setTimeout(() => controller.abort(new Error(`No answer within ${timeoutMs} ms.`)), timeoutMs)
    const onAbort = (): void => controller.abort(signal!.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      return await this.#reach.use(() =>
        send({ abortSignal: controller.signal }).catch((cause: unknown) => {
          if (signal?.aborted === true) throw new CallerGone()
          throw controller.signal.aborted ? controller.signal.reason : cause
        }),
      )
    } catch (cause) {
      signal?.throwIfAborted()
      throw this.toError(operation, cause)
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** The error that the store throws: ours, with the library's as its cause. */
  toError(operation: string, cause: unknown): HoldfastError {
    if (cause instanceof HoldfastError) return cause
    const remedy = REMEDIES[(cause as { name?: string }).name ?? '']
    return new HoldfastError(
      'backend_failed',
      `S3 (${this.address.bucket}) did not carry out ${operation}.${remedy === undefined ? '' : ` ${remedy}`}`,
      { cause },
    )
  }

  destroy(): void {
    for (const client of [this.steady, this.once, this.signer]) client.destroy()
  }
}

/** Whoever wanted it does not any more. */
class CallerGone extends Error {}

/** What has a status came from a server; what has none, and is no mistake of ours, from a connection. */
function saysOf(error: unknown): 'away' | 'there' | 'nothing' {
  if (statusOf(error) !== undefined) return 'there'
  return error instanceof CallerGone || nameOf(error) === 'CredentialsProviderError' ? 'nothing' : 'away'
}

const REMEDIES: Readonly<Record<string, string>> = {
  NoSuchBucket: 'The bucket does not exist: create it.',
  AccessDenied:
    'The credentials lack a right: they need s3:GetObject, PutObject, DeleteObject, AbortMultipartUpload, ListBucket and ListBucketMultipartUploads.',
  InvalidAccessKeyId: 'The server does not know the access key (AWS_ACCESS_KEY_ID).',
  SignatureDoesNotMatch: 'The secret is wrong (AWS_SECRET_ACCESS_KEY), or the region.',
  CredentialsProviderError: 'There are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role.',
  PermanentRedirect: 'The bucket lies in another region: name it in the URL.',
  AuthorizationHeaderMalformed: 'The bucket lies in another region: name it in the URL.',
  RequestTimeTooSkewed: "This machine's clock differs from the server's by more than it allows.",
  NotImplemented: 'The server does not know a header that is needed (If-None-Match).',
  SlowDown: 'The server asks for fewer requests.',
}

/** HTTP status of an answer that was an error; `undefined` for what came from the connection. */
export function statusOf(error: unknown): number | undefined {
  const cause = error instanceof HoldfastError ? error.cause : error
  return (cause as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode
}

/** The server's name of an error. */
export const nameOf = (error: unknown): string | undefined =>
  ((error instanceof HoldfastError ? error.cause : error) as { name?: string } | undefined)?.name

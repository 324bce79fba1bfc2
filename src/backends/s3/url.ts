import { refusing, UrlOptions } from '../url/url.ts'

/** Where objects lie, as their URL says. Credentials come from where AWS' SDK looks for them. */
export interface S3Address {
  readonly bucket: string
  /** Begins the keys of all objects: empty, or ends with a slash. */
  readonly prefix: string
  /** `undefined`: what the environment says (`AWS_REGION`). */
  readonly region: string | undefined
  /** Of a server that is not AWS'. */
  readonly endpoint: string | undefined
  /** The same server as clients reach it: what signed URLs begin with. */
  readonly publicEndpoint: string | undefined
  /** The bucket is part of the path, not of the host. */
  readonly isPathStyle: boolean
  readonly connectTimeoutMs: number
  /** Of what carries no object. */
  readonly commandTimeoutMs: number
  /** Of one part of an object on its way there, and between two pieces on the way back. */
  readonly transferTimeoutMs: number
  readonly shown: string
}

/** Whether a URL asks for this store. */
export const isS3Url = (url: string): boolean => url.startsWith('s3://')

const OPTIONS = [
  'region',
  'endpoint',
  'publicEndpoint',
  'pathStyle',
  'connectTimeoutMs',
  'commandTimeoutMs',
  'transferTimeoutMs',
]

/**
 * Reads `s3://bucket[/prefix][?region=…&endpoint=…&…]`.
 * @throws {HoldfastError} `invalid_option` that says what is wrong.
 */
export function parseS3Url(url: string): S3Address {
  const fail = refusing('The artifacts URL', url)
  const parts = /^s3:\/\/([^/?#@]+)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(url)
  if (parts === null)
    return fail('is malformed. Write s3://bucket/prefix?region=eu-central-1; credentials belong into the environment.')
  const [, bucket = '', path = '', query = ''] = parts
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket))
    fail(`names the bucket ${JSON.stringify(bucket)}; it must be 3 to 63 lower-case letters, digits, "." and "-".`)
  const prefix = path.replace(/\/$/, '')
  if (prefix !== '' && !/^[\w.-]+(?:\/[\w.-]+)*$/.test(prefix))
    fail(`has the prefix ${JSON.stringify(path)}; it must be of letters, digits, "_", "-", "." and single slashes.`)
  const options = new UrlOptions(query, OPTIONS, fail)
  const endpoint = options.http('endpoint')
  const pathStyle = options.word('pathStyle', ['true', 'false'])
  return {
    bucket,
    prefix: prefix === '' ? '' : `${prefix}/`,
    region: options.text('region'),
    endpoint,
    publicEndpoint: options.http('publicEndpoint'),
    isPathStyle: pathStyle === undefined ? endpoint !== undefined : pathStyle === 'true',
    connectTimeoutMs: options.number('connectTimeoutMs', 10, 60_000) ?? 2000,
    commandTimeoutMs: options.number('commandTimeoutMs', 10, 60_000) ?? 5000,
    transferTimeoutMs: options.number('transferTimeoutMs', 10, 600_000) ?? 60_000,
    shown: url,
  }
}

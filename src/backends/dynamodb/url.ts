import { refusing, UrlOptions } from '../url/url.ts'

/** Where the table is, as its URL says. Credentials come from where AWS' SDK looks for them. */
export interface DynamodbAddress {
  readonly table: string
  /** `undefined`: what the environment says (`AWS_REGION`). */
  readonly region: string | undefined
  /** Of a server that is not AWS'. */
  readonly endpoint: string | undefined
  readonly connectTimeoutMs: number
  readonly commandTimeoutMs: number
  readonly shown: string
}

/** Whether a URL asks for this store. */
export const isDynamodbUrl = (url: string): boolean => url.startsWith('dynamodb://')

const OPTIONS = ['region', 'endpoint', 'connectTimeoutMs', 'commandTimeoutMs']

/**
 * Reads `dynamodb://[table][?region=…&endpoint=…&…]`.
 * @throws {HoldfastError} `invalid_option` that says what is wrong.
 */
export function parseDynamodbUrl(url: string): DynamodbAddress {
  const fail = refusing('The tasks URL', url)
  const parts = /^dynamodb:\/\/([^/?#@]*)\/?(?:\?([^#]*))?$/.exec(url)
  if (parts === null)
    return fail('is malformed. Write dynamodb://table?region=eu-central-1; credentials belong into the environment.')
  const options = new UrlOptions(parts[2] ?? '', OPTIONS, fail)
  const table = parts[1] === '' ? 'holdfast-tasks' : parts[1]!
  if (!/^[A-Za-z0-9_.-]{3,255}$/.test(table))
    fail(`names the table ${JSON.stringify(table)}; it must be 3 to 255 letters, digits, "_", "." and "-".`)
  return {
    table,
    region: options.text('region'),
    endpoint: options.http('endpoint'),
    connectTimeoutMs: options.number('connectTimeoutMs', 10, 60_000) ?? 2000,
    commandTimeoutMs: options.number('commandTimeoutMs', 10, 60_000) ?? 5000,
    shown: url,
  }
}

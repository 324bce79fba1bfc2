import { HoldfastError } from '../../errors/holdfast-error.ts'
import { decode, readHosts, refusing, UrlOptions, withoutPassword, type Refuse, type UrlHost } from '../url/url.ts'

/** The parts of a queue's URL, decoded. */
export interface QueueUrl {
  readonly scheme: string
  readonly username: string | undefined
  readonly password: string | undefined
  readonly hosts: readonly UrlHost[]
  /** What stands behind the first slash; `undefined` without one. */
  readonly path: string | undefined
  /** The same, split at its slashes; empty without one. */
  readonly segments: readonly string[]
  readonly options: UrlOptions
  /** The URL without its password, for messages. */
  readonly shown: string
  readonly fail: Refuse
}

/** How URLs of a broker look. */
export interface QueueUrlForm {
  readonly schemes: readonly string[]
  /** An example, for who wrote it wrongly. */
  readonly example: string
  readonly defaultPort: (scheme: string) => number
  readonly optionNames: readonly string[]
}

const PARTS = /^([a-z]+):\/\/(?:([^@/?#]*)@)?([^@/?#]*)(?:\/([^@?#]*))?(?:\?([^#]*))?$/

/**
 * Reads a queue's URL: `scheme://[user:password@]host[:port],…[/path][?options]`. User, password, path and options are
 * percent-encoded; a host of IPv6 stands in brackets.
 * @throws {HoldfastError} `invalid_option` that says what is wrong; the password is left out of the message.
 */
export function readQueueUrl(url: string, form: QueueUrlForm): QueueUrl {
  const shown = withoutPassword(url)
  const fail = refusing('The queue URL', shown)
  const parts = PARTS.exec(url)
  if (parts === null || !form.schemes.includes(parts[1]!))
    return fail(`is malformed. Write ${form.example}; in user and password, percent-encode what is no letter or digit.`)
  const [, scheme, credentials, authority = '', path, query = ''] = parts
  const hosts = readHosts(authority, form.defaultPort(scheme!), fail)
  let username: string | undefined
  let password: string | undefined
  if (credentials !== undefined) {
    const colon = credentials.indexOf(':')
    if (colon < 1 || colon === credentials.length - 1)
      fail('has a user and no password, or a password and no user. Write user:password@.')
    username = decode(credentials.slice(0, colon), 'user', fail)
    password = decode(credentials.slice(colon + 1), 'password', fail)
  }
  return {
    scheme: scheme!,
    username,
    password,
    hosts,
    path: path === undefined ? undefined : decode(path, 'path', fail),
    segments: path === undefined || path === '' ? [] : path.split('/').map((segment) => decode(segment, 'path', fail)),
    options: new UrlOptions(query, form.optionNames, fail),
    shown,
    fail,
  }
}

/** The settings that all brokers have. */
export interface CommonOptions {
  /** For a connection to stand. */
  readonly connectTimeoutMs: number
  /** For an answer. */
  readonly commandTimeoutMs: number
  /** So often a message comes, before it becomes a dead letter. */
  readonly maxDeliveries: number
}

/** What TLS takes: files with the authorities to trust, and with a certificate of this client's own and its key, in PEM. */
export const TLS_OPTIONS = ['ca', 'cert', 'key'] as const

/** Reads {@link CommonOptions}. */
export function commonOptions(options: UrlOptions): CommonOptions {
  return {
    connectTimeoutMs: options.number('connectTimeoutMs', 10, 60_000) ?? 5000,
    commandTimeoutMs: options.number('commandTimeoutMs', 10, 60_000) ?? 5000,
    maxDeliveries: options.number('maxDeliveries', 1, 1000) ?? 10,
  }
}

/** Settings of TLS; `undefined` where the scheme is not one with TLS. */
export function tlsOptions(
  { options, fail }: QueueUrl,
  isTls: boolean,
): { ca?: Buffer; cert?: Buffer; key?: Buffer } | undefined {
  for (const name of TLS_OPTIONS)
    if (!isTls && options.text(name) !== undefined) fail(`has the option ${name}, which is for TLS.`)
  if (!isTls) return undefined
  const [ca, cert, key] = TLS_OPTIONS.map((name) => options.file(name))
  if ((cert === undefined) !== (key === undefined))
    fail('has only one of the options cert and key: a client certificate needs both.')
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) }
}

/** Starts the names of queues and topics, where several deployments share a broker. */
export function prefixOf(text: string | undefined, fail: Refuse): string {
  const prefix = text ?? 'holdfast'
  if (!/^[A-Za-z0-9-]{1,32}$/.test(prefix))
    fail(`has the prefix ${JSON.stringify(prefix)}; it must be 1 to 32 letters, digits and "-".`)
  return prefix
}

/**
 * Loads a client library.
 * @throws {HoldfastError} `invalid_option` that names the package, where it is not installed.
 */
export async function loadClient<Library>(
  load: () => Promise<Library>,
  packageName: string,
  shown: string,
): Promise<Library> {
  try {
    return await load()
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    const [, bare] = /^(@?[^@]+)/.exec(packageName)!
    throw new HoldfastError(
      'invalid_option',
      `The URL ${shown} needs the package ${bare}, which is not installed: npm install ${packageName}`,
      { cause },
    )
  }
}

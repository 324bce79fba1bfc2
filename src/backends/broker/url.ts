import { readFileSync } from 'node:fs'
import { HoldfastError } from '../../errors/holdfast-error.ts'

/** The parts of a queue's URL, decoded. */
export interface QueueUrl {
  readonly scheme: string
  readonly username: string | undefined
  readonly password: string | undefined
  readonly hosts: readonly { readonly host: string; readonly port: number }[]
  /** What stands behind the first slash; `undefined` without one. */
  readonly path: string | undefined
  /** The same, split at its slashes; empty without one. */
  readonly segments: readonly string[]
  readonly options: QueueOptions
  /** The URL without its password, for messages. */
  readonly shown: string
  fail(problem: string): never
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
const HOST = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/

/**
 * Reads a queue's URL: `scheme://[user:password@]host[:port],…[/path][?options]`. User, password, path and options are
 * percent-encoded; a host of IPv6 stands in brackets.
 * @throws {HoldfastError} `invalid_option` that says what is wrong; the password is left out of the message.
 */
export function readQueueUrl(url: string, form: QueueUrlForm): QueueUrl {
  const shown = withoutSecrets(url)
  const fail = (problem: string): never => {
    throw new HoldfastError('invalid_option', `The queue URL ${shown} ${problem}`)
  }
  const parts = PARTS.exec(url)
  if (parts === null || !form.schemes.includes(parts[1]!))
    return fail(`is malformed. Write ${form.example}; in user and password, percent-encode what is no letter or digit.`)
  const [, scheme, credentials, authority = '', path, query = ''] = parts
  const decode = (text: string, what: string): string => {
    try {
      return decodeURIComponent(text)
    } catch {
      return fail(`has a ${what} that is not percent-encoded as it should be: a "%" is written %25.`)
    }
  }
  const hosts = authority.split(',').map((text) => {
    const match = HOST.exec(text)
    const port = Number(match?.[3] ?? form.defaultPort(scheme!))
    if (match === null || port < 1 || port > 65_535)
      return fail(`names the host ${JSON.stringify(text)}; a host is a name or an address, and a port from 1 to 65535.`)
    return { host: match[1] ?? match[2]!, port }
  })
  let username: string | undefined
  let password: string | undefined
  if (credentials !== undefined) {
    const colon = credentials.indexOf(':')
    if (colon < 1 || colon === credentials.length - 1)
      fail('has a user and no password, or a password and no user. Write user:password@.')
    username = decode(credentials.slice(0, colon), 'user')
    password = decode(credentials.slice(colon + 1), 'password')
  }
  return {
    scheme: scheme!,
    username,
    password,
    hosts,
    path: path === undefined ? undefined : decode(path, 'path'),
    segments: path === undefined || path === '' ? [] : path.split('/').map((segment) => decode(segment, 'path')),
    options: new QueueOptions(query, form.optionNames, fail, decode),
    shown,
    fail,
  }
}

/** What stands behind the `?` of a queue's URL. */
export class QueueOptions {
  readonly #given = new Map<string, string>()
  readonly #fail: (problem: string) => never

  constructor(
    query: string,
    names: readonly string[],
    fail: (problem: string) => never,
    decode: (text: string, what: string) => string,
  ) {
    this.#fail = fail
    for (const pair of query.split('&').filter((text) => text !== '')) {
      const [name = '', value = ''] = pair.split(/=(.*)/s)
      if (!names.includes(name)) fail(`has the option ${JSON.stringify(name)}; there are ${names.join(', ')}.`)
      if (this.#given.has(name)) fail(`has the option ${name} twice.`)
      const text = decode(value, `value of ${name}`)
      if (text === '') fail(`has the option ${name} without a value.`)
      this.#given.set(name, text)
    }
  }

  text(name: string): string | undefined {
    return this.#given.get(name)
  }

  /** One of some words. */
  word<Word extends string>(name: string, words: readonly Word[]): Word | undefined {
    const text = this.#given.get(name)
    if (text !== undefined && !words.includes(text as Word))
      this.#fail(`has ${name}=${text}; it must be one of ${words.join(', ')}.`)
    return text as Word | undefined
  }

  /** A whole number. */
  number(name: string, min: number, max: number): number | undefined {
    const text = this.#given.get(name)
    if (text === undefined) return undefined
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < min || value > max)
      this.#fail(`has ${name}=${text}; it must be a whole number from ${min} to ${max}.`)
    return value
  }

  /** The contents of a file. */
  file(name: string): Buffer | undefined {
    const path = this.#given.get(name)
    if (path === undefined) return undefined
    try {
      return readFileSync(path)
    } catch (cause) {
      return this.#fail(
        `names the file ${JSON.stringify(path)} as ${name}, which can't be read (${(cause as NodeJS.ErrnoException).code}).`,
      )
    }
  }
}

/** The same URL with some options set. */
export function withOptions(url: string, options: Readonly<Record<string, string | number>>): string {
  const [before = '', query = ''] = url.split(/\?(.*)/s)
  const others = query.split('&').filter((pair) => pair !== '' && !Object.hasOwn(options, pair.split('=', 1)[0]!))
  const set = Object.entries(options).map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
  return `${before}?${[...others, ...set].join('&')}`
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
export function commonOptions(options: QueueOptions): CommonOptions {
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
export function prefixOf(text: string | undefined, fail: (problem: string) => never): string {
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

/** Whatever stands before the last `@` may be a password, so a malformed URL shows none either. */
function withoutSecrets(url: string): string {
  return url.replace(/^([a-z]+:\/\/)(.*)@/s, (_, scheme: string, credentials: string) => {
    const user = /^[^:@/?#]*(?=:)/.exec(credentials)?.[0] ?? ''
    return `${scheme}${user}:***@`
  })
}

import { HoldfastError } from '../../errors/holdfast-error.ts'

/** A Redis deployment, as its URL names it. */
export interface RedisAddress {
  readonly topology: 'standalone' | 'sentinel' | 'cluster'
  /** Of the server, of the Sentinels, or of some nodes of the cluster. */
  readonly hosts: readonly { readonly host: string; readonly port: number }[]
  readonly username: string | undefined
  readonly password: string | undefined
  /** What Sentinel calls the master; empty for the other topologies. */
  readonly masterName: string
  readonly db: number
  readonly isTls: boolean
  readonly options: RedisUrlOptions
  /** The URL without its secrets, for messages. */
  readonly shown: string
}

/** What may stand behind the `?` of a Redis URL. */
export interface RedisUrlOptions {
  /** Begins every key and channel. */
  readonly prefix: string
  readonly connectTimeoutMs: number
  readonly commandTimeoutMs: number
  /** File with the certificates of the authorities to trust, in PEM. */
  readonly ca: string | undefined
  /** Files with this client's own certificate and key, in PEM. */
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly sentinelUsername: string | undefined
  readonly sentinelPassword: string | undefined
}

const SCHEME = /^rediss?(\+sentinel|\+cluster)?:\/\//
const PARTS = /^(redis|rediss)(\+sentinel|\+cluster)?:\/\/(?:([^@/?#]*)@)?([^@/?#]*)(?:\/([^@?#]*))?(?:\?([^#]*))?$/
const HOST = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/

const OPTION_NAMES = [
  'prefix',
  'connectTimeoutMs',
  'commandTimeoutMs',
  'ca',
  'cert',
  'key',
  'sentinelUsername',
  'sentinelPassword',
] as const
type OptionName = (typeof OPTION_NAMES)[number]

/** Whether a URL asks for this backend. */
export const isRedisUrl = (url: string): boolean => SCHEME.test(url)

/**
 * Reads a Redis URL:
 *
 *     redis://[user:password@]host[:port][/db][?options]
 *     redis+sentinel://[user:password@]host[:port],…/name[/db][?options]
 *     redis+cluster://[user:password@]host[:port],…[?options]
 *
 * and the same with `rediss`, over TLS. User, password and options are percent-encoded; a host of IPv6 stands in brackets.
 *
 * @throws {HoldfastError} `invalid_option` that says what is wrong; secrets are left out of the message.
 */
export function parseRedisUrl(url: string): RedisAddress {
  const shown = withoutSecrets(url)
  const fail = (problem: string): never => {
    throw new HoldfastError('invalid_option', `The state URL ${shown} ${problem}`)
  }
  const parts = PARTS.exec(url)
  if (parts === null)
    return fail(
      'is malformed. Write redis://user:password@host:port/db, redis+sentinel://host,host/name or redis+cluster://host,host; in user and password, percent-encode what is no letter or digit.',
    )
  const [, scheme, kind, credentials, authority = '', path = '', query = ''] = parts
  const topology = kind === '+sentinel' ? 'sentinel' : kind === '+cluster' ? 'cluster' : 'standalone'
  const decode = (text: string, what: string): string => {
    try {
      return decodeURIComponent(text)
    } catch {
      return fail(`has a ${what} that is not percent-encoded as it should be: a "%" is written %25.`)
    }
  }

  const defaultPort = topology === 'sentinel' ? 26_379 : 6379
  const hosts = authority.split(',').map((text) => {
    const match = HOST.exec(text)
    const port = Number(match?.[3] ?? defaultPort)
    if (match === null || port < 1 || port > 65_535)
      return fail(`names the host ${JSON.stringify(text)}; a host is a name or an address, and a port from 1 to 65535.`)
    return { host: match[1] ?? match[2]!, port }
  })
  if (topology === 'standalone' && hosts.length > 1)
    fail('names several hosts: that takes redis+sentinel:// or redis+cluster://.')

  let username: string | undefined
  let password: string | undefined
  if (credentials !== undefined) {
    const colon = credentials.indexOf(':')
    if (colon === -1 || colon === credentials.length - 1)
      fail('has a user and no password. Write user:password@, or :password@ for the default user.')
    username = colon === 0 ? undefined : decode(credentials.slice(0, colon), 'user')
    password = decode(credentials.slice(colon + 1), 'password')
  }

  const segments = path === '' ? [] : path.replace(/\/$/, '').split('/')
  const masterName = topology === 'sentinel' ? decode(segments.shift() ?? '', 'name') : ''
  if (topology === 'sentinel' && masterName === '')
    fail('does not say which master to ask the Sentinels for. Write redis+sentinel://host,host/name.')
  const [db = '0'] = segments
  if (segments.length > 1 || !/^\d{1,5}$/.test(db))
    fail(`has the path ${JSON.stringify(`/${path}`)}; the database is a whole number.`)
  if (topology === 'cluster' && Number(db) !== 0) fail('names a database; a cluster has number 0 alone.')

  const options = readOptions(query, fail, decode)
  const isTls = scheme === 'rediss'
  for (const name of ['ca', 'cert', 'key'] as const)
    if (options[name] !== undefined && !isTls) fail(`has the option ${name}, which is for TLS: write rediss.`)
  if ((options.cert === undefined) !== (options.key === undefined))
    fail('has only one of the options cert and key: a client certificate needs both.')
  for (const name of ['sentinelUsername', 'sentinelPassword'] as const)
    if (options[name] !== undefined && topology !== 'sentinel')
      fail(`has the option ${name}, which is for redis+sentinel://.`)
  return { topology, hosts, username, password, masterName, db: Number(db), isTls, options, shown }
}

function readOptions(
  query: string,
  fail: (problem: string) => never,
  decode: (text: string, what: string) => string,
): RedisUrlOptions {
  const given: Partial<Record<OptionName, string>> = {}
  for (const pair of query.split('&').filter((text) => text !== '')) {
    const [name = '', value = ''] = pair.split(/=(.*)/s)
    if (!OPTION_NAMES.includes(name as OptionName))
      fail(`has the option ${JSON.stringify(name)}; there are ${OPTION_NAMES.join(', ')}.`)
    if (given[name as OptionName] !== undefined) fail(`has the option ${name} twice.`)
    const text = decode(value, `value of ${name}`)
    if (text === '') fail(`has the option ${name} without a value.`)
    given[name as OptionName] = text
  }
  const ms = (name: 'connectTimeoutMs' | 'commandTimeoutMs', fallback: number): number => {
    const text = given[name]
    if (text === undefined) return fallback
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < 10 || value > 60_000)
      fail(`has ${name}=${text}; it must be a whole number of milliseconds from 10 to 60000.`)
    return value
  }
  const prefix = given.prefix ?? 'holdfast:'
  // Braces would decide the slot of every key in a cluster; the rest keeps keys readable.
  if (!/^[\w.:-]{1,64}$/.test(prefix))
    fail(`has prefix=${prefix}; it must be 1 to 64 of letters, digits, "_", ".", ":", "-".`)
  return {
    prefix,
    connectTimeoutMs: ms('connectTimeoutMs', 2000),
    commandTimeoutMs: ms('commandTimeoutMs', 1000),
    ca: given.ca,
    cert: given.cert,
    key: given.key,
    sentinelUsername: given.sentinelUsername,
    sentinelPassword: given.sentinelPassword,
  }
}

/** The same URL with another prefix. */
export function withPrefix(url: string, prefix: string): string {
  const [address = '', query = ''] = url.split('?')
  const others = query.split('&').filter((pair) => pair !== '' && !pair.startsWith('prefix='))
  return `${address}?${[...others, `prefix=${prefix}`].join('&')}`
}

/** A URL with its passwords starred out. Whatever stands before the last `@` may be one, so a malformed URL shows none either. */
function withoutSecrets(url: string): string {
  return url
    .replace(/^([a-z+]+:\/\/)(.*)@/s, (_, scheme: string, credentials: string) => {
      const user = /^[^:@/?#]*(?=:)/.exec(credentials)?.[0] ?? ''
      return `${scheme}${user}:***@`
    })
    .replaceAll(/([?&]sentinelPassword=)[^&#]*/g, '$1***')
}

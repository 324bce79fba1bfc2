import { decode, readHosts, refusing, UrlOptions, withoutPassword, type Refuse, type UrlHost } from '../url/url.ts'

/** A Redis deployment, as its URL names it. */
export interface RedisAddress {
  readonly topology: 'standalone' | 'sentinel' | 'cluster'
  /** Of the server, of the Sentinels, or of some nodes of the cluster. */
  readonly hosts: readonly UrlHost[]
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

const OPTION_NAMES = [
  'prefix',
  'connectTimeoutMs',
  'commandTimeoutMs',
  'ca',
  'cert',
  'key',
  'sentinelUsername',
  'sentinelPassword',
]

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
  const fail = refusing('The state URL', shown)
  const parts = PARTS.exec(url)
  if (parts === null)
    return fail(
      'is malformed. Write redis://user:password@host:port/db, redis+sentinel://host,host/name or redis+cluster://host,host; in user and password, percent-encode what is no letter or digit.',
    )
  const [, scheme, kind, credentials, authority = '', path = '', query = ''] = parts
  const topology = kind === '+sentinel' ? 'sentinel' : kind === '+cluster' ? 'cluster' : 'standalone'
  const hosts = readHosts(authority, topology === 'sentinel' ? 26_379 : 6379, fail)
  if (topology === 'standalone' && hosts.length > 1)
    fail('names several hosts: that takes redis+sentinel:// or redis+cluster://.')

  let username: string | undefined
  let password: string | undefined
  if (credentials !== undefined) {
    const colon = credentials.indexOf(':')
    if (colon === -1 || colon === credentials.length - 1)
      fail('has a user and no password. Write user:password@, or :password@ for the default user.')
    username = colon === 0 ? undefined : decode(credentials.slice(0, colon), 'user', fail)
    password = decode(credentials.slice(colon + 1), 'password', fail)
  }

  const segments = path === '' ? [] : path.replace(/\/$/, '').split('/')
  const masterName = topology === 'sentinel' ? decode(segments.shift() ?? '', 'name', fail) : ''
  if (topology === 'sentinel' && masterName === '')
    fail('does not say which master to ask the Sentinels for. Write redis+sentinel://host,host/name.')
  const [db = '0'] = segments
  if (segments.length > 1 || !/^\d{1,5}$/.test(db))
    fail(`has the path ${JSON.stringify(`/${path}`)}; the database is a whole number.`)
  if (topology === 'cluster' && Number(db) !== 0) fail('names a database; a cluster has number 0 alone.')

  const options = readOptions(query, fail)
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

function readOptions(query: string, fail: Refuse): RedisUrlOptions {
  const given = new UrlOptions(query, OPTION_NAMES, fail)
  const prefix = given.text('prefix') ?? 'holdfast:'
  // Braces would decide the slot of every key in a cluster; the rest keeps keys readable.
  if (!/^[\w.:-]{1,64}$/.test(prefix))
    fail(`has prefix=${prefix}; it must be 1 to 64 of letters, digits, "_", ".", ":", "-".`)
  return {
    prefix,
    connectTimeoutMs: given.number('connectTimeoutMs', 10, 60_000) ?? 2000,
    commandTimeoutMs: given.number('commandTimeoutMs', 10, 60_000) ?? 1000,
    ca: given.text('ca'),
    cert: given.text('cert'),
    key: given.text('key'),
    sentinelUsername: given.text('sentinelUsername'),
    sentinelPassword: given.text('sentinelPassword'),
  }
}

/** A URL with its passwords starred out. */
const withoutSecrets = (url: string): string =>
  withoutPassword(url).replaceAll(/([?&]sentinelPassword=)[^&#]*/g, '$1***')

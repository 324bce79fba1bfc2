import { HoldfastError } from '../../errors/holdfast-error.ts'

/** A Postgres server, as its URL names it. */
export interface PostgresAddress {
  /** A name, an address, or the folder of a socket. */
  readonly host: string
  readonly port: number
  readonly user: string | undefined
  readonly password: string | undefined
  readonly database: string
  readonly options: PostgresUrlOptions
  /** The URL without its secrets, for messages. */
  readonly shown: string
}

/** How far a connection is encrypted and its server checked, as in libpq; what may fall back to plain text is left out. */
export type SslMode = (typeof SSL_MODES)[number]
const SSL_MODES = ['disable', 'require', 'verify-ca', 'verify-full'] as const

/** What may stand behind the `?` of a Postgres URL. */
export interface PostgresUrlOptions {
  /** Where the tables are. */
  readonly schema: string
  /** Most connections at once. */
  readonly connections: number
  /** For a connection to stand, or to become free. */
  readonly connectTimeoutMs: number
  /** For a statement, on the server; the client waits a little longer. */
  readonly statementTimeoutMs: number
  readonly applicationName: string
  readonly sslMode: SslMode
  /** Files in PEM: authorities to trust, and this client's own certificate and key. */
  readonly sslRootCert: string | undefined
  readonly sslCert: string | undefined
  readonly sslKey: string | undefined
  /** Binds the password exchange to the TLS connection. */
  readonly usesChannelBinding: boolean
}

const SCHEME = /^postgres(ql)?:\/\//
const PARTS = /^postgres(?:ql)?:\/\/(?:([^@/?#]*)@)?([^@/?#]*)(?:\/([^@/?#]*))?(?:\?([^#]*))?$/
const HOST = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+|%2[Ff][^:]*))?(?::(\d{1,5}))?$/
const OPTION_NAMES = [
  'schema',
  'connections',
  'connectTimeoutMs',
  'statementTimeoutMs',
  'application_name',
  'host',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'channel_binding',
] as const
type OptionName = (typeof OPTION_NAMES)[number]

/** Whether a URL asks for this backend. */
export const isPostgresUrl = (url: string): boolean => SCHEME.test(url)

/**
 * Reads a Postgres URL, `postgres://[user[:password]@]host[:port]/database[?options]` (or `postgresql`). User, password and
 * options are percent-encoded; a host of IPv6 stands in brackets; `host=/folder` (or a percent-encoded host) names the folder
 * of a socket.
 *
 * @throws {HoldfastError} `invalid_option` that says what is wrong; secrets are left out of the message.
 */
export function parsePostgresUrl(url: string): PostgresAddress {
  const shown = withoutSecrets(url)
  const fail = (problem: string): never => {
    throw new HoldfastError('invalid_option', `The tasks URL ${shown} ${problem}`)
  }
  const parts = PARTS.exec(url)
  if (parts === null)
    return fail(
      'is malformed. Write postgres://user:password@host:port/database; in user and password, percent-encode what is no letter or digit.',
    )
  const [, credentials, authority = '', path = '', query = ''] = parts
  const decode = (text: string, what: string): string => {
    try {
      return decodeURIComponent(text)
    } catch {
      return fail(`has a ${what} that is not percent-encoded as it should be: a "%" is written %25.`)
    }
  }
  const { socket, ...options } = readOptions(query, fail, decode)
  const match = HOST.exec(authority)
  const port = Number(match?.[3] ?? 5432)
  if (match === null || port < 1 || port > 65_535)
    return fail(`names the host ${JSON.stringify(authority)}; that is one name or address, and a port from 1 to 65535.`)
  const host = match[1] ?? decode(match[2] ?? '', 'host')
  if (socket !== undefined && host !== '' && host !== 'localhost')
    fail('names a host before the path, and another as an option.')
  const colon = credentials?.indexOf(':') ?? -1
  const user = colon === -1 ? credentials : credentials!.slice(0, colon)
  const database = decode(path, 'database')
  if (database === '') fail('names no database. Write postgres://user:password@host:port/database.')
  return {
    host: socket ?? (host === '' ? 'localhost' : host),
    port,
    user: user === undefined || user === '' ? undefined : decode(user, 'user'),
    password: colon === -1 ? undefined : decode(credentials!.slice(colon + 1), 'password'),
    database,
    options,
    shown,
  }
}

/** The same URL with another schema. */
export function withSchema(url: string, schema: string): string {
  const [before = '', query = ''] = url.split(/\?(.*)/s)
  const others = query.split('&').filter((pair) => pair !== '' && !pair.startsWith('schema='))
  return `${before}?${[...others, `schema=${schema}`].join('&')}`
}

function readOptions(
  query: string,
  fail: (problem: string) => never,
  decode: (text: string, what: string) => string,
): PostgresUrlOptions & { socket: string | undefined } {
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
  const whole = (name: OptionName, fallback: number, min: number, max: number): number => {
    const text = given[name]
    if (text === undefined) return fallback
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < min || value > max)
      fail(`has ${name}=${text}; it must be a whole number from ${min} to ${max}.`)
    return value
  }
  const oneOf = <Value extends string>(name: OptionName, values: readonly Value[]): Value | undefined => {
    const text = given[name]
    if (text !== undefined && !values.includes(text as Value))
      fail(`has ${name}=${text}; it must be one of ${values.join(', ')}.`)
    return text as Value | undefined
  }
  const schema = given.schema ?? 'holdfast'
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema) || schema.startsWith('pg_'))
    fail(`has schema=${schema}; it must be up to 63 of a-z, 0-9 and "_", and not begin with a digit or "pg_".`)
  const isTls = given.sslmode !== undefined && given.sslmode !== 'disable'
  for (const name of ['sslrootcert', 'sslcert', 'sslkey'] as const)
    if (given[name] !== undefined && !isTls)
      fail(`has the option ${name}, which is for TLS: write sslmode=verify-full too.`)
  if ((given.sslcert === undefined) !== (given.sslkey === undefined))
    fail('has only one of the options sslcert and sslkey: a client certificate needs both.')
  return {
    schema,
    connections: whole('connections', 10, 1, 1000),
    connectTimeoutMs: whole('connectTimeoutMs', 5000, 10, 60_000),
    statementTimeoutMs: whole('statementTimeoutMs', 5000, 10, 600_000),
    applicationName: given.application_name ?? 'holdfast',
    sslMode: oneOf('sslmode', SSL_MODES) ?? 'disable',
    sslRootCert: given.sslrootcert,
    sslCert: given.sslcert,
    sslKey: given.sslkey,
    usesChannelBinding: oneOf('channel_binding', ['disable', 'require'] as const) === 'require',
    socket: given.host,
  }
}

/** A URL with its password starred out. Whatever stands before the last `@` may be one, so a malformed URL shows none either. */
function withoutSecrets(url: string): string {
  return url.replace(/^([a-z]+:\/\/)(.*)@/s, (_, scheme: string, credentials: string) => {
    const user = /^[^:@/?#]*/.exec(credentials)?.[0] ?? ''
    return credentials.includes(':') ? `${scheme}${user}:***@` : `${scheme}***@`
  })
}

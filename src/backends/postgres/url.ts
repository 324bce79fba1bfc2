import { decode, refusing, UrlOptions, withOptions, withoutPassword, type Refuse } from '../url/url.ts'

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
]

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
  const shown = withoutPassword(url)
  const fail = refusing('The tasks URL', shown)
  const parts = PARTS.exec(url)
  if (parts === null)
    return fail(
      'is malformed. Write postgres://user:password@host:port/database; in user and password, percent-encode what is no letter or digit.',
    )
  const [, credentials, authority = '', path = '', query = ''] = parts
  const { socket, ...options } = readOptions(query, fail)
  const match = HOST.exec(authority)
  const port = Number(match?.[3] ?? 5432)
  if (match === null || port < 1 || port > 65_535)
    return fail(`names the host ${JSON.stringify(authority)}; that is one name or address, and a port from 1 to 65535.`)
  const host = match[1] ?? decode(match[2] ?? '', 'host', fail)
  if (socket !== undefined && host !== '' && host !== 'localhost')
    fail('names a host before the path, and another as an option.')
  const colon = credentials?.indexOf(':') ?? -1
  const user = colon === -1 ? credentials : credentials!.slice(0, colon)
  const database = decode(path, 'database', fail)
  if (database === '') fail('names no database. Write postgres://user:password@host:port/database.')
  return {
    host: socket ?? (host === '' ? 'localhost' : host),
    port,
    user: user === undefined || user === '' ? undefined : decode(user, 'user', fail),
    password: colon === -1 ? undefined : decode(credentials!.slice(colon + 1), 'password', fail),
    database,
    options,
    shown,
  }
}

/** The same URL with another schema. */
export const withSchema = (url: string, schema: string): string => withOptions(url, { schema })

function readOptions(query: string, fail: Refuse): PostgresUrlOptions & { socket: string | undefined } {
  const given = new UrlOptions(query, OPTION_NAMES, fail)
  const schema = given.text('schema') ?? 'holdfast'
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema) || schema.startsWith('pg_'))
    fail(`has schema=${schema}; it must be up to 63 of a-z, 0-9 and "_", and not begin with a digit or "pg_".`)
  const sslMode = given.word('sslmode', SSL_MODES) ?? 'disable'
  for (const name of ['sslrootcert', 'sslcert', 'sslkey'] as const)
    if (given.text(name) !== undefined && sslMode === 'disable')
      fail(`has the option ${name}, which is for TLS: write sslmode=verify-full too.`)
  if ((given.text('sslcert') === undefined) !== (given.text('sslkey') === undefined))
    fail('has only one of the options sslcert and sslkey: a client certificate needs both.')
  return {
    schema,
    connections: given.number('connections', 1, 1000) ?? 10,
    connectTimeoutMs: given.number('connectTimeoutMs', 10, 60_000) ?? 5000,
    statementTimeoutMs: given.number('statementTimeoutMs', 10, 600_000) ?? 5000,
    applicationName: given.text('application_name') ?? 'holdfast',
    sslMode,
    sslRootCert: given.text('sslrootcert'),
    sslCert: given.text('sslcert'),
    sslKey: given.text('sslkey'),
    usesChannelBinding: given.word('channel_binding', ['disable', 'require']) === 'require',
    socket: given.text('host'),
  }
}

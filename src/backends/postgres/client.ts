import { readFileSync } from 'node:fs'
import type { Client, ClientConfig, Pool } from 'pg'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { PostgresAddress } from './url.ts'

/** Makes connections as a {@link PostgresAddress} says. */
export interface ClientFactory {
  /** Connections for statements that have a time-out. */
  pool(): Pool
  /** One connection without a statement time-out, not yet connected: for migrations. */
  single(): Client
  /** One connection with a statement time-out, not yet connected: for notifications. */
  bell(): Client
}

/** The client gives up after the server has: by then it is known that the statement was not carried out, or the connection is lost. */
const CLIENT_GRACE_MS = 1000
const IDLE_MS = 60_000
const INT8 = 20

/*
 * Statements are few, known, and all made for an index: their plans must not turn with the statistics of a table that was empty
 * a minute ago. So a plan is made once, goes by index from row to row, and is never compiled. (Left to itself, the planner hashed
 * all that was ready in order to claim one: 180 ms at 33 thousand.)
 */
const PLANNER = ['seqscan', 'bitmapscan', 'hashjoin', 'mergejoin']
  .map((node) => `-c enable_${node}=off`)
  .concat('-c plan_cache_mode=force_generic_plan', '-c jit=off')
  .join(' ')

/**
 * Loads the client library.
 * @throws {HoldfastError} `invalid_option` where the package is not installed, or a file of certificates can't be read.
 */
export async function loadClients(address: PostgresAddress): Promise<ClientFactory> {
  let library: Pick<typeof import('pg'), 'Client' | 'Pool' | 'types'>
  try {
    library = (await import('pg')).default
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    throw new HoldfastError(
      'invalid_option',
      `The tasks URL ${address.shown} needs the package pg, which is not installed: npm install pg@8`,
      { cause },
    )
  }
  const { Client, Pool, types } = library
  const { connections, connectTimeoutMs, statementTimeoutMs } = address.options
  const getTypeParser = ((oid: number, format: 'text') =>
    oid === INT8 ? Number : types.getTypeParser(oid, format)) as typeof types.getTypeParser
  const common: ClientConfig = { ...connectionOf(address), types: { getTypeParser } }
  return {
    pool: () =>
      new Pool({
        ...common,
        max: connections,
        connectionTimeoutMillis: connectTimeoutMs,
        idleTimeoutMillis: IDLE_MS,
        statement_timeout: statementTimeoutMs,
        lock_timeout: Math.ceil(statementTimeoutMs / 2),
        idle_in_transaction_session_timeout: statementTimeoutMs,
        query_timeout: statementTimeoutMs + CLIENT_GRACE_MS,
        options: PLANNER,
      }),
    single: () => new Client({ ...common, connectionTimeoutMillis: connectTimeoutMs }),
    bell: () =>
      new Client({
        ...common,
        connectionTimeoutMillis: connectTimeoutMs,
        statement_timeout: statementTimeoutMs,
        query_timeout: statementTimeoutMs + CLIENT_GRACE_MS,
      }),
  }
}

function connectionOf({ host, port, user, password, database, options, shown }: PostgresAddress): ClientConfig {
  const read = (file: string, name: string): string => {
    try {
      return readFileSync(file, 'utf8')
    } catch (cause) {
      throw new HoldfastError(
        'invalid_option',
        `The tasks URL ${shown} names the file ${JSON.stringify(file)} as ${name}, which can't be read (${(cause as NodeJS.ErrnoException).code}).`,
        { cause },
      )
    }
  }
  const { sslMode, sslRootCert, sslCert, sslKey } = options
  // As in libpq: `require` trusts whoever answers, unless an authority is named.
  const isChecked = sslMode !== 'require' || sslRootCert !== undefined
  const checksName = sslMode === 'verify-full'
  return {
    host,
    port,
    database,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    application_name: options.applicationName,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    enableChannelBinding: options.usesChannelBinding,
    ssl:
      sslMode === 'disable'
        ? false
        : {
            rejectUnauthorized: isChecked,
            ...(checksName ? {} : { checkServerIdentity: () => undefined }),
            ...(sslRootCert === undefined ? {} : { ca: read(sslRootCert, 'sslrootcert') }),
            ...(sslCert === undefined ? {} : { cert: read(sslCert, 'sslcert'), key: read(sslKey!, 'sslkey') }),
          },
  }
}

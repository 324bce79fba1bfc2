import { HoldfastError } from '../../errors/holdfast-error.ts'
import { loadClients } from './client.ts'
import { isMistake, toBackendError } from './errors.ts'
import { checkSchema, quote } from './migrate.ts'
import { MIGRATIONS } from './migrations/index.ts'
import { PostgresTaskStore } from './task-store.ts'
import { parsePostgresUrl, withSchema } from './url.ts'

/** How a store is opened. */
export interface OpenOptions {
  /** Opens it whatever the schema is like, in order to migrate. @default false */
  readonly forMigration?: boolean
}

/**
 * Opens the task store that a Postgres URL names, and looks whether its schema is the right one. It creates nothing: that takes
 * `migrate()`, and rights that a running node needs not have.
 *
 * @throws {HoldfastError} `invalid_option` for a malformed URL, a client that is not installed, and what no waiting mends: a wrong
 * password, a database that does not exist; `backend_mismatch` for a schema that is older or newer than this code can work with;
 * `backend_failed` where the server can't be reached.
 */
export async function openPostgres(
  url: string,
  { forMigration = false }: OpenOptions = {},
): Promise<PostgresTaskStore> {
  const address = parsePostgresUrl(url)
  const { schema } = address.options
  const clients = await loadClients(address)
  const pool = clients.pool()
  const store = new PostgresTaskStore(pool, clients.single, schema)
  try {
    const client = await pool.connect()
    try {
      if (!forMigration) await checkSchema(client, schema, MIGRATIONS)
    } finally {
      client.release()
    }
  } catch (error) {
    await store.close()
    if (!isMistake(error)) throw toBackendError('the look at its schema', error)
    const { message } = toBackendError('the look at its schema', error)
    throw new HoldfastError('invalid_option', `The tasks URL ${address.shown} can't be used. ${message}`, {
      cause: error,
    })
  }
  return store
}

/** A schema that is there for a while. */
export interface Throwaway extends AsyncDisposable {
  readonly url: string
  open(): Promise<PostgresTaskStore>
}

/**
 * Makes an empty schema with its tables, for tests and `verify-backend`; disposing of it removes it with all that it holds.
 * @throws {HoldfastError} as {@link openPostgres}.
 */
export async function openThrowaway(url: string, schema: string): Promise<Throwaway> {
  const own = withSchema(url, schema)
  const clients = await loadClients(parsePostgresUrl(own))
  const drop = async (): Promise<void> => {
    const client = clients.single()
    client.on('error', () => undefined) // the statement under way is rejected with it
    try {
      await client.connect()
      await client.query(`drop schema if exists ${quote(schema)} cascade`)
    } catch (error) {
      throw toBackendError('the removal of a schema', error)
    } finally {
      await client.end()
    }
  }
  const store = await openPostgres(own, { forMigration: true })
  try {
    await drop()
    await store.migrate()
  } finally {
    await store.close()
  }
  return { url: own, open: () => openPostgres(own), [Symbol.asyncDispose]: drop }
}

import { Client } from 'pg'
import { openPostgres } from '../../src/backends/postgres/open.ts'
import type { PostgresTaskStore } from '../../src/backends/postgres/task-store.ts'

/** A URL with the schema of one test file. */
export const inSchema = (url: string, schema: string, more = ''): string =>
  `${url}${url.includes('?') ? '&' : '?'}schema=${schema}${more}`

/** Makes an empty schema with its tables; resolves with how to open a store there, and how to remove it. */
export async function postgresSchema(
  url: string,
  schema: string,
): Promise<{ url: string; open(): Promise<PostgresTaskStore>; drop(): Promise<void> }> {
  const own = inSchema(url, schema)
  const drop = async (): Promise<void> => {
    const client = new Client({ connectionString: url })
    await client.connect()
    await client.query(`drop schema if exists "${schema}" cascade`)
    await client.end()
  }
  await drop()
  const store = await openPostgres(own, { forMigration: true })
  await store.migrate()
  await store.close()
  return { url: own, open: () => openPostgres(own), drop }
}

import { createHash } from 'node:crypto'
import type { ClientBase } from 'pg'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { sqlState } from './errors.ts'
import type { Migration } from './migrations/migration.ts'

/** What a migration has done, or would do. */
export interface MigrationReport {
  /** Number of the last migration that the schema had. */
  readonly from: number
  readonly to: number
  /** Names of those that it lacks. */
  readonly pending: readonly string[]
}

/** A name as SQL takes it. */
export const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`

const nameOf = ({ number, name }: Pick<Migration, 'number' | 'name'>): string =>
  `${String(number).padStart(4, '0')}-${name}`
const MISSING = ['42P01', '3F000']

/** A lock that two migrations of one schema share, wherever they run. */
function lockKey(schema: string): string {
  return createHash('sha256').update(`holdfast migrate ${schema}`).digest().readBigInt64BE(0).toString()
}

/**
 * Brings a schema to the last of `migrations`, each in a transaction of its own. A second process waits for the first, and
 * then finds nothing to do.
 *
 * @throws {HoldfastError} `backend_mismatch` where the schema was made by newer code that this one must not work with.
 */
export async function migrate(
  client: ClientBase,
  schema: string,
  migrations: readonly Migration[],
  { check = false }: { check?: boolean } = {},
): Promise<MigrationReport> {
  if (check) return report(await applied(client, schema), migrations, schema)
  await client.query('select pg_advisory_lock($1)', [lockKey(schema)])
  try {
    const before = report(await applied(client, schema), migrations, schema)
    await prepare(client, schema)
    for (const migration of migrations.filter(({ number }) => number > before.from)) {
      await client.query('begin')
      try {
        await client.query(migration.sql(quote(schema)))
        await client.query(
          `insert into ${quote(schema)}.hf_migration (number, name, is_breaking) values ($1, $2, $3)`,
          [migration.number, migration.name, migration.isBreaking],
        )
        await client.query('commit')
      } catch (error) {
        await client.query('rollback')
        throw error
      }
    }
    return { ...before, to: Math.max(before.from, migrations.at(-1)?.number ?? 0) }
  } finally {
    await client.query('select pg_advisory_unlock($1)', [lockKey(schema)])
  }
}

/**
 * Throws unless code that knows `migrations` can work with the schema as it is.
 * @throws {HoldfastError} `backend_mismatch` that says what to run.
 */
export async function checkSchema(client: ClientBase, schema: string, migrations: readonly Migration[]): Promise<void> {
  const { from, pending } = report(await applied(client, schema), migrations, schema)
  if (pending.length === 0) return
  throw new HoldfastError(
    'backend_mismatch',
    `The schema ${schema} of the task store is at version ${from}, and lacks ${pending.join(', ')}: run \`holdfast migrate\`.`,
  )
}

interface Applied {
  number: number
  name: string
  is_breaking: boolean
}

async function applied(client: ClientBase, schema: string): Promise<Applied[]> {
  try {
    const { rows } = await client.query<Applied>(
      `select number, name, is_breaking from ${quote(schema)}.hf_migration order by number`,
    )
    return rows
  } catch (error) {
    if (MISSING.includes(sqlState(error) ?? '')) return []
    throw error
  }
}

function report(rows: readonly Applied[], migrations: readonly Migration[], schema: string): MigrationReport {
  const from = rows.at(-1)?.number ?? 0
  const to = migrations.at(-1)?.number ?? 0
  const newer = rows.find(({ number, is_breaking }) => number > to && is_breaking)
  if (newer !== undefined)
    throw new HoldfastError(
      'backend_mismatch',
      `The schema ${schema} of the task store was changed by a newer version of Holdfast (${nameOf(newer)}), with which this one must not work: use the newer one.`,
    )
  return { from, to: Math.max(from, to), pending: migrations.filter(({ number }) => number > from).map(nameOf) }
}

/** The schema, and the table of what was applied. A schema that exists needs no right to create one. */
async function prepare(client: ClientBase, schema: string): Promise<void> {
  const { rows } = await client.query('select from pg_namespace where nspname = $1', [schema])
  if (rows.length === 0) await client.query(`create schema ${quote(schema)}`)
  await client.query(`create table if not exists ${quote(schema)}.hf_migration (
  number int primary key,
  name text not null,
  is_breaking boolean not null,
  applied_at timestamptz not null default now()
)`)
}

import type { ClientBase } from 'pg'
import { DeskError } from '../desk-error.ts'

/**
 * What brings the tables from each version to the next. Never edited once released; the last one's number is the version.
 *
 * `state` has one row. Every change of the index locks it first, so changes come one after the other, as in SQLite, and whoever
 * sees a revision sees everything that came before it. It also counts what BM25 needs of the whole: passages, and their words.
 *
 * `passage_words` says how often each term stands in a passage. Its rows are read whole for every hit, so they are kept in
 * place and uncompressed, and the index holds no list of what is yet to be sorted in, which each search would read.
 */
const MIGRATIONS: readonly ((schema: string) => string)[] = [
  (schema) => `
create table ${schema}.state (
  one       boolean primary key default true check (one),
  revision  bigint not null default 0,
  passages  bigint not null default 0,
  words     bigint not null default 0
);
insert into ${schema}.state default values;

create table ${schema}.documents (
  id           text primary key,
  title        text not null,
  source       text not null unique,
  content_hash text not null,
  text         text not null,
  stored_at    timestamptz not null
);
create index on ${schema}.documents (lower(title collate "C"));

create table ${schema}.passages (
  chunk        int generated always as identity primary key,
  document     text not null references ${schema}.documents on delete cascade,
  heading_path jsonb not null,
  text         text not null,
  "start"      int not null,
  "end"        int not null,
  hash         text not null
);
create index on ${schema}.passages (document);
create index on ${schema}.passages (hash);

create table ${schema}.passage_words (
  chunk       int primary key references ${schema}.passages on delete cascade,
  length      int not null,
  frequencies jsonb not null
) with (toast_tuple_target = 8160);
alter table ${schema}.passage_words alter column frequencies set storage external;
create index on ${schema}.passage_words using gin (frequencies) with (fastupdate = off);

create table ${schema}.vectors (
  hash       text not null,
  model      text not null,
  dimensions int not null,
  parts      bytea not null, -- the vectors, one after the other, as little-endian 32-bit floats
  revision   bigint not null,
  primary key (hash, model)
);
create index on ${schema}.vectors (model, revision);
`,
]

/** A name as SQL takes it. */
export const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`

/**
 * Makes the tables, or brings them up to date, in one transaction. Processes that start at once wait for each other, and one
 * that finds nothing to do needs no rights but those on the tables.
 *
 * @throws {DeskError} `invalid_settings` if a newer version of Docs desk made the tables.
 */
export async function prepareSchema(client: ClientBase, name: string): Promise<void> {
  const schema = quote(name)
  const version = async (): Promise<number> => {
    // Not `to_regclass`, which may remember from before the wait for the lock that there was none.
    const { rows: found } = await client.query(
      `select from pg_catalog.pg_tables where schemaname = $1 and tablename = 'migrations'`,
      [name],
    )
    if (found.length === 0) return 0
    const { rows } = await client.query<{ version: number }>(
      `select coalesce(max(number), 0)::int as version from ${schema}.migrations`,
    )
    return rows[0]!.version
  }
  if (isCurrent(await version(), name)) return
  await client.query('begin')
  try {
    await client.query(`select pg_advisory_xact_lock(hashtextextended($1, 0))`, [`docs desk, schema ${name}`])
    const from = await version()
    if (!isCurrent(from, name)) {
      await client.query(`create schema if not exists ${schema}`)
      await client.query(`create table if not exists ${schema}.migrations (
        number int primary key, applied_at timestamptz not null default now())`)
      for (const [index, sql] of MIGRATIONS.entries()) {
        if (index < from) continue
        await client.query(sql(schema))
        await client.query(`insert into ${schema}.migrations (number) values ($1)`, [index + 1])
      }
    }
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  }
}

function isCurrent(version: number, schema: string): boolean {
  if (version > MIGRATIONS.length)
    throw new DeskError(
      'invalid_settings',
      `The schema "${schema}" of the database is at version ${version}, and this Docs desk knows ${MIGRATIONS.length}. Use the newer one.`,
    )
  return version === MIGRATIONS.length
}

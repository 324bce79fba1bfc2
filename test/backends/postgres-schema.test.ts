import { createHash } from 'node:crypto'
import { Client } from 'pg'
import { afterAll, afterEach, expect, test } from 'vitest'
import { loadClients } from '../../src/backends/postgres/client.ts'
import { migrate } from '../../src/backends/postgres/migrate.ts'
import { MIGRATIONS } from '../../src/backends/postgres/migrations/index.ts'
import type { Migration } from '../../src/backends/postgres/migrations/migration.ts'
import { openPostgres } from '../../src/backends/postgres/open.ts'
import { statementsOf } from '../../src/backends/postgres/sql/index.ts'
import { parsePostgresUrl, withSchema } from '../../src/backends/postgres/url.ts'
import { query } from '../servers/postgres.ts'
import { sharedServer } from '../servers/shared.ts'
import { newTask } from '../support/new-task.ts'

const { url } = await sharedServer('postgres')
const schema = `schema_${process.pid}`
const own = withSchema(url, schema)
const clients: Client[] = []
async function client(): Promise<Client> {
  const one = new Client({ connectionString: url })
  clients.push(one)
  await one.connect()
  return one
}
afterEach(async () => {
  await query(url, `drop schema if exists ${schema} cascade`)
  await Promise.all(clients.splice(0).map((one) => one.end()))
})
const role = `role_${process.pid}`
afterAll(() => query(url, `drop role if exists ${role}`))

const added: Migration = {
  number: MIGRATIONS.length + 1,
  name: 'added',
  isBreaking: false,
  sql: (name) => `alter table ${name}.hf_task add column added int; create table ${name}.hf_added (id int)`,
}

/** Tables, constraints and indexes as the server has understood them. */
async function dump(): Promise<string> {
  const lines = await query<{ line: string }>(
    url,
    `
select line from (
  select 1 as kind, c.relname, a.attnum as place, format('%s.%s %s%s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
      (select format(' collate %s', l.collname) from pg_collation l join pg_type y on y.oid = a.atttypid
        where l.oid = a.attcollation and a.attcollation <> y.typcollation),
      case when a.attnotnull then ' not null' else '' end, coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')) as line
    from pg_attribute a join pg_class c on c.oid = a.attrelid left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
   where c.relnamespace = $1::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
  union all
  select 2, c.relname, 0, format('%s %s %s', c.relname, o.conname, pg_get_constraintdef(o.oid))
    from pg_constraint o join pg_class c on c.oid = o.conrelid where o.connamespace = $1::regnamespace and o.contype <> 'n'
  union all
  select 3, c.relname, 0, pg_get_indexdef(i.indexrelid) from pg_index i join pg_class c on c.oid = i.indrelid
   where c.relnamespace = $1::regnamespace
  union all
  select 4, relname, 0, format('%s with (%s)', relname, array_to_string(reloptions, ', ')) from pg_class
   where relnamespace = $1::regnamespace and reloptions is not null
) all_lines order by relname, kind, place, line`,
    [schema],
  )
  return `${lines.map(({ line }) => line.replaceAll(schema, 'SCHEMA')).join('\n')}\n`
}

test('the schema is the one on record', async () => {
  await migrate(await client(), schema, MIGRATIONS)
  await expect(await dump()).toMatchFileSnapshot('__snapshots__/postgres-schema.txt')
})

test('migrations that were released are never edited', () => {
  const prints = MIGRATIONS.map(
    ({ number, name, sql }) => `${number} ${name} ${createHash('sha256').update(sql('SCHEMA')).digest('hex')}`,
  )
  expect(prints).toMatchSnapshot()
  expect(MIGRATIONS.map(({ number }) => number)).toEqual(MIGRATIONS.map((_, index) => index + 1))
})

test.each(['never looked at', 'full'])(
  'every statement finds its rows by the right index, in a table that is %s',
  async (table) => {
    await migrate(await client(), schema, MIGRATIONS)
    if (table === 'full')
      await query(
        url,
        `with filled as (
        insert into ${schema}.hf_task (id, owner, tool, queue, state, run_at, order_at, weight, max_attempts, max_crashes, fails_when_lost,
          is_attended, created_at, updated_at, retention_ms, args_digest, args, caller, worker, lease_until)
        select gen_random_uuid(), i % 50, 'tool', 'queue', i % 3, now(), now(), 1, 3, 3, false, false, now(), now(), 1000, '', '', '',
          case when i % 3 = 1 then 'w' end, case when i % 3 = 1 then now() end from generate_series(1, 20000) i returning id)
      insert into ${schema}.hf_journal (task_id, name, seq, kind, fence) select id, 'n', 1, 0, 1 from filled`,
      )
    if (table === 'full') await query(url, `analyze ${schema}.hf_task, ${schema}.hf_journal`)
    const pool = (await loadClients(parsePostgresUrl(url))).pool()
    const one = await pool.connect()
    for (const { name, text } of Object.values(statementsOf(schema))) {
      const parameters = new Set(text.match(/\$\d+/g))
      await one.query(`prepare ${name} as ${text}`)
      const values = parameters.size === 0 ? '' : `(${[...parameters].map(() => 'null').join(', ')})`
      const { rows } = await one.query<{ 'QUERY PLAN': string }>(`explain execute ${name} ${values}`)
      const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
      expect(plan, name).not.toMatch(/Seq Scan on hf_|Hash Join|Merge Join|Bitmap/)
      // Through all leases goes only who takes those that have run out; a claim looks for its own by its token.
      if (!['hf_claim_tasks', 'hf_sweep_tasks'].includes(name)) expect(plan, name).not.toContain('hf_task_leased')
    }
    one.release()
    await pool.end()
  },
)

test('several migrations at once do each step once', async () => {
  const all = await Promise.all([client(), client(), client(), client()])
  const reports = await Promise.all(all.map((one) => migrate(one, schema, [...MIGRATIONS, added])))
  expect(reports.map(({ pending }) => pending.length).sort()).toEqual([0, 0, 0, MIGRATIONS.length + 1])
  const { rows } = await all[0]!.query(`select number from ${schema}.hf_migration`)
  expect(rows).toHaveLength(MIGRATIONS.length + 1)
})

test('a schema of an older version is brought up to date, with what it holds', async () => {
  const one = await client()
  await migrate(one, schema, MIGRATIONS)
  const store = await openPostgres(own)
  const { task } = await store.create(newTask({ id: '0b0e7a52-9a1f-4b77-8a8e-0a3f1c2d3e4f', owner: 'o' }))
  expect(await migrate(one, schema, [...MIGRATIONS, added], { check: true })).toEqual({
    from: MIGRATIONS.length,
    to: added.number,
    pending: [`000${added.number}-added`],
  })
  expect(await migrate(one, schema, [...MIGRATIONS, added])).toMatchObject({
    from: MIGRATIONS.length,
    to: added.number,
  })
  // The code of the release before goes on, with its prepared statements, as long as the change is not marked as breaking.
  expect((await store.get(task.id, 'o'))?.id).toBe(task.id)
  await store.close()
  await (await openPostgres(own)).close()
})

test('a step that fails leaves nothing of itself, and can be tried again', async () => {
  const one = await client()
  const broken = { ...added, sql: (name: string) => `${added.sql(name)}; select 1 / 0` }
  await expect(migrate(one, schema, [...MIGRATIONS, broken])).rejects.toMatchObject({ code: '22012' })
  expect(await migrate(one, schema, MIGRATIONS, { check: true })).toMatchObject({
    from: MIGRATIONS.length,
    pending: [],
  })
  expect((await migrate(one, schema, [...MIGRATIONS, added])).to).toBe(added.number)
})

test('a schema that is missing, or was changed by newer code for good, is refused, and the message says what to do', async () => {
  await expect(openPostgres(own)).rejects.toMatchObject({
    code: 'backend_mismatch',
    message: expect.stringContaining('lacks 0001-tasks: run `holdfast migrate`'),
  })
  await migrate(await client(), schema, [...MIGRATIONS, { ...added, isBreaking: true }])
  await expect(openPostgres(own)).rejects.toMatchObject({
    code: 'backend_mismatch',
    message: expect.stringContaining('newer version of Holdfast (0002-added)'),
  })
  const store = await openPostgres(own, { forMigration: true })
  await expect(store.migrate()).rejects.toMatchObject({ code: 'backend_mismatch' })
  await store.close()
})

test('at run time no right is needed to change the schema', async () => {
  const one = await client()
  await migrate(one, schema, MIGRATIONS)
  await one.query(`drop role if exists ${role}`)
  await one.query(`create role ${role} login password 'p'`)
  await one.query(`grant usage on schema ${schema} to ${role}`)
  await one.query(`grant select, insert, update, delete on ${schema}.hf_task, ${schema}.hf_journal to ${role}`)
  await one.query(`grant select on ${schema}.hf_migration to ${role}`)
  const as = new URL(own)
  as.username = role
  as.password = 'p'
  const store = await openPostgres(as.href)
  expect(await store.backlog(['q'])).toHaveLength(1)
  const options = {
    limit: 10,
    expiredError: Buffer.from(''),
    lostError: Buffer.from(''),
    expiredAnswer: Buffer.from('null'),
    crashBackoffMs: 1,
    overdueMs: 1,
  }
  expect((await store.sweep(options)).purged).toBe(0)
  expect(await store.migrate({ check: true })).toMatchObject({ pending: [] })
  await store.close()
  await one.query(`drop owned by ${role}`)
})

test('a database, a server or a file that is not there is a clear error', async () => {
  const at = new URL(own)
  at.pathname = '/nothing_of_this_name'
  await expect(openPostgres(at.href)).rejects.toMatchObject({
    code: 'invalid_option',
    message: expect.stringContaining('The database does not exist'),
  })
  at.port = '1'
  await expect(openPostgres(at.href)).rejects.toMatchObject({ code: 'backend_failed' })
  await expect(openPostgres(`${own}&sslmode=verify-full&sslrootcert=/nothing.pem`)).rejects.toMatchObject({
    code: 'invalid_option',
    message: expect.stringContaining('/nothing.pem'),
  })
})

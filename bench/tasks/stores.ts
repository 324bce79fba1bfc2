// `node bench/tasks/stores.ts --url postgres://…  [--url sqlite:…] [--rows 1000,100000]`: what a task store alone can do. In a
// namespace of its own, which is removed afterwards; on Postgres with the share of heartbeats that stay within their page.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Client } from 'pg'
import { openThrowaway } from '../../src/backends/postgres/open.ts'
import { openSqlite } from '../../src/backends/sqlite/task-store.ts'
import type { ClaimedTask, TaskAdmin, TaskStore } from '../../src/ports/task-store.ts'
import { table, whole } from '../lib/table.ts'
import { claim, fill, finish, newTask } from './rows.ts'

const { values } = parseArgs({
  options: {
    url: { type: 'string', multiple: true, default: [] },
    rows: { type: 'string', default: '1000,100000' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  console.log(`Measures task stores: creations one by one (p50, p99) and at once, claim and finish in batches, claims beside many rows.

  --url URL      postgres://… or sqlite:FILE; again for another. Default: a SQLite file in a temporary folder.
  --rows N,…     rows in the table, a third each ready, waiting and ended, beside which claims are timed. Default 1000,100000.`)
  process.exit(0)
}

interface Subject {
  readonly name: string
  readonly store: TaskStore & TaskAdmin
  /** Whatever of statistics the server keeps is brought up to date. */
  settle(): Promise<void>
  /** Of the updates that `body` makes, the share that stayed within its page. */
  hotShare(body: () => Promise<void>): Promise<string>
  remove(): Promise<void>
}

async function postgres(url: string): Promise<Subject> {
  const schema = `bench_${process.pid}`
  const own = await openThrowaway(url, schema)
  const admin = new Client({ connectionString: url })
  await admin.connect()
  const updates = async (): Promise<{ all: number; hot: number }> => {
    await new Promise((resolve) => setTimeout(resolve, 11_000)) // idle sessions report every ten seconds
    const { rows } = await admin.query<{ all: number; hot: number }>(
      `select n_tup_upd::int as all, n_tup_hot_upd::int as hot from pg_stat_user_tables where schemaname = $1 and relname = 'hf_task'`,
      [schema],
    )
    return rows[0]!
  }
  const store = await own.open()
  return {
    name: 'postgres',
    store,
    settle: async () => void (await admin.query(`vacuum analyze "${schema}".hf_task`)),
    async hotShare(body) {
      const before = await updates()
      await body()
      const after = await updates()
      return `${((100 * (after.hot - before.hot)) / (after.all - before.all)).toFixed(0)} %`
    },
    async remove() {
      await store.close()
      await own[Symbol.asyncDispose]()
      await admin.end()
    },
  }
}

async function sqlite(url: string | undefined): Promise<Subject> {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))
  const store = await openSqlite(url ?? `sqlite:${dir}/tasks.db`)
  return {
    name: 'sqlite',
    store,
    settle: () => Promise.resolve(),
    async hotShare(body) {
      await body()
      return '–'
    },
    async remove() {
      await store.close()
      rmSync(dir, { recursive: true })
    },
  }
}

const ms = (value: number): string => value.toFixed(2)
function percentile(times: readonly number[], share: number): number {
  const sorted = times.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!
}
async function timed(body: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now()
  await body()
  return performance.now() - startedMs
}

/** Creations at a steady pace, whether or not the last one has come back. */
async function openLoop(store: TaskStore, perSecond: number, seconds: number): Promise<number[]> {
  const startedMs = performance.now()
  const all: Promise<number>[] = []
  for (let index = 0; index < perSecond * seconds; index++) {
    const dueMs = startedMs + (index * 1000) / perSecond
    const waitMs = dueMs - performance.now()
    if (waitMs > 1) await new Promise((resolve) => setTimeout(resolve, waitMs))
    all.push(store.create(newTask()).then(() => performance.now() - dueMs))
  }
  return Promise.all(all)
}

async function measure({ name, store, settle, hotShare }: Subject): Promise<void> {
  const rows: [string, string][] = []
  const note = (what: string, value: string): void => {
    rows.push([what, value])
    console.error(`${name}: ${what}: ${value}`)
  }
  await Promise.all(Array.from({ length: 200 }, () => store.create(newTask()))) // warm
  await settle()

  const pace = await openLoop(store, 100, 5)
  note('create, 100 a second: p50, p99 ms', `${ms(percentile(pace, 0.5))}, ${ms(percentile(pace, 0.99))}`)
  const burst = 5000
  const burstMs = await timed(() => Promise.all(Array.from({ length: burst }, () => store.create(newTask()))))
  note('create, 5,000 at once: a second', whole((burst * 1000) / burstMs))

  let taken = 0
  const drainMs = await timed(async () => {
    for (let tasks = await claim(store, 100); tasks.length > 0; tasks = await claim(store, 100)) {
      taken += tasks.length
      await finish(store, tasks)
    }
  })
  note('claim and finish, 100 each: a second', whole((taken * 1000) / drainMs))

  const single: number[] = []
  for (let index = 0; index < 300; index++) {
    await store.create(newTask())
    single.push(await timed(async () => finish(store, await claim(store, 1))))
  }
  note('claim and finish of one: p50, p99 ms', `${ms(percentile(single, 0.5))}, ${ms(percentile(single, 0.99))}`)

  await Promise.all(Array.from({ length: 1000 }, () => store.create(newTask())))
  const held = await claim(store, 1000)
  await settle()
  const beats: number[] = []
  const hot = await hotShare(async () => {
    for (let beat = 0; beat < 20; beat++) beats.push(await timed(() => store.heartbeat('bench', held, 3_600_000)))
  })
  note('heartbeat of 1,000 leases: p50 ms', ms(percentile(beats, 0.5)))
  note('heartbeats within their page', hot)
  await finish(store, held)

  for (const count of values.rows.split(',').map(Number)) {
    await fill(store, `filled-${count}`, count)
    await settle()
    const claims: number[] = []
    for (let index = 0; index < 300; index++) {
      let tasks: readonly ClaimedTask[] = []
      claims.push(await timed(async () => (tasks = await claim(store, 1, `filled-${count}`))))
      await finish(store, tasks)
    }
    note(
      `claim of one beside ${whole(count)} rows: p50, p99 ms`,
      `${ms(percentile(claims, 0.5))}, ${ms(percentile(claims, 0.99))}`,
    )
    const sweeps: number[] = []
    const nothing = Buffer.from('{}')
    for (let index = 0; index < 20; index++)
      sweeps.push(
        await timed(() =>
          store.sweep({
            limit: 500,
            expiredError: nothing,
            lostError: nothing,
            expiredAnswer: nothing,
            crashBackoffMs: 1000,
            overdueMs: 3_600_000,
          }),
        ),
      )
    note(`idle sweep beside ${whole(count)} rows: p50 ms`, ms(percentile(sweeps, 0.5)))
    note(`backlog beside ${whole(count)} rows: ms`, ms(await timed(() => store.backlog([`filled-${count}`]))))
  }
  console.log(`\n${table([name, ''], rows)}`)
}

for (const url of values.url.length === 0 ? [undefined] : values.url) {
  const subject = url?.startsWith('postgres') ? await postgres(url) : await sqlite(url)
  try {
    await measure(subject)
  } finally {
    await subject.remove()
  }
}

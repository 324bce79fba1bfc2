import { spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Database, migrate } from '../../src/backends/sqlite/database.ts'
import { MIGRATIONS, type Migration } from '../../src/backends/sqlite/migrations.ts'
import * as sql from '../../src/backends/sqlite/sql.ts'
import { openSqlite } from '../../src/backends/sqlite/task-store.ts'
import { until } from '../servers/tools.ts'
import { newTask } from '../support/new-task.ts'

let dir: string
let file: string
const children: Working[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdfast-sqlite-'))
  file = join(dir, 'folder/tasks.db')
})
afterEach(async () => {
  await Promise.all(children.splice(0).map((one) => one.kill()))
  rmSync(dir, { recursive: true })
})

/** A process that works on the file; what it was told is on the disk is kept here. */
class Working {
  readonly created: string[] = []
  readonly done: { id: string; fence: number; by: string }[] = []
  readonly failed: string[] = []
  readonly #child: ChildProcess

  /** @param maxFileBlocks of 512 bytes, that a file of the process may have */
  constructor(queue: string, maxFileBlocks: number | 'unlimited' = 'unlimited') {
    const program = [process.execPath, join(import.meta.dirname, 'sqlite-process.ts'), `sqlite:${file}`, queue]
    this.#child = spawn('sh', ['-c', `ulimit -f ${maxFileBlocks}; exec "$0" "$@"`, ...program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    createInterface(this.#child.stdout!).on('line', (line) => {
      const [what, id = '', fence, by = ''] = line.split(' ')
      if (what === 'created') this.created.push(id)
      else if (what === 'done') this.done.push({ id, fence: Number(fence), by })
      else if (what === 'failed') this.failed.push(line)
    })
    children.push(this)
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const closed = once(this.#child, 'close')
    this.#child.kill('SIGKILL')
    await closed
  }
}

/** What every process was told holds: nothing created is missing, nothing done has another end, and nothing was done twice. */
async function check(all: readonly Working[]): Promise<void> {
  const store = await openSqlite(`sqlite:${file}`)
  for (const { created, done, failed } of all) {
    expect(failed).toEqual([])
    expect((await store.versions(created)).filter((version) => version === undefined)).toEqual([])
    for (const { id, fence, by } of done) {
      const task = (await store.get(id, 'owner'))!
      expect([task.state, task.doneFence, Buffer.from(task.result!).toString()]).toEqual(['completed', fence, by])
    }
  }
  const ids = all.flatMap(({ done }) => done.map(({ id }) => id))
  expect(new Set(ids).size).toBe(ids.length)
  await store.close()
  const db = new DatabaseSync(file)
  expect(db.prepare('pragma integrity_check').all()).toEqual([{ integrity_check: 'ok' }])
  db.close()
}

test('a disk that is full fails writes, loses nothing that was acknowledged, and all goes on when there is room', async () => {
  // As a full disk does, for who may not mount one: no file of this process may be bigger than 2 MiB.
  const cramped = new Working('full', 4096)
  await until('A write that found no room', 60_000, async () => cramped.failed.length > 0)
  expect(cramped.failed[0]).toMatch(/^failed SQLite did not carry out \w+\. .*disk/)
  expect(cramped.done.length).toBeGreaterThan(0)
  const { created, done } = cramped
  const roomy = new Working('full')
  await until('Work with room', 60_000, async () => roomy.done.length > 50)
  await roomy.kill()
  expect(roomy.failed).toEqual([])
  const store = await openSqlite(`sqlite:${file}`)
  expect((await store.versions(created)).filter((version) => version === undefined)).toEqual([])
  for (const { id, fence } of done) expect((await store.get(id, 'owner'))?.doneFence).toBe(fence)
  await store.close()
  const db = new DatabaseSync(file)
  expect(db.prepare('pragma integrity_check').all()).toEqual([{ integrity_check: 'ok' }])
  db.close()
}, 120_000)

describe('several processes on one file', () => {
  test('work side by side: each task is done once, and none fails', async () => {
    const queue = randomUUID()
    const all = [new Working(queue), new Working(queue), new Working(queue)]
    await until('Work of all', 30_000, async () =>
      all.every(({ created, done }) => created.length > 30 && done.length > 10),
    )
    await Promise.all(all.map((one) => one.kill()))
    await check(all)
  }, 60_000)

  test('may be killed in the middle of their writes: what was acknowledged is there, and the others go on', async () => {
    const queue = randomUUID()
    const all: Working[] = [new Working(queue), new Working(queue)]
    for (let round = 0; round < 5; round++) {
      const victim = all[round]!
      await until('Work to interrupt', 30_000, async () => victim.created.length > 10 + round && victim.done.length > 3)
      await victim.kill()
      all.push(new Working(queue))
    }
    const last = all.at(-1)!
    await until('The last going on', 30_000, async () => last.created.length > 10)
    await Promise.all(all.map((one) => one.kill()))
    await check(all)
  }, 120_000)
})

test('writes that wait together share a transaction, and each reply comes after the commit', async () => {
  const store = await openSqlite(`sqlite:${file}`)
  const reader = new DatabaseSync(file)
  const count = reader.prepare('select count(*) as count from hf_task')
  // Another connection sees whole transactions: the number of tasks moves in steps, and no reply runs ahead of it.
  const seen = new Set<unknown>()
  let replies = 0
  await Promise.all(
    Array.from({ length: 300 }, async () => {
      await store.create(newTask())
      replies++
      const { count: visible } = count.get() as { count: number }
      expect(visible).toBeGreaterThanOrEqual(replies)
      seen.add(visible)
    }),
  )
  expect(seen.size).toBeLessThan(100)
  reader.close()
  await store.close()
})

test('one that fails in a transaction leaves nothing of itself, and the others stand', async () => {
  const store = await openSqlite(`sqlite:${file}`)
  const [one, two] = [randomUUID(), randomUUID()]
  const results = await Promise.allSettled([
    store.create(newTask({ id: one })),
    store.create(newTask({ weight: -1 })),
    store.create(newTask({ id: two })),
  ])
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(results[1]).toMatchObject({
    reason: { code: 'backend_failed', cause: { message: expect.stringMatching(/^SQLITE_275/) } },
  })
  const [held] = await store.claim({
    worker: 'w',
    token: randomUUID(),
    queue: 'q',
    tools: ['work'],
    handlerRevisions: [],
    limit: 1,
    leaseMs: 60_000,
  })
  const asks = [
    { name: 'same', request: Buffer.from('1') },
    { name: 'same', request: Buffer.from('2') },
  ]
  await expect(store.park(held!.id, held!.fence, { asks })).rejects.toMatchObject({ code: 'invalid_ask' })
  expect(await store.get(held!.id, 'ann')).toMatchObject({ state: 'leased', asks: [] })
  await store.close()
})

test('a write that another process holds up for too long fails, and can be tried again', async () => {
  const store = await openSqlite(`sqlite:${file}?busyTimeoutMs=50`)
  const other = new DatabaseSync(file)
  other.exec('begin immediate')
  await expect(store.redrive(randomUUID(), randomUUID())).rejects.toMatchObject({
    code: 'backend_failed',
    cause: { message: expect.stringMatching(/^SQLITE_5/) },
  })
  expect(await store.versions([randomUUID()])).toEqual([undefined]) // reads go on
  other.exec('rollback')
  expect(await store.redrive(randomUUID(), randomUUID())).toBeUndefined()
  other.close()
  await store.close()
})

test('the file and its folder are made, for their owner alone', async () => {
  const store = await openSqlite(`sqlite:${file}`)
  expect(statSync(join(dir, 'folder')).mode & 0o777).toBe(0o700)
  await store.close()
})

test('a file that is no database, and a folder that can not be made, are clear errors', async () => {
  const text = join(dir, 'text')
  writeFileSync(text, 'this is no database, and long enough to be looked at as one'.repeat(100))
  await expect(openSqlite(`sqlite:${text}`)).rejects.toMatchObject({
    code: 'backend_failed',
    cause: { message: expect.stringContaining('not a database') },
  })
  await expect(openSqlite(`sqlite:${text}/below.db`)).rejects.toMatchObject({ code: 'backend_failed' })
})

test('the schema is the one on record, and migrations are never edited', () => {
  const db = new Database({ file, busyTimeoutMs: 1000 })
  expect(migrate(db, MIGRATIONS, { check: true })).toMatchObject({ from: 0, pending: ['0001-tasks'] })
  expect(migrate(db, MIGRATIONS)).toMatchObject({ from: 0, to: MIGRATIONS.length })
  expect(db.all('select name, sql from sqlite_schema where sql is not null order by name')).toMatchSnapshot()
  expect(MIGRATIONS).toMatchSnapshot()
  db.close()
})

test('every statement finds its rows by an index, in their order', () => {
  const db = new Database({ file, busyTimeoutMs: 1000 })
  migrate(db, MIGRATIONS)
  const statements = Object.entries(sql).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  expect(statements.length).toBeGreaterThan(30)
  for (const [name, text] of [...statements, ['LIST', sql.listTasks(['true'], '10')] as const]) {
    const plan = db.all<{ detail: string }>(`explain query plan ${text}`).map(({ detail }) => detail)
    for (const step of plan) expect(step, name).not.toMatch(/^SCAN hf_\w+$/)
    if (!['OPEN_ASKS', 'READ_JOURNAL'].includes(name)) expect(plan, name).not.toContain('USE TEMP B-TREE FOR ORDER BY')
  }
  db.close()
})

test('a file of an older version is brought up to date; one that newer code has changed for good is refused', async () => {
  const added: Migration = {
    number: MIGRATIONS.length + 1,
    name: 'added',
    isBreaking: false,
    sql: 'alter table hf_task add column added text',
  }
  const db = new Database({ file, busyTimeoutMs: 1000 })
  migrate(db, MIGRATIONS)
  const broken = { ...added, sql: `${added.sql}; select 1 from nowhere` }
  expect(() => migrate(db, [...MIGRATIONS, broken])).toThrow('nowhere')
  expect(migrate(db, [...MIGRATIONS, added])).toMatchObject({ from: MIGRATIONS.length, to: added.number })
  await (await openSqlite(`sqlite:${file}`)).close() // the release before goes on
  db.run('update hf_migration set is_breaking = 1 where number = $number', { number: added.number })
  db.close()
  await expect(openSqlite(`sqlite:${file}`)).rejects.toMatchObject({ code: 'backend_mismatch' })
})

test('processes that open a new file at once make its schema once', async () => {
  const stores = await Promise.all(Array.from({ length: 6 }, () => openSqlite(`sqlite:${file}`)))
  expect(await stores[0]!.migrate()).toEqual({ from: 1, to: 1, pending: [] })
  await Promise.all(stores.map((store) => store.close()))
})

test('a closed store refuses everything, and closes once', async () => {
  const store = await openSqlite('sqlite::memory:')
  await store.close()
  await store.close()
  await expect(store.versions([randomUUID()])).rejects.toMatchObject({ code: 'closed' })
})

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { openPostgres, openThrowaway } from '../../src/backends/postgres/open.ts'
import type { NewTask, TaskStore } from '../../src/ports/task-store.ts'
import { query, startPostgres } from '../servers/postgres.ts'
import { needs, sharedServer } from '../servers/shared.ts'
import { until } from '../servers/tools.ts'
import { startToxiproxy } from '../servers/toxiproxy.ts'
import { newTask as anyTask } from '../support/new-task.ts'

await needs('postgres', 'toxiproxy')
const { url } = await sharedServer('postgres')
const schema = `failures_${process.pid}`
const own = await openThrowaway(url, schema)
afterAll(() => own[Symbol.asyncDispose]())

const bytes = (text: string): Buffer => Buffer.from(text)
const OWNER = 'owner'
const newTask = (queue: string, more: Partial<NewTask> = {}): NewTask =>
  anyTask({ owner: OWNER, queue, retentionMs: 60_000, ...more })
const claim = (store: TaskStore, queue: string, token: string = randomUUID(), limit = 1) =>
  store.claim({ worker: 'w', token, queue, tools: ['work'], handlerRevisions: [], limit, leaseMs: 60_000 })

test('9,000 answers that race for 3,000 questions: each question has one answer, and each task is ready once', async () => {
  const store = await openPostgres(`${own.url}&connectTimeoutMs=60000`)
  const queue = randomUUID()
  const count = 3000
  await Promise.all(Array.from({ length: count }, () => store.create(newTask(queue))))
  const claimed = await claim(store, queue, randomUUID(), count)
  expect(claimed).toHaveLength(count)
  const asks = [{ name: 'q', request: bytes('?') }]
  await Promise.all(claimed.map(({ id, fence }) => store.park(id, fence, { asks })))
  const outcomes = await Promise.all(
    ['a', 'b', 'c'].flatMap((value) =>
      claimed.map(({ id }) => store.answer(id, OWNER, [{ name: 'q', value: bytes(value) }])),
    ),
  )
  expect(new Set(outcomes.map((outcome) => outcome?.open))).toEqual(new Set([0]))
  const again = await claim(store, queue, randomUUID(), count + 1)
  expect(again).toHaveLength(count)
  for (const { journal, version } of again) {
    expect(Buffer.from(journal[0]!.value!).toString()).toMatch(/^[abc]$/)
    expect(version).toBe(3) // created, parked, answered once
  }
  await store.close()
}, 60_000)

test('one connection serves hundreds of callers: nobody waits for what it holds itself', async () => {
  const store = await openPostgres(`${own.url}&connections=1&connectTimeoutMs=30000`)
  const queue = randomUUID()
  const ids = await Promise.all(
    Array.from({ length: 200 }, async () => {
      const { task } = await store.create(newTask(queue))
      const [mine] = await claim(store, queue)
      await store.recordStep({ id: mine!.id, fence: mine!.fence, name: 's', value: bytes('1'), leaseMs: 60_000 })
      expect(await store.finish([{ id: mine!.id, fence: mine!.fence, state: 'completed' }])).toEqual(['done'])
      return task.id
    }),
  )
  expect((await store.versions(ids)).every((version) => version === 2)).toBe(true)
  await store.close()
})

test('what a locked row holds up is given up by the server, and the connection goes on', async () => {
  const store = await openPostgres(`${own.url}&connections=1&statementTimeoutMs=400`)
  const queue = randomUUID()
  const { task } = await store.create(newTask(queue))
  const other = new Client({ connectionString: url })
  await other.connect()
  await other.query('begin')
  await other.query(`select from ${schema}.hf_task where id = $1 for update`, [task.id])
  const error = await store.cancel(task.id, OWNER).catch((caught: unknown) => caught)
  expect(error).toMatchObject({ code: 'backend_failed', cause: { code: '55P03' } })
  expect((error as Error).message).toBe('Postgres did not carry out cancel. Rows were locked by others for too long.')
  expect(await claim(store, queue)).toEqual([]) // passes over what is locked
  await other.query('rollback')
  await other.end()
  expect(await store.cancel(task.id, OWNER)).toBe('cancelled')
  await store.close()
})

test('values that the database refuses fail alone, whatever they went out with', async () => {
  const store = await own.open()
  const queue = randomUUID()
  const results = await Promise.allSettled([
    ...Array.from({ length: 10 }, () => store.create(newTask(queue))),
    store.create(newTask(queue, { maxAttempts: 2 ** 40 })),
  ])
  expect(results.map(({ status }) => status)).toEqual([...Array.from({ length: 10 }, () => 'fulfilled'), 'rejected'])
  expect(await store.backlog([queue])).toMatchObject([{ ready: 10 }])
  await store.close()
})

test('creations of two nodes that meet with the same keys in opposite orders create each once', async () => {
  const [one, other] = [await own.open(), await own.open()]
  const queue = randomUUID()
  for (let round = 0; round < 20; round++) {
    const keys = Array.from({ length: 200 }, () => randomUUID())
    const create = (store: TaskStore, order: readonly string[]) =>
      Promise.all(order.map((idempotencyKey) => store.create(newTask(queue, { idempotencyKey }))))
    const results = await Promise.all([create(one, keys), create(other, keys.toReversed())])
    expect(results.flat().filter(({ created }) => created)).toHaveLength(keys.length)
  }
  await Promise.all([one.close(), other.close()])
})

test('any number of crashes has a wait that ends', async () => {
  const store = await own.open()
  const { task } = await store.create(newTask(randomUUID(), { maxCrashes: 100_000 }))
  await store.claim({
    worker: 'w',
    token: randomUUID(),
    queue: task.queue,
    tools: ['work'],
    handlerRevisions: [],
    limit: 1,
    leaseMs: 0,
  })
  await query(url, `update ${schema}.hf_task set crashes = 99998 where id = $1`, [task.id])
  await sleep(10)
  const options = {
    limit: 10,
    expiredError: bytes(''),
    lostError: bytes(''),
    expiredAnswer: bytes('null'),
    crashBackoffMs: 1000,
    overdueMs: 60_000,
  }
  expect((await store.sweep(options)).lost).toBe(1)
  expect(await store.get(task.id, OWNER)).toMatchObject({ state: 'parked', crashes: 99_999 })
  await store.close()
})

test('an id of another owner’s task creates nothing, and shows nothing', async () => {
  const store = await own.open()
  const theirs = newTask(randomUUID())
  await store.create(theirs)
  const mine = newTask(randomUUID(), { id: theirs.id, owner: 'another' })
  const results = await Promise.allSettled([store.create(mine), store.create(newTask(randomUUID()))])
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
  await store.close()
})

describe('a reply that is lost', () => {
  test('leaves an outcome that can be found out: a claim by its token, an end by its fence, a creation by its id', async () => {
    await using toxiproxy = await startToxiproxy()
    const { hostname, port } = new URL(url)
    const link = await toxiproxy.proxy('postgres', { host: hostname, port: Number(port) })
    const through = new URL(`${own.url}&connections=1&statementTimeoutMs=300&connectTimeoutMs=1000`)
    through.host = `${link.host}:${link.port}`
    const store = await openPostgres(through.href)
    const direct = await own.open()
    const queue = randomUUID()
    /** Carries out something whose reply never comes; the store gives the connection up. */
    const unheard = async (act: () => Promise<unknown>): Promise<void> => {
      await store.versions([randomUUID()]) // a connection stands
      await link.add('timeout', { timeout: 0 })
      await expect(act()).rejects.toMatchObject({ code: 'backend_failed' })
      await link.clear()
    }
    const task = newTask(queue)
    await unheard(() => store.create(task))
    expect((await store.create(task)).created).toBe(false)

    const token = randomUUID()
    await unheard(() => claim(store, queue, token))
    expect(await claim(direct, queue)).toEqual([])
    const [mine] = await claim(store, queue, token)
    expect(mine).toMatchObject({ id: task.id, fence: 1 })

    const step = { id: task.id, fence: 1, name: 's', value: bytes('1'), leaseMs: 60_000 }
    await unheard(() => store.recordStep(step))
    expect(await store.recordStep(step)).toBe('exists')

    await unheard(() => store.finish([{ id: task.id, fence: 1, state: 'completed', result: bytes('"r"') }]))
    expect(await store.get(task.id, OWNER)).toMatchObject({ state: 'completed', doneFence: 1 })
    await Promise.all([store.close(), direct.close()])
  })
})

test('a server that is killed under load, and comes back, has lost nothing that was acknowledged', async () => {
  await using server = await startPostgres()
  const { open } = await openThrowaway(server.url, 'holdfast')
  const store = await open()
  const queue = randomUUID()
  const acknowledged = new Set<string>()
  const ended = new Map<string, number>()
  let failures = 0
  const over = new AbortController()
  const client = async (): Promise<void> => {
    while (!over.signal.aborted)
      await store.create(newTask(queue)).then(
        ({ task }) => acknowledged.add(task.id),
        () => sleep(20, failures++),
      )
  }
  const worker = async (): Promise<void> => {
    while (!over.signal.aborted)
      try {
        for (const { id, fence } of await claim(store, queue, randomUUID(), 5)) {
          const [outcome] = await store.finish([{ id, fence, state: 'completed' }])
          if (outcome === 'done') ended.set(id, fence)
        }
      } catch {
        await sleep(20, failures++)
      }
  }
  const all = [...Array.from({ length: 8 }, client), worker(), worker()]
  await until('Some work', 20_000, async () => ended.size > 50)
  await server.kill()
  await until('Failures', 20_000, async () => failures > 20)
  const before = ended.size
  await server.start()
  await until('Work going on', 30_000, async () => ended.size > before + 20)
  over.abort()
  await Promise.all(all)
  const ids = [...acknowledged]
  const versions = await store.versions(ids)
  expect(versions.filter((version) => version === undefined)).toEqual([])
  for (const [id, fence] of ended)
    expect(await store.get(id, OWNER)).toMatchObject({ state: 'completed', doneFence: fence })
  await store.close()
}, 120_000)

test('a server that stands still costs a time-out, not a hang, and is used again when it goes on', async () => {
  await using server = await startPostgres()
  const { url: at } = await openThrowaway(server.url, 'holdfast')
  const store = await openPostgres(`${at}&statementTimeoutMs=300&connectTimeoutMs=500`)
  const queue = randomUUID()
  const { task } = await store.create(newTask(queue))
  await server.pause()
  const startedMs = performance.now()
  const results = await Promise.allSettled([
    ...Array.from({ length: 30 }, () => store.get(task.id, OWNER)),
    ...Array.from({ length: 3000 }, () => store.create(newTask(queue))),
  ])
  expect(results.every(({ status }) => status === 'rejected')).toBe(true)
  expect(performance.now() - startedMs).toBeLessThan(10_000)
  await server.resume()
  await until('An answer', 10_000, async () => (await store.get(task.id, OWNER))?.state === 'ready')
  await store.close()
}, 60_000)

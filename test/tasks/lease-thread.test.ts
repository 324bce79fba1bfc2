import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker as Thread } from 'node:worker_threads'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { MemoryTaskQueue } from '../../src/backends/memory/task-queue.ts'
import { openThrowaway } from '../../src/backends/postgres/open.ts'
import { openLeaseKeeper } from '../../src/compose/lease-keeper.ts'
import { openTaskStore } from '../../src/compose/task-store.ts'
import { systemClock } from '../../src/ports/clock.ts'
import type { TaskAdmin, TaskStore } from '../../src/ports/task-store.ts'
import { LoopLeaseKeeper, type LeaseKeeper, type LeaseLoss } from '../../src/tasks/lease-keeper.ts'
import { ThreadLeaseKeeper } from '../../src/tasks/thread-lease-keeper.ts'
import { Worker, type Attempt, type AttemptOutcome } from '../../src/tasks/worker.ts'
import { startDynamodb } from '../servers/dynamodb.ts'
import { query } from '../servers/postgres.ts'
import { needs, sharedServer } from '../servers/shared.ts'
import { until } from '../servers/tools.ts'
import { startToxiproxy } from '../servers/toxiproxy.ts'
import { STANDING } from '../support/standing.ts'
import { newTask } from '../support/new-task.ts'

vi.stubEnv('AWS_ACCESS_KEY_ID', 'test')
vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test')
await needs('dynamodb', 'toxiproxy')
const postgres = await sharedServer('postgres')
const dynamodb = await startDynamodb()
const schema = await openThrowaway(postgres.url, `leases_${process.pid}`)
const dir = mkdtempSync(join(tmpdir(), 'holdfast-leases-'))
afterAll(async () => {
  rmSync(dir, { recursive: true })
  await schema[Symbol.asyncDispose]()
  await dynamodb[Symbol.asyncDispose]()
})

/** URLs of empty stores. */
const KINDS = {
  sqlite: async () => `sqlite:${join(dir, randomUUID())}`,
  postgres: async () => schema.url,
  dynamodb: async () => dynamodb.url.replace('dynamodb://', `dynamodb://t${randomUUID()}`),
}
type Kind = keyof typeof KINDS

/** Each test's own. */
let queue: string
const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function open(kind: Kind): Promise<{ url: string; store: TaskStore & TaskAdmin }> {
  const url = await KINDS[kind]()
  queue = randomUUID()
  const store = await openTaskStore(url, systemClock, { forMigration: kind === 'dynamodb' })
  closing.push(() => store.close())
  if (kind === 'dynamodb') await store.migrate()
  return { url, store }
}

interface Settings {
  leaseMs?: number
  hungAfterMs?: number
  entry?: URL
}
/** Times as `holdfast worker` has them, twenty times as fast. */
const LEASE_MS = 1_500
let errors: unknown[] = []
let deaths: Error[] = []
async function keep(url: string, store: TaskStore, settings: Settings = {}): Promise<LeaseKeeper> {
  const { leaseMs = LEASE_MS, hungAfterMs = 20_000, entry } = settings
  errors = []
  deaths = []
  const parts = {
    url,
    store,
    worker: 'w',
    times: { leaseMs, renewMs: leaseMs / 3 },
    hungAfterMs,
    clock: systemClock,
    onError: (error: unknown) => errors.push(error),
    onDied: (error: Error) => deaths.push(error),
  }
  const keeper = await (entry === undefined ? openLeaseKeeper(parts) : ThreadLeaseKeeper.open({ ...parts, entry }))
  closing.push(() => keeper.close())
  return keeper
}

async function add(store: TaskStore): Promise<string> {
  const { task } = await store.create(newTask({ queue }))
  return task.id
}

interface Holding {
  id: string
  fence: number
  losses: LeaseLoss[]
  reported: number
}
async function claim(store: TaskStore, keeper: LeaseKeeper, leaseMs = LEASE_MS): Promise<Holding> {
  const id = await add(store)
  const sentMs = systemClock.monotonic()
  const claimed = await store.claim({
    worker: 'w',
    token: randomUUID(),
    queue,
    tools: ['work'],
    handlerRevisions: [],
    ids: [id],
    limit: 100,
    leaseMs,
  })
  const { fence } = claimed.find((task) => task.id === id)!
  const holding: Holding = { id, fence, losses: [], reported: 0 }
  const onLoss = (loss: LeaseLoss): void => void holding.losses.push(loss)
  keeper.hold([{ lease: { id, fence }, onLoss, onReported: () => holding.reported++ }], sentMs)
  return holding
}

/** Another worker, which takes whatever it can have once it has begun, also while this thread stands still. */
async function rival(url: string): Promise<{ taken: { id: string; fence: number }[]; begin: () => void }> {
  const thread = new Thread(new URL('./takeover-thread.ts', import.meta.url), { workerData: { url, queue } })
  await once(thread, 'message')
  const taken: { id: string; fence: number }[] = []
  thread.on('message', (one: { id: string; fence: number }) => taken.push(one))
  closing.push(async () => {
    const exited = once(thread, 'exit')
    thread.postMessage('end')
    await exited
  })
  return { taken, begin: () => thread.postMessage('begin') }
}

/** The event loop of this thread does not turn meanwhile. */
const block = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

describe.each(Object.keys(KINDS) as Kind[])('on %s', (kind) => {
  test('a loop that stands still for three leases keeps its task from who would take it', async () => {
    const { url, store } = await open(kind)
    const keeper = await keep(url, store)
    const { taken, begin } = await rival(url)
    const { id, fence, losses } = await claim(store, keeper)
    begin()
    block(3 * LEASE_MS)
    await sleep(100) // what the threads had to say meanwhile
    expect({ taken, losses, errors }).toEqual({ taken: [], losses: [], errors: [] })
    expect(await store.finish([{ id, fence, state: 'completed', result: Buffer.from('1') }])).toEqual(['done'])
    keeper.drop({ id, fence })
  }, 60_000)

  test('a loop that stands still past `hungAfterMs` loses its task, is told so, and can no longer end it', async () => {
    const { url, store } = await open(kind)
    const keeper = await keep(url, store, { hungAfterMs: LEASE_MS / 2 })
    const { taken, begin } = await rival(url)
    const holding = await claim(store, keeper)
    const { id, fence } = holding
    begin()
    block(4 * LEASE_MS)
    await until('The word of the loss', 5_000, async () => holding.losses.length > 0)
    await until('The takeover', 10_000, async () => taken.length > 0)
    expect(taken).toEqual([{ id, fence: fence + 1 }])
    expect(holding.losses).toEqual(['lost'])
    expect(await store.finish([{ id, fence, state: 'completed', result: Buffer.from('1') }])).toEqual(['lost'])
    expect((await store.get(id, 'ann'))!.state).toBe('leased')
  }, 60_000)

  test('a cancel reaches the worker, and a status message the store', async () => {
    const { url, store } = await open(kind)
    const keeper = await keep(url, store)
    const holding = await claim(store, keeper)
    keeper.report(holding, 'half of it')
    await until('The report', 5_000, async () => holding.reported === 1)
    expect((await store.get(holding.id, 'ann'))!.statusMessage).toBe('half of it')
    expect(await store.cancel(holding.id, 'ann')).toBe('signalled')
    await until('The cancel', 5_000, async () => holding.losses.length > 0)
    expect(holding.losses).toEqual(['cancelled'])
  }, 60_000)
})

test('cut off from its store, a worker gives its lease up at 0.8 of it, before the store lets another have it, and no earlier', async () => {
  const leaseMs = 5_000
  const { port, hostname, pathname, search } = new URL(schema.url)
  await using toxiproxy = await startToxiproxy()
  const link = await toxiproxy.proxy('leases', { host: hostname, port: Number(port) })
  const { store } = await open('postgres')
  const keeper = await keep(`postgres://postgres@${link.host}:${link.port}${pathname}${search}`, store, { leaseMs })
  const holding = await claim(store, keeper, leaseMs)
  const leaseUntilMs = async (): Promise<number> => {
    const [row] = await query<{ until_ms: string }>(
      schema.url,
      `select extract(epoch from lease_until) * 1000 as until_ms from ${new URL(schema.url).searchParams.get('schema') ?? 'public'}.hf_task where id = $1`,
      [holding.id],
    )
    return Number(row!.until_ms)
  }
  const firstMs = await leaseUntilMs()
  await until('A renewal', 10_000, async () => (await leaseUntilMs()) > firstMs)
  await link.add('timeout', { timeout: 0 }, { stream: 'upstream' })
  await link.add('timeout', { timeout: 0 })
  const untilMs = await leaseUntilMs()
  await until('The loss', 10_000, async () => holding.losses.length > 0)
  const leftMs = untilMs - Date.now()
  expect(await leaseUntilMs()).toBe(untilMs) // nothing came through
  // 0.2 of the lease, a little more for the way of the last renewal, a little less for the loops and the look of this test.
  expect(leftMs).toBeGreaterThan(0.2 * leaseMs - 500)
  expect(leftMs).toBeLessThan(0.2 * leaseMs + 250)
}, 60_000)

describe('when the thread dies', () => {
  const entry = new URL('./dying-lease-thread.ts', import.meta.url)

  test('the worker is told, and its own loop keeps the leases until it has drained', async () => {
    const { url, store } = await open('sqlite')
    const keeper = await keep(url, store, { entry })
    const { taken, begin } = await rival(url)
    const before = await claim(store, keeper)
    await until('The death', 5_000, async () => deaths.length > 0)
    const after = await claim(store, keeper)
    begin()
    await sleep(3 * LEASE_MS)
    expect(deaths.map(({ message }) => message)).toEqual(['The thread that keeps leases has ended (7).'])
    expect({ taken, before: before.losses, after: after.losses }).toEqual({ taken: [], before: [], after: [] })
    keeper.report(after, 'soon done')
    await until('The report', 5_000, async () => after.reported === 1)
    for (const one of [before, after]) keeper.drop(one)
  }, 60_000)

  test('a worker can drain: what it has begun ends well, and it begins nothing more', async () => {
    const { url, store } = await open('sqlite')
    const bell = new MemoryTaskQueue((error) => errors.push(error))
    closing.push(() => bell.close())
    const gate = Promise.withResolvers<void>()
    let draining: Promise<void> | undefined
    const keeper = await ThreadLeaseKeeper.open({
      entry,
      url,
      store,
      worker: 'w',
      times: { leaseMs: LEASE_MS, renewMs: LEASE_MS / 3 },
      hungAfterMs: 20_000,
      clock: systemClock,
      onError: (error) => errors.push(error),
      onDied() {
        draining = worker.drain(10_000)
      },
    })
    const worker: Worker = new Worker({
      name: 'w',
      store,
      queue: bell,
      topology: STANDING,
      keeper,
      clock: systemClock,
      run: async () => {
        await gate.promise
        return { kind: 'completed', result: Buffer.from('1') }
      },
      onChanged: () => undefined,
      onError: (_message, error) => errors.push(error),
      tools: ['work'],
      queues: [queue],
      handlerRevisions: [],
      concurrency: 2,
      leaseMs: LEASE_MS,
      pollMs: 100,
    })
    const id = await add(store)
    await worker.start()
    closing.push(async () => {
      await worker.drain(0)
      await keeper.close()
    })
    await until('The death', 10_000, async () => draining !== undefined)
    const late = await add(store)
    await sleep(2 * LEASE_MS)
    gate.resolve()
    await draining
    expect(await store.get(id, 'ann')).toMatchObject({ state: 'completed', doneFence: 1 })
    expect(await store.get(late, 'ann')).toMatchObject({ state: 'ready', fence: 0 })
  }, 60_000)
})

test('a handler that blocks its worker for three leases ends its task', async () => {
  const { url, store } = await open('sqlite')
  const bell = new MemoryTaskQueue((error) => errors.push(error))
  closing.push(() => bell.close())
  const keeper = await keep(url, store)
  const attempts: Attempt[] = []
  const worker = new Worker({
    name: 'w',
    store,
    queue: bell,
    topology: STANDING,
    keeper,
    clock: systemClock,
    run: async (attempt): Promise<AttemptOutcome> => {
      attempts.push(attempt)
      begin()
      block(3 * LEASE_MS)
      return { kind: 'completed', result: Buffer.from('1') }
    },
    onChanged: () => undefined,
    onError: (_message, error) => errors.push(error),
    tools: ['work'],
    queues: [queue],
    handlerRevisions: [],
    concurrency: 1,
    leaseMs: LEASE_MS,
    pollMs: 100,
  })
  const { taken, begin } = await rival(url)
  const id = await add(store)
  closing.push(() => worker.drain(0))
  await worker.start()
  await until('The end', 10_000, async () => (await store.get(id, 'ann'))!.state === 'completed')
  expect(await store.get(id, 'ann')).toMatchObject({ fence: 1, doneFence: 1 })
  expect(taken).toEqual([])
  expect(attempts.map(({ signal }) => signal.aborted)).toEqual([false])
}, 60_000)

test('a store that can not be opened in the thread is an error at the start, with its reason', async () => {
  const { store } = await open('sqlite')
  await expect(keep(`sqlite:${dir}`, store)).rejects.toMatchObject({ code: 'backend_failed' })
  await expect(keep('mysql://x', store)).rejects.toMatchObject({ code: 'invalid_option' })
})

test('a store in memory, and one given as an instance, are kept from the loop', async () => {
  const { store } = await open('sqlite')
  expect(await keep('sqlite::memory:', store)).toBeInstanceOf(LoopLeaseKeeper)
  expect(await keep(undefined as unknown as string, store)).toBeInstanceOf(LoopLeaseKeeper)
})

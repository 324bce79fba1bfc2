import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Artifacts } from '../../src/artifacts/artifacts.ts'
import { Collector } from '../../src/artifacts/collector.ts'
import { sealTask } from '../../src/artifacts/keys.ts'
import { MemoryArtifactStore } from '../../src/backends/memory/artifact-store.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { createKeyRing, generateKeys, type KeyRing } from '../../src/kernel/key-ring.ts'
import type { ClaimedTask } from '../../src/ports/task-store.ts'
import { defineServer, defineTool } from '../../src/index.ts'
import { connect, FakeClock } from '../../src/testing/index.ts'
import { ReferenceTaskStore } from '../../src/testing/reference-task-store.ts'
import { newTask } from '../support/new-task.ts'

const HOUR_MS = 3_600_000
const owner = 'o'.repeat(22)
let clock: FakeClock
let store: MemoryArtifactStore
let artifacts: Artifacts
let tasks: ReferenceTaskStore
let state: MemoryStateStore
let failures: string[]
let used: number
let collectors: Collector[]
let keys: KeyRing
beforeEach(() => {
  clock = new FakeClock()
  store = new MemoryArtifactStore(clock)
  tasks = new ReferenceTaskStore(clock)
  state = new MemoryStateStore(clock)
  failures = []
  used = 0
  collectors = []
  keys = createKeyRing(generateKeys())
  artifacts = new Artifacts({
    open: async () => store,
    maxArtifactBytes: 1000,
    keys,
    clock,
    endpoint: () => undefined,
    onUsed: () => used++,
  })
})
afterEach(async () => {
  await Promise.all(collectors.map((collector) => collector.close()))
  await artifacts.close()
})

function collectorOf(longestAttemptMs: number | undefined = HOUR_MS): Collector {
  const collector = new Collector({
    artifacts,
    tasks: longestAttemptMs === undefined ? undefined : { store: tasks, longestAttemptMs },
    callTtlMs: 24 * HOUR_MS,
    state,
    clock,
    telemetry: { count: () => undefined, failure: (_operation, message) => void failures.push(message) },
  })
  collectors.push(collector)
  return collector
}
const kept = async (): Promise<string[]> => (await store.list('')).objects.map(({ key }) => key)
const put = async (place: Parameters<Artifacts['put']>[0]): Promise<string> =>
  (await artifacts.put(place, 'x', { name: 'x', mimeType: 'text/plain' })).key

async function claimed(leaseMs = 1000 * HOUR_MS): Promise<ClaimedTask> {
  const id = randomUUID()
  await tasks.create(newTask({ id, owner, queue: id, retentionMs: 10 * HOUR_MS }))
  return claim(id, leaseMs)
}
const claim = async (queue: string, leaseMs = 1000 * HOUR_MS): Promise<ClaimedTask> =>
  (
    await tasks.claim({
      worker: 'w',
      token: randomUUID(),
      queue,
      tools: ['work'],
      handlerRevisions: [],
      limit: 1,
      leaseMs,
    })
  )[0]!
const placeOf = ({ id, fence }: ClaimedTask) => ({ owner, sealedTask: sealTask(keys, id), fence })

test('what a call wrote is kept for its time, and goes then', async () => {
  const key = await put({ owner, requestId: 'r' })
  await clock.advance(24 * HOUR_MS)
  expect(await collectorOf().collect()).toBe(0)
  const younger = await put({ owner, requestId: 'r' })
  await clock.advance(1)
  expect(await collectorOf().collect()).toBe(1)
  expect(await kept()).toEqual([younger])
  expect(key).not.toBe(younger)
})

test('what a task names lives as long as its records, whichever attempt wrote it; the rest goes once it is older than any attempt', async () => {
  const first = await claimed()
  const step = await put(placeOf(first))
  const value = await artifacts.putValue({ owner, taskId: first.id, fence: first.fence }, Buffer.from('x'))
  const dropped = await put(placeOf(first))
  await tasks.recordStep({ ...first, name: 'a', value: Buffer.from('1'), leaseMs: HOUR_MS, artifacts: [step, value] })
  await tasks.retry(first.id, first.fence, 0)
  await tasks.sweep({
    limit: 10,
    expiredError: Buffer.from(''),
    lostError: Buffer.from(''),
    expiredAnswer: Buffer.from('null'),
    crashBackoffMs: 1,
    overdueMs: 1,
  })
  const second = await claim(first.queue)
  expect(second.fence).toBeGreaterThan(first.fence)
  const result = await put(placeOf(second))
  const stale = await put(placeOf(first)) // a worker that was paused has written on
  await tasks.finish([
    { id: second.id, fence: second.fence, state: 'completed', result: Buffer.from('{}'), artifacts: [result] },
  ])
  await clock.advance(2 * HOUR_MS)
  expect(await collectorOf().collect()).toBe(0) // an hour for an attempt, and one for good measure
  await clock.advance(1)
  expect(await collectorOf().collect()).toBe(2)
  expect(await kept()).toEqual([step, value, result].toSorted())
  expect([dropped, stale]).toHaveLength(2)
  await clock.advance(8 * HOUR_MS)
  await tasks.sweep({
    limit: 10,
    expiredError: Buffer.from(''),
    lostError: Buffer.from(''),
    expiredAnswer: Buffer.from('null'),
    crashBackoffMs: 1,
    overdueMs: 1,
  })
  expect(await tasks.get(first.id, owner)).toBeUndefined()
  expect(await collectorOf().collect()).toBe(3)
  expect(await kept()).toEqual([])
})

test('nothing goes while the attempt that wrote it has the task, however old it is', async () => {
  const task = await claimed()
  const key = await put(placeOf(task))
  await clock.advance(500 * HOUR_MS)
  expect(await collectorOf().collect()).toBe(0)
  await tasks.finish([
    { id: task.id, fence: task.fence, state: 'completed', result: Buffer.from('{}'), artifacts: [key] },
  ])
  expect(await collectorOf().collect()).toBe(0)
  expect(await kept()).toEqual([key])
})

test('without a task store, and where it does not answer, nothing of tasks goes; nor does what is not ours', async () => {
  const task = await claimed()
  const key = await put(placeOf(task))
  await store.put('other/thing', [Buffer.from('x')], { maxBytes: 1 })
  await tasks.finish([{ id: task.id, fence: task.fence, state: 'cancelled' }])
  await clock.advance(1000 * HOUR_MS)
  const alone = new Collector({
    artifacts,
    tasks: undefined,
    callTtlMs: HOUR_MS,
    state,
    clock,
    telemetry: { count: () => undefined, failure: () => undefined },
  })
  expect(await alone.collect()).toBe(0)
  tasks.namedArtifacts = () => Promise.reject(new Error('away'))
  await expect(collectorOf().collect()).rejects.toThrow('away')
  expect(await kept()).toEqual(['other/thing', key])
})

test('goes through more than one page', async () => {
  for (let index = 0; index < 1500; index++) await put({ owner, requestId: `r${index % 7}` })
  await clock.advance(25 * HOUR_MS)
  expect(await collectorOf().collect()).toBe(1500)
  expect(await kept()).toEqual([])
})

test('runs about once an hour, one of many at a time, goes on after a failure, and stops', async () => {
  let runs = 0
  const list = store.list.bind(store)
  store.list = async (...args) => {
    runs++
    if (runs === 1) throw new Error('away')
    return list(...args)
  }
  for (let node = 0; node < 3; node++) collectorOf().start()
  await clock.advance(90 * 60_000)
  expect(runs).toBeGreaterThan(0)
  expect(failures).toEqual(['Artifacts that nobody needs could not be collected.'])
  const before = runs
  await put({ owner, requestId: 'r' })
  await clock.advance(26 * HOUR_MS)
  expect(await kept()).toEqual([])
  expect(runs).toBeGreaterThan(before + 10)
  await Promise.all(collectors.map((collector) => collector.close()))
  const after = runs
  await clock.advance(10 * HOUR_MS)
  expect(runs).toBe(after)
})

test('a process that has come to use artifacts is told so once, and is none that was refused', async () => {
  const unlucky = new Artifacts({
    open: () => Promise.reject(new Error('away')),
    maxArtifactBytes: 1,
    keys,
    clock,
    endpoint: () => undefined,
    onUsed: () => used++,
  })
  await expect(unlucky.store()).rejects.toThrow('away')
  expect(used).toBe(0)
  await put({ owner, requestId: 'r' })
  await put({ owner, requestId: 'r' })
  expect(used).toBe(1)
})

test('a runtime in which nobody uses artifacts never opens their store; from the first use on it collects', async () => {
  const lists = vi.spyOn(store, 'list')
  const write = defineTool({
    name: 'write',
    description: 'Writes',
    run: (_args, ctx) => ctx.artifacts.put('x', { name: 'x' }),
  })
  await using client = await connect(defineServer({ name: 's', version: '1', tools: [write] }), {
    runtime: { artifacts: store, clock },
  })
  await clock.advance(10 * HOUR_MS)
  expect(lists).not.toHaveBeenCalled()
  await client.callTool('write')
  await clock.advance(26 * HOUR_MS)
  expect(lists).toHaveBeenCalled()
  expect(await kept()).toEqual([])
})

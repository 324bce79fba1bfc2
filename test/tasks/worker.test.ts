import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { MemoryTaskQueue } from '../../src/backends/memory/task-queue.ts'
import type { NewTask, Task } from '../../src/ports/task-store.ts'
import { LoopLeaseKeeper } from '../../src/tasks/lease-keeper.ts'
import { Worker, type Attempt, type AttemptOutcome } from '../../src/tasks/worker.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { ReferenceTaskStore } from '../../src/testing/reference-task-store.ts'
import { STANDING } from '../support/standing.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const done: AttemptOutcome = { kind: 'completed', result: bytes('"done"') }

let clock: FakeClock
let store: ReferenceTaskStore
let queue: MemoryTaskQueue
let workers: { worker: Worker; keeper: LoopLeaseKeeper }[]
let errors: unknown[]

beforeEach(() => {
  clock = new FakeClock()
  store = new ReferenceTaskStore(clock)
  queue = new MemoryTaskQueue((error) => errors.push(error))
  workers = []
  errors = []
})
afterEach(async () => {
  for (const { worker, keeper } of workers) {
    const draining = worker.drain(0)
    await clock.advance(10)
    await draining
    await keeper.close()
  }
})

async function start(
  run: (attempt: Attempt) => Promise<AttemptOutcome>,
  more: {
    concurrency?: number
    name?: string
    store?: ReferenceTaskStore
    toolConcurrency?: Map<string, number>
    onStuck?: () => void
  } = {},
): Promise<Worker> {
  const { name = `worker-${workers.length}`, concurrency = 2 } = more
  const onError = (error: unknown): void => void errors.push(error)
  const keeper = new LoopLeaseKeeper({
    store: more.store ?? store,
    worker: name,
    times: { leaseMs: 30_000, renewMs: 10_000 },
    clock,
    onError,
  })
  const worker = new Worker({
    name,
    store: more.store ?? store,
    queue,
    topology: STANDING,
    keeper,
    clock,
    run,
    onChanged: () => undefined,
    onError: (_message, error) => errors.push(error),
    tools: ['work', 'other'],
    ...(more.toolConcurrency === undefined ? {} : { toolConcurrency: more.toolConcurrency }),
    ...(more.onStuck === undefined ? {} : { onStuck: more.onStuck }),
    queues: ['q'],
    handlerRevisions: [],
    concurrency,
    leaseMs: 30_000,
    pollMs: 5_000,
  })
  workers.push({ worker, keeper })
  await worker.start()
  await settle()
  return worker
}
const settle = async (): Promise<void> => {
  for (let index = 0; index < 10; index++) await turn()
}

async function add(more: Partial<NewTask> = {}): Promise<string> {
  const { task } = await store.create({
    id: randomUUID(),
    owner: 'ann',
    tool: 'work',
    queue: 'q',
    maxAttempts: 3,
    maxCrashes: 2,
    failsWhenLost: false,
    ttlMs: undefined,
    retentionMs: 3_600_000,
    argsDigest: bytes(''),
    args: bytes('{}'),
    caller: bytes(''),
    ...more,
  })
  return task.id
}
const read = async (id: string): Promise<Task> => (await store.get(id, 'ann'))!
const ring = async (...ids: string[]): Promise<void> => {
  await queue.ring('q', ids)
  await settle()
}

test('a bell brings a task to its end', async () => {
  await start(async () => done)
  const id = await add()
  await ring(id)
  expect(await read(id)).toMatchObject({ state: 'completed', doneFence: 1 })
})

test('without a bell a task is found by looking', async () => {
  await start(async () => done)
  const id = await add()
  await clock.advance(7_500)
  await settle()
  expect((await read(id)).state).toBe('completed')
})

test('no more tasks run at once than there are slots, and the rest follow without a bell', async () => {
  let running = 0
  let most = 0
  const gates: PromiseWithResolvers<void>[] = []
  const worker = await start(
    async () => {
      most = Math.max(most, ++running)
      const gate = Promise.withResolvers<void>()
      gates.push(gate)
      await gate.promise
      running--
      return done
    },
    { concurrency: 3 },
  )
  const ids = await Promise.all(Array.from({ length: 10 }, () => add()))
  await ring(...ids)
  expect(worker.running).toBe(3)
  while (gates.length > 0) {
    gates.shift()!.resolve()
    await settle()
  }
  expect(most).toBe(3)
  for (const id of ids) expect((await read(id)).state).toBe('completed')
})

test('leases are renewed while a handler runs, however long', async () => {
  const gate = Promise.withResolvers<void>()
  await start(async () => {
    await gate.promise
    return done
  })
  const id = await add()
  await ring(id)
  for (let round = 0; round < 20; round++) {
    await clock.advance(10_000)
    await store.sweep({
      limit: 10,
      expiredError: bytes(''),
      lostError: bytes(''),
      expiredAnswer: bytes('null'),
      crashBackoffMs: 1,
      overdueMs: 1e9,
    })
  }
  expect((await read(id)).state).toBe('leased')
  gate.resolve()
  await settle()
  expect(await read(id)).toMatchObject({ state: 'completed', fence: 1 })
})

test('a worker that cannot reach its store stops its handler before another may have the task', async () => {
  class Cut extends ReferenceTaskStore {
    isCut = false
    override heartbeat(
      ...args: Parameters<ReferenceTaskStore['heartbeat']>
    ): ReturnType<ReferenceTaskStore['heartbeat']> {
      return this.isCut ? Promise.reject(new Error('cut off')) : super.heartbeat(...args)
    }
  }
  const cut = new Cut(clock)
  store = cut
  let abortedMs: number | undefined
  await start(
    async ({ signal }) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
      abortedMs = clock.monotonic()
      return done
    },
    { store: cut },
  )
  const id = await add()
  await ring(id)
  const startedMs = clock.monotonic()
  cut.isCut = true
  for (let round = 0; round < 40; round++) await clock.advance(1_000)
  expect(abortedMs! - startedMs).toBeLessThanOrEqual(30_000)
  expect(await read(id)).toMatchObject({ state: 'leased', fence: 1 }) // what it returned was not written
})

test('a cancel reaches the handler, which ends the task', async () => {
  await start(async ({ signal }) => {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    return { kind: 'cancelled' }
  })
  const id = await add()
  await ring(id)
  expect(await store.cancel(id, 'ann')).toBe('signalled')
  await clock.advance(10_000)
  await settle()
  expect((await read(id)).state).toBe('cancelled')
})

test('a drain lets handlers end, and gives back what did not', async () => {
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let index = 0
  const worker = await start(async ({ signal }) => {
    const gate = gates[index++]!
    const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    await Promise.race([gate.promise, aborted])
    return signal.aborted ? { kind: 'released' } : done
  })
  const ids = [await add(), await add()]
  await ring(...ids)
  const draining = worker.drain(10_000)
  const late = await add()
  gates[0]!.resolve()
  await settle()
  await clock.advance(10_000)
  await draining
  await worker.idle()
  const states = await Promise.all(ids.map(async (id) => (await read(id)).state))
  expect(states.toSorted()).toEqual(['completed', 'ready'])
  expect(await read(late)).toMatchObject({ state: 'ready', fence: 0 })
})

test('an end whose reply was lost is known by its fence, and told', async () => {
  class Forgetful extends ReferenceTaskStore {
    finishes = 0
    override async finish(...args: Parameters<ReferenceTaskStore['finish']>): ReturnType<ReferenceTaskStore['finish']> {
      const results = await super.finish(...args)
      if (this.finishes++ === 0) throw new Error('the reply was lost')
      return results
    }
  }
  const forgetful = new Forgetful(clock)
  store = forgetful
  await start(async () => done, { store: forgetful })
  const id = await add()
  await ring(id)
  await clock.advance(1_000)
  await settle()
  expect(await read(id)).toMatchObject({ state: 'completed', doneFence: 1 })
  expect(forgetful.finishes).toBe(2)
})

test('an attempt is tried again after its wait, and parks until it is answered; what it reported last is kept with it', async () => {
  const seen: string[] = []
  await start(async ({ task, recordStep, report }) => {
    seen.push(`attempt ${task.attempts}, journal ${task.journal.map(({ name }) => name).join(' ')}`)
    if (task.attempts === 0) {
      report('busy')
      return { kind: 'retry', runAfterMs: 1_000 }
    }
    if (task.journal.length === 0) {
      report('half way')
      report('when?')
      expect(await recordStep('s', bytes('1'))).toBe('recorded')
      return { kind: 'asked', asks: [{ name: 'q', request: bytes('?') }], expireAfterMs: 60_000 }
    }
    return done
  })
  const sweep = (): Promise<unknown> =>
    store.sweep({
      limit: 10,
      expiredError: bytes(''),
      lostError: bytes(''),
      expiredAnswer: bytes('null'),
      crashBackoffMs: 1,
      overdueMs: 1e9,
    })
  const id = await add()
  await ring(id)
  expect(await read(id)).toMatchObject({ state: 'parked', statusMessage: 'busy' })
  await clock.advance(1_100)
  await sweep()
  await ring(id)
  expect(await read(id)).toMatchObject({ asks: [{ name: 'q' }], statusMessage: 'when?' })
  await store.answer(id, 'ann', [{ name: 'q', value: bytes('!') }])
  await ring(id)
  expect((await read(id)).state).toBe('completed')
  expect(seen).toEqual(['attempt 0, journal ', 'attempt 1, journal ', 'attempt 1, journal s q'])
})

/** Attempts that end when the test says so. */
class Gated {
  readonly most: Record<string, number> = {}
  readonly order: string[] = []
  readonly running: { tool: string; id: string; end: () => void }[] = []
  readonly run = async ({ task }: Attempt): Promise<AttemptOutcome> => {
    const gate = Promise.withResolvers<void>()
    this.order.push(task.tool)
    const mine = { tool: task.tool, id: task.id, end: () => gate.resolve() }
    this.running.push(mine)
    this.most[task.tool] = Math.max(this.most[task.tool] ?? 0, this.of(task.tool).length)
    await gate.promise
    this.running.splice(this.running.indexOf(mine), 1)
    return done
  }
  of(tool: string): { id: string; end: () => void }[] {
    return this.running.filter((one) => one.tool === tool)
  }
}
const addMany = (count: number, tool: string): Promise<string[]> =>
  Promise.all(Array.from({ length: count }, () => add({ tool })))

test('a tool at its bound keeps no slot from the others, whatever lies before them in the queue', async () => {
  const gated = new Gated()
  const worker = await start(gated.run, { concurrency: 4, toolConcurrency: new Map([['work', 1]]) })
  const bounded = await addMany(20, 'work')
  await clock.advance(100)
  const others = await addMany(30, 'other')
  await ring(...bounded, ...others)
  expect(worker.running).toBe(4)
  expect(gated.of('work')).toHaveLength(1)
  while (gated.of('other').length > 0) {
    gated.of('other')[0]!.end()
    await settle()
  }
  for (const id of others) expect((await read(id)).state).toBe('completed')
  expect(gated.of('work')).toHaveLength(1)
  while (gated.running.length > 0) {
    gated.running[0]!.end()
    await settle()
  }
  for (const id of bounded) expect((await read(id)).state).toBe('completed')
  expect(gated.most).toEqual({ work: 1, other: 3 })
})

test('a tool below its bound takes its turn in the queue, and the others have the slots that it leaves', async () => {
  const gated = new Gated()
  await start(gated.run, { concurrency: 3, toolConcurrency: new Map([['work', 2]]) })
  const first = await addMany(6, 'other')
  await clock.advance(100)
  const bounded = await addMany(3, 'work')
  await clock.advance(100)
  const others = await addMany(24, 'other')
  await ring(...first, ...bounded, ...others)
  for (let ended = 0; ended < 33; ended++) {
    gated.running[0]!.end()
    await settle()
  }
  for (const id of [...first, ...bounded, ...others]) expect((await read(id)).state).toBe('completed')
  expect(gated.order.lastIndexOf('work')).toBeLessThan(15)
  expect(gated.most['other']).toBe(3)
  expect(gated.most['work']).toBeLessThanOrEqual(2)
})

test('where every tool is at its bound nothing is asked for until one of its slots is free', async () => {
  let claims = 0
  class Counting extends ReferenceTaskStore {
    override claim(...args: Parameters<ReferenceTaskStore['claim']>): ReturnType<ReferenceTaskStore['claim']> {
      claims++
      return super.claim(...args)
    }
  }
  store = new Counting(clock)
  const gated = new Gated()
  const toolConcurrency = new Map([
    ['work', 1],
    ['other', 2],
  ])
  await start(gated.run, { concurrency: 10, toolConcurrency, store })
  const ids = [...(await addMany(3, 'work')), ...(await addMany(5, 'other'))]
  await ring(...ids)
  expect(gated.running.map(({ tool }) => tool).toSorted()).toEqual(['other', 'other', 'work'])
  const before = claims
  await ring(...ids)
  await clock.advance(20_000)
  expect(claims).toBe(before)
  while (gated.running.length > 0) {
    gated.running[0]!.end()
    await settle()
  }
  for (const id of ids) expect((await read(id)).state).toBe('completed')
  expect(gated.most).toEqual({ work: 1, other: 2 })
})

test('a handler that ignores that it was told to stop keeps its slot until it ends, though its task goes on without it', async () => {
  const handler = Promise.withResolvers<void>()
  let stuck = 0
  const worker = await start(
    async ({ task, keepSlot }) => {
      if (task.tool === 'other') return done
      keepSlot(handler.promise)
      return { kind: 'retry', runAfterMs: 3_600_000 }
    },
    { concurrency: 2, onStuck: () => stuck++, toolConcurrency: new Map([['work', 1]]) },
  )
  const ids = await addMany(2, 'work')
  await ring(...ids)
  const others = await addMany(5, 'other')
  await ring(...others)
  expect([worker.running, worker.abandoned]).toEqual([0, 1])
  // The tool has one slot, which is not free: the second task waits, the other tool's do not.
  expect((await Promise.all(ids.map(read))).map(({ state }) => state).toSorted()).toEqual(['parked', 'ready'])
  for (const id of others) expect((await read(id)).state).toBe('completed')
  expect(stuck).toBe(0)
  await clock.advance(10_000)
  expect(stuck).toBe(1)
  handler.resolve()
  await settle()
  expect((await Promise.all(ids.map(read))).map(({ state }) => state)).toEqual(['parked', 'parked'])
})

test('handlers that stop late, but before long, are no reason to start the process anew', async () => {
  const handler = Promise.withResolvers<void>()
  let stuck = 0
  const worker = await start(
    async ({ keepSlot }) => {
      keepSlot(handler.promise)
      return { kind: 'cancelled' }
    },
    { concurrency: 1, onStuck: () => stuck++ },
  )
  await ring(await add())
  expect(worker.abandoned).toBe(1)
  await clock.advance(9_000)
  handler.reject(new Error('too late'))
  await settle()
  await clock.advance(60_000)
  expect([worker.abandoned, stuck]).toEqual([0, 0])
})

test('an attempt whose thread or process has died is charged as a crash, without a wait for the end of its lease', async () => {
  await start(async ({ task }) => (task.crashes < 2 ? { kind: 'crashed' } : done))
  const id = await add()
  for (let crashes = 0; crashes < 2; crashes++) {
    await ring(id)
    expect(await read(id)).toMatchObject({ state: 'leased', crashes })
    await clock.advance(10)
    await store.sweep({
      limit: 10,
      expiredError: bytes(''),
      lostError: bytes(''),
      expiredAnswer: bytes('null'),
      crashBackoffMs: 0,
      overdueMs: 1e9,
    })
    expect(await read(id)).toMatchObject({ crashes: crashes + 1 })
    await clock.advance(10)
    await store.sweep({
      limit: 10,
      expiredError: bytes(''),
      lostError: bytes(''),
      expiredAnswer: bytes('null'),
      crashBackoffMs: 0,
      overdueMs: 1e9,
    })
  }
  await ring(id)
  expect((await read(id)).state).toBe('completed')
})

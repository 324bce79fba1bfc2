import { expect, test } from 'vitest'
import { ReferenceTaskStore } from '../../src/testing/reference-task-store.ts'
import { add, at, bytes, done, read, ring, settle, start } from './worker-bench.ts'

test('a bell brings a task to its end', async () => {
  await start(async () => done)
  const id = await add()
  await ring(id)
  expect(await read(id)).toMatchObject({ state: 'completed', doneFence: 1 })
})

test('without a bell a task is found by looking', async () => {
  await start(async () => done)
  const id = await add()
  await at.clock.advance(7_500)
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
    await at.clock.advance(10_000)
    await at.store.sweep({
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
  const cut = new Cut(at.clock)
  at.store = cut
  let abortedMs: number | undefined
  await start(async ({ signal }) => {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    abortedMs = at.clock.monotonic()
    return done
  })
  const id = await add()
  await ring(id)
  const startedMs = at.clock.monotonic()
  cut.isCut = true
  for (let round = 0; round < 40; round++) await at.clock.advance(1_000)
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
  expect(await at.store.cancel(id, 'ann')).toBe('signalled')
  await at.clock.advance(10_000)
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
  await at.clock.advance(10_000)
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
  const forgetful = new Forgetful(at.clock)
  at.store = forgetful
  await start(async () => done)
  const id = await add()
  await ring(id)
  await at.clock.advance(1_000)
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
    at.store.sweep({
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
  await at.clock.advance(1_100)
  await sweep()
  await ring(id)
  expect(await read(id)).toMatchObject({ asks: [{ name: 'q' }], statusMessage: 'when?' })
  await at.store.answer(id, 'ann', [{ name: 'q', value: bytes('!') }])
  await ring(id)
  expect((await read(id)).state).toBe('completed')
  expect(seen).toEqual(['attempt 0, journal ', 'attempt 1, journal ', 'attempt 1, journal s q'])
})

test('an attempt whose thread or process has died is charged as a crash, without a wait for the end of its lease', async () => {
  await start(async ({ task }) => (task.crashes < 2 ? { kind: 'crashed' } : done))
  const id = await add()
  for (let crashes = 0; crashes < 2; crashes++) {
    await ring(id)
    expect(await read(id)).toMatchObject({ state: 'leased', crashes })
    await at.clock.advance(10)
    await at.store.sweep({
      limit: 10,
      expiredError: bytes(''),
      lostError: bytes(''),
      expiredAnswer: bytes('null'),
      crashBackoffMs: 0,
      overdueMs: 1e9,
    })
    expect(await read(id)).toMatchObject({ crashes: crashes + 1 })
    await at.clock.advance(10)
    await at.store.sweep({
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

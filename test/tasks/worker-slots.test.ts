import { expect, test } from 'vitest'
import type { Attempt, AttemptOutcome } from '../../src/tasks/worker.ts'
import { ReferenceTaskStore } from '../../src/testing/reference-task-store.ts'
import { add, at, done, read, ring, settle, start } from './worker-bench.ts'

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
  await at.clock.advance(100)
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
  await at.clock.advance(100)
  const bounded = await addMany(3, 'work')
  await at.clock.advance(100)
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
  at.store = new Counting(at.clock)
  const gated = new Gated()
  const toolConcurrency = new Map([
    ['work', 1],
    ['other', 2],
  ])
  await start(gated.run, { concurrency: 10, toolConcurrency })
  const ids = [...(await addMany(3, 'work')), ...(await addMany(5, 'other'))]
  await ring(...ids)
  expect(gated.running.map(({ tool }) => tool).toSorted()).toEqual(['other', 'other', 'work'])
  const before = claims
  await ring(...ids)
  await at.clock.advance(20_000)
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
  await at.clock.advance(10_000)
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
  await at.clock.advance(9_000)
  handler.reject(new Error('too late'))
  await settle()
  await at.clock.advance(60_000)
  expect([worker.abandoned, stuck]).toEqual([0, 0])
})

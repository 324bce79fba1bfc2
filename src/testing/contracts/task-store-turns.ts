import assert from 'node:assert/strict'
import type { ClaimedTask, NewTask } from '../../ports/task-store.ts'
import type { TestRunner } from './suite.ts'
import { bytes, SHORT_MS, type TaskBench } from './task-bench.ts'

/** So many tasks put an owner's next one back by more than a test takes. */
const MANY = 20

/** Whose turn it is: tasks of an owner who has many at work come after those of others, however they became ready. */
export function taskStoreTurns(test: TestRunner['test'], bench: () => TaskBench): void {
  const claim = (limit = 1, tool = 'work'): Promise<readonly ClaimedTask[]> => bench().claim({ tools: [tool], limit })
  /** Gives the owner many ready tasks of another tool, in the same queue. */
  const fill = async (): Promise<void> => {
    for (let index = 0; index < MANY; index++) await bench().add({ tool: 'other' })
  }
  /** Somebody else's task, created only now, comes first. */
  const comesAfterOthers = async (id: string): Promise<void> => {
    const { add, owner } = bench()
    const polite = await add({ owner: `${owner}-polite` })
    assert.deepEqual(
      (await claim(2)).map((task) => task.id),
      [polite, id],
    )
  }

  test('owners take turns: one task of somebody comes before the twentieth of another', async () => {
    const { add } = bench()
    await fill()
    await comesAfterOthers(await add())
  })

  test('what is leased counts too', async () => {
    const { add } = bench()
    await fill()
    assert.equal((await claim(MANY, 'other')).length, MANY)
    await comesAfterOthers(await add())
  })

  test('a task that an answer makes ready takes its turn like a new one', async () => {
    const { store, owner, add } = bench()
    const id = await add()
    const [task] = await claim()
    await store.park(id, task!.fence, { asks: [{ name: 'q', request: bytes('?') }] })
    await fill()
    assert.equal((await store.answer(id, owner, [{ name: 'q', value: bytes('!') }]))?.state, 'ready')
    await comesAfterOthers(id)
  })

  test('a task that time makes ready takes its turn like a new one: after a delay, a retry, or without an answer', async () => {
    const { store, pass, add, sweep } = bench()
    const ways = {
      delay: () => add({ delayMs: SHORT_MS }),
      retry: async () => {
        const id = await add()
        const [task] = await claim()
        await store.retry(id, task!.fence, SHORT_MS)
        return id
      },
      silence: async () => {
        const id = await add()
        const [task] = await claim()
        await store.park(id, task!.fence, { asks: [{ name: 'q', request: bytes('?') }], expireAfterMs: SHORT_MS })
        return id
      },
    }
    await fill()
    for (const way of Object.values(ways)) {
      const id = await way()
      await pass(SHORT_MS + 20)
      await sweep()
      await comesAfterOthers(id)
    }
  })

  test('of tasks of one owner the one of less weight waits longer, however both became ready', async () => {
    const { store, owner, pass, add, sweep } = bench()
    await fill()
    // Told apart by so much that nothing a slow machine does between two calls changes their order.
    const pair = async (more: Partial<NewTask> = {}): Promise<string[]> => {
      const light = await add({ weight: 0.001, ...more })
      return [await add(more), light]
    }
    const claimed = async (): Promise<string[]> => (await claim(2)).map(({ id }) => id)
    assert.deepEqual(await pair(), await claimed())

    const delayed = await pair({ delayMs: SHORT_MS })
    await pass(SHORT_MS + 20)
    await sweep()
    assert.deepEqual(delayed, await claimed())

    const asking = await pair()
    for (const { id, fence } of await claim(2))
      await store.park(id, fence, { asks: [{ name: 'q', request: bytes('?') }] })
    for (const id of asking.toReversed()) await store.answer(id, owner, [{ name: 'q', value: bytes('!') }])
    assert.deepEqual(asking, await claimed())
  })

  test('what is parked competes for nothing, and does not count', async () => {
    const { owner, add } = bench()
    for (let index = 0; index < MANY; index++) await add({ tool: 'other', delayMs: 3_600_000 })
    const first = await add()
    const second = await add({ owner: `${owner}-polite` })
    assert.deepEqual(
      (await claim(2)).map(({ id }) => id),
      [first, second],
    )
  })

  test('whether a queue is over a bound is said by what is ready in it', async () => {
    const { store, queue, add } = bench()
    assert.equal(await store.isOver(queue, 0), false)
    for (let index = 0; index < 5; index++) await add()
    await add({ queue: `${queue}-2` })
    await add({ delayMs: 3_600_000 })
    for (const [bound, isOver] of [
      [0, true],
      [4, true],
      [5, false],
      [1_000_000, false],
    ] as const)
      assert.equal(await store.isOver(queue, bound), isOver, `${bound}`)
    await claim(1)
    assert.equal(await store.isOver(queue, 4), false)
  })
}

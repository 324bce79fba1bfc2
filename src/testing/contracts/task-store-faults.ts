import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { ClaimedTask, TaskStore } from '../../ports/task-store.ts'
import { seededFaults, type OperationFault } from '../faults/plan.ts'
import { FaultyTaskStore } from '../faults/task-store.ts'
import type { TestRunner } from './suite.ts'
import { bytes, LEASE_MS, TaskBench, text, type TaskStoreFixture } from './task-bench.ts'

const failed = { code: 'backend_failed' }
/** Far more than faults of every third operation need. */
const MAX_ATTEMPTS = 2000

/**
 * What a caller of any {@link TaskStore} may rely on when operations fail, and above all when they were carried out and the answer
 * was lost: how it finds out, and what trying again does.
 */
export function taskStoreFaultContract(
  runner: TestRunner,
  name: string,
  create: () => Promise<TaskStoreFixture>,
): void {
  const { describe, test, beforeEach, afterEach } = runner
  describe(`task store contract under faults: ${name}`, () => {
    /** The store as a caller sees it, and behind the faults. */
    let store: FaultyTaskStore
    let sure: TaskStore
    let fault: OperationFault | undefined
    let bench: TaskBench
    beforeEach(async () => {
      bench = new TaskBench(await create())
      sure = bench.store
      fault = undefined
      store = new FaultyTaskStore(sure, () => fault)
    })
    afterEach(() => store.close())

    const claim = (from: TaskStore, worker: string, token: string): Promise<readonly ClaimedTask[]> =>
      from.claim({
        worker,
        token,
        queue: bench.queue,
        tools: ['work'],
        handlerRevisions: [],
        limit: 3,
        leaseMs: LEASE_MS,
      })
    const claimed = async (): Promise<ClaimedTask> => {
      await sure.create(bench.newTask())
      return (await claim(sure, 'worker-1', randomUUID()))[0]!
    }
    /** Does something under a fault, which must make it fail. */
    const failing = async (kind: OperationFault, act: () => Promise<unknown>): Promise<void> => {
      fault = kind
      await assert.rejects(act(), failed)
      fault = undefined
    }

    test('what fails before it is carried out has changed nothing, and succeeds when tried again', async () => {
      const task = bench.newTask()
      const token = randomUUID()
      const end = { id: task.id, fence: 1, state: 'completed' as const }
      const acts: [act: () => Promise<unknown>, check: (outcome: never) => boolean][] = [
        [() => store.create(task), ({ created }: { created: boolean }) => created],
        [() => claim(store, 'w', token), ([one]: ClaimedTask[]) => one?.fence === 1],
        [
          () => store.recordStep({ id: task.id, fence: 1, name: 's', value: bytes('1'), leaseMs: LEASE_MS }),
          (outcome: string) => outcome === 'recorded',
        ],
        [() => store.finish([end]), ([outcome]: string[]) => outcome === 'done'],
      ]
      for (const [act, check] of acts) {
        await failing('error-before', act)
        assert.ok(check((await act()) as never))
      }
    })

    test('a creation whose answer was lost gives the same task when tried again, also by its idempotency key', async () => {
      const task = bench.newTask({ idempotencyKey: 'key' })
      await failing('time-out-after', () => store.create(task))
      const again = await store.create({ ...task, id: randomUUID() })
      assert.deepEqual([again.created, again.task.id], [false, task.id])
    })

    test('a claim whose answer was lost gives the same tasks when tried again with its token', async () => {
      await sure.create(bench.newTask())
      const token = randomUUID()
      await failing('time-out-after', () => claim(store, 'worker-1', token))
      assert.deepEqual(await claim(store, 'worker-2', randomUUID()), [])
      assert.deepEqual(
        (await claim(store, 'worker-1', token)).map(({ fence }) => fence),
        [1],
      )
    })

    test('a step whose answer was lost exists when tried again, with the value that was sent first', async () => {
      const { id, fence } = await claimed()
      const record = (value: string) =>
        store.recordStep({ id, fence, name: 'step', value: bytes(value), leaseMs: LEASE_MS })
      await failing('time-out-after', () => record('first'))
      assert.equal(await record('second'), 'exists')
      await sure.release([{ id, fence }])
      const [again] = await claim(sure, 'worker-1', randomUUID())
      assert.equal(text(again!.journal[0]!.value), 'first')
    })

    test('an end whose answer was lost is lost when tried again, and `doneFence` tells whose it is', async () => {
      const { id, fence } = await claimed()
      const end = { id, fence, state: 'completed' as const, result: bytes('"mine"') }
      await failing('time-out-after', () => store.finish([end]))
      assert.deepEqual(await store.finish([end]), ['lost'])
      const task = (await store.get(id, bench.owner))!
      assert.deepEqual([task.state, task.doneFence, text(task.result)], ['completed', fence, '"mine"'])
    })

    test('a park, a retry and a release whose answers were lost are lost when tried again, and have happened once', async () => {
      const parked = await claimed()
      const asks = [{ name: 'q', request: bytes('?') }]
      await failing('time-out-after', () => store.park(parked.id, parked.fence, { asks }))
      assert.equal(await store.park(parked.id, parked.fence, { asks }), 'lost')
      assert.equal((await sure.get(parked.id, bench.owner))!.asks.length, 1)

      const retried = await claimed()
      await failing('time-out-after', () => store.retry(retried.id, retried.fence, LEASE_MS))
      assert.equal(await store.retry(retried.id, retried.fence, LEASE_MS), 'lost')
      assert.equal((await sure.get(retried.id, bench.owner))!.attempts, 1)

      const released = await claimed()
      await failing('time-out-after', () => store.release([released]))
      assert.deepEqual(await store.release([released]), [])
      assert.equal((await sure.get(released.id, bench.owner))!.state, 'ready')
    })

    test('an answer whose answer was lost is kept when it is sent again', async () => {
      const { id, fence } = await claimed()
      await sure.park(id, fence, { asks: [{ name: 'q', request: bytes('?') }] })
      const answer = (value: string) => store.answer(id, bench.owner, [{ name: 'q', value: bytes(value) }])
      await failing('time-out-after', () => answer('first'))
      assert.deepEqual(await answer('second'), { open: 0, state: 'ready', queue: bench.queue })
      const [again] = await claim(sure, 'worker-1', randomUUID())
      assert.equal(text(again!.journal[0]!.value), 'first')
    })

    test('a cancel whose answer was lost finds the task ended, or signalled as before', async () => {
      const { task } = await sure.create(bench.newTask())
      await failing('time-out-after', () => store.cancel(task.id, bench.owner))
      assert.equal(await store.cancel(task.id, bench.owner), 'ended')
      const held = await claimed()
      await failing('time-out-after', () => store.cancel(held.id, bench.owner))
      assert.equal(await store.cancel(held.id, bench.owner), 'signalled')
    })

    test('clients and workers who lose every third answer end every task once, with every step recorded once', async () => {
      const faults: OperationFault[] = ['error-before', 'time-out-after', { delayMs: 1 }, { delayMs: 5 }]
      let attempts = 0
      const again = async <T>(act: () => Promise<T>): Promise<T> => {
        for (;;)
          try {
            assert.ok(++attempts < MAX_ATTEMPTS, 'an operation does not succeed')
            return await act()
          } catch (error) {
            if ((error as { code?: string }).code !== 'backend_failed') throw error
          }
      }
      const tasks = Array.from({ length: 24 }, () => bench.newTask())
      const ends = new Map<string, number>()
      const work = async (seed: number): Promise<void> => {
        const faulty = new FaultyTaskStore(sure, seededFaults(seed, 0.33, faults))
        for (const task of tasks.filter((_, index) => index % 3 === seed)) await again(() => faulty.create(task))
        while (ends.size < tasks.length) {
          const token = randomUUID()
          for (const { id, fence } of await again(() => claim(faulty, `worker-${seed}`, token))) {
            const value = bytes(`${seed}`)
            const step = { id, fence, name: 'step', value, leaseMs: LEASE_MS }
            assert.notEqual(await again(() => faulty.recordStep(step)), 'lost')
            const [outcome] = await again(() => faulty.finish([{ id, fence, state: 'completed', result: value }]))
            const end = await again(() => faulty.get(id, bench.owner))
            assert.equal(end!.doneFence, fence, `the end was ${outcome}`)
            ends.set(id, seed)
          }
        }
      }
      await Promise.all([0, 1, 2].map(work))
      assert.equal(ends.size, tasks.length)
      for (const { id } of tasks) {
        const task = (await sure.get(id, bench.owner))!
        assert.deepEqual([task.state, text(task.result), task.fence], ['completed', String(ends.get(id)), 1])
      }
    })
  })
}

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { ClaimedTask } from '../../ports/task-store.ts'
import type { TestRunner } from './suite.ts'
import { bytes, LEASE_MS, SHORT_MS, SWEEP, text, type TaskBench } from './task-bench.ts'

/** What owners, collectors and operators see of tasks. */
export function taskStoreReads(test: TestRunner['test'], bench: () => TaskBench): void {
  test('versions rise with what an owner can see', async () => {
    const { store, owner, add, claimOne, finish } = bench()
    const id = await add()
    const versions: number[] = []
    const look = async (): Promise<void> => void versions.push((await store.versions([id]))[0]!)
    await look()
    const { fence } = await claimOne()
    await store.park(id, fence, { asks: [{ name: 'q', request: bytes('?') }] })
    await look()
    await store.answer(id, owner, [{ name: 'q', value: bytes('!') }])
    await look()
    await finish(await claimOne())
    await look()
    assert.deepEqual(
      versions.toSorted((a, b) => a - b),
      versions,
    )
    assert.equal(new Set(versions).size, versions.length)
    assert.deepEqual(await store.versions([]), [])
  })

  test('tasks name the artifacts of their recorded steps and results, and no others, until they are gone', async () => {
    const { store, pass, add, claim, end } = bench()
    const [first, second] = [await add({ retentionMs: SHORT_MS }), await add()]
    const tasks = await claim({ limit: 2 })
    const one = tasks.find(({ id }) => id === first)!
    const other = tasks.find(({ id }) => id === second)!
    const step = (task: ClaimedTask, name: string, artifacts: readonly string[], fence = task.fence) =>
      store.recordStep({ id: task.id, fence, name, value: bytes('1'), leaseMs: LEASE_MS, artifacts })
    assert.equal(await step(one, 'a', ['task/o/t/1/first', 'value/o/t/1/"odd\\']), 'recorded')
    assert.equal(await step(one, 'a', ['never']), 'exists')
    assert.equal(await step(one, 'b', ['never'], one.fence + 1), 'lost')
    assert.equal(await step(one, 'none', []), 'recorded')
    assert.equal(await step(other, 'a', ['task/o/u/1/other']), 'recorded')
    const named = async (...ids: string[]) => (await store.namedArtifacts(ids)).toSorted()
    assert.deepEqual(await named(first), ['task/o/t/1/first', 'value/o/t/1/"odd\\'])
    const done = { id: first, fence: one.fence, state: 'completed', result: bytes('{}') } as const
    await end({ ...done, fence: one.fence + 1, artifacts: ['never'] })
    await end({ ...done, artifacts: ['task/o/t/1/last'] })
    const all = ['task/o/t/1/first', 'task/o/t/1/last', 'value/o/t/1/"odd\\']
    assert.deepEqual(await named(first, randomUUID(), 'no id'), all)
    assert.deepEqual(await named(first, second), [...all, 'task/o/u/1/other'].toSorted())
    assert.deepEqual(await named(), [])
    await pass(SHORT_MS + 100)
    for (let turn = 0; turn < 50 && (await named(first)).length > 0; turn++) {
      await store.sweep(SWEEP)
      await pass(20)
    }
    assert.deepEqual(await named(first, second), ['task/o/u/1/other'])
  })

  test('operators find a task of whatever owner, with what is on record of it', async () => {
    const { store, owner, add, claimOne } = bench()
    const id = await add()
    const { fence } = await claimOne()
    await store.recordStep({ id, fence, name: 'step', value: bytes('1'), leaseMs: LEASE_MS })
    await store.park(id, fence, { asks: [{ name: 'q', request: bytes('?') }] })
    const found = (await store.find(id))!
    const { journal, ...task } = found
    assert.deepEqual(task, await store.get(id, owner))
    assert.deepEqual(
      journal.map((entry) => [entry.name, entry.kind, text(entry.request), text(entry.value)]),
      [
        ['step', 'step', undefined, '1'],
        ['q', 'ask', '?', undefined],
      ],
    )
    for (const other of [randomUUID(), 'x', '']) assert.equal(await store.find(other), undefined)
  })

  test('operators list tasks page by page, see the backlog, and redrive dead letters as new tasks', async () => {
    const { store, queue, add, claimOne, end, stateOf } = bench()
    const ids = [await add(), await add(), await add()]
    const dead = await claimOne()
    await end({ id: dead.id, fence: dead.fence, state: 'failed', error: bytes('{}'), dead: 'attempts' })
    const seen: string[] = []
    for (let cursor: string | undefined; ;) {
      const page = await store.list({ queue, limit: 2, ...(cursor === undefined ? {} : { cursor }) })
      seen.push(...page.tasks.map(({ id }) => id))
      cursor = page.cursor
      if (cursor === undefined) break
    }
    assert.deepEqual(seen.toSorted(), ids.toSorted())
    assert.deepEqual(
      (await store.list({ queue, dead: true, limit: 10 })).tasks.map(({ id }) => id),
      [dead.id],
    )
    const [backlog] = await store.backlog([queue])
    assert.deepEqual([backlog!.queue, backlog!.ready, backlog!.leased, backlog!.parked], [queue, 2, 0, 0])
    const newId = randomUUID()
    const redriven = await store.redrive(dead.id, newId)
    assert.deepEqual([redriven?.id, redriven?.state, redriven?.attempts], [newId, 'ready', 0])
    assert.equal(await stateOf(dead.id), 'failed')
    assert.equal(await store.redrive(newId, randomUUID()), undefined)
  })
}

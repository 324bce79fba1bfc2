import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { TestRunner } from './suite.ts'
import { bytes, LEASE_MS, SHORT_MS, text, type TaskBench } from './task-bench.ts'

/** Who waits for a task, and for whom a task waits: questions that nobody answers, and tasks that nobody attends any more. */
export function taskStoreWaits(test: TestRunner['test'], bench: () => TaskBench): void {
  const asks = (...names: string[]): { name: string; request: Uint8Array }[] =>
    names.map((name) => ({ name, request: bytes('?') }))

  test('questions that nobody answers in time are answered so, all at once, and their task goes on', async () => {
    const { store, pass, queue, owner, add, claimOne, stateOf, sweep } = bench()
    const id = await add()
    const { fence } = await claimOne()
    assert.equal(
      await store.park(id, fence, { asks: asks('one', 'two', 'three'), expireAfterMs: SHORT_MS * 4 }),
      'parked',
    )
    await store.answer(id, owner, [{ name: 'two', value: bytes('yes') }])
    await sweep()
    assert.equal(await stateOf(id), 'parked')
    const { version } = (await store.get(id, owner))!
    await pass(SHORT_MS * 4 + 20)
    const report = await sweep()
    assert.ok(report.woken >= 1)
    assert.ok(report.rings.some((ring) => ring.queue === queue && ring.ids.includes(id)))
    const ready = (await store.get(id, owner))!
    assert.deepEqual([ready.state, ready.asks], ['ready', []])
    assert.ok(ready.version > version)
    assert.ok(report.changed.some((change) => change.id === id && change.version === ready.version))
    const late = await store.answer(id, owner, [{ name: 'one', value: bytes('late') }])
    assert.deepEqual([late?.open, late?.state], [0, 'ready'])
    assert.deepEqual(
      (await claimOne()).journal.map(({ name, kind, value }) => [name, kind, text(value)]),
      [
        ['one', 'ask', 'null'],
        ['two', 'ask', 'yes'],
        ['three', 'ask', 'null'],
      ],
    )
  })

  test('questions that do not expire wait; those that are answered wake their task, and nothing comes after', async () => {
    const { store, pass, owner, add, claimOne, stateOf, sweep } = bench()
    const forever = await add()
    await store.park(forever, (await claimOne()).fence, { asks: asks('q') })
    const answered = await add()
    await store.park(answered, (await claimOne()).fence, { asks: asks('q'), expireAfterMs: SHORT_MS })
    await store.answer(answered, owner, [{ name: 'q', value: bytes('yes') }])
    await pass(SHORT_MS + 20)
    await sweep()
    assert.deepEqual([await stateOf(forever), await stateOf(answered)], ['parked', 'ready'])
    assert.equal(text((await claimOne()).journal[0]!.value), 'yes')
  })

  test('a task that asks again after an expiry waits for the new questions alone', async () => {
    const { store, pass, owner, add, claimOne, sweep } = bench()
    const id = await add()
    await store.park(id, (await claimOne()).fence, { asks: asks('one'), expireAfterMs: SHORT_MS })
    await pass(SHORT_MS + 20)
    await sweep()
    await store.park(id, (await claimOne()).fence, { asks: asks('two'), expireAfterMs: 3_600_000 })
    await sweep()
    const parked = (await store.get(id, owner))!
    assert.deepEqual([parked.state, parked.asks.map(({ name }) => name)], ['parked', ['two']])
  })

  test('a question under a name that is on record, or that comes twice, is refused, and nothing has changed', async () => {
    const { store, owner, add, claimOne, stateOf } = bench()
    const id = await add()
    const first = await claimOne()
    await store.park(id, first.fence, { asks: asks('asked') })
    await store.answer(id, owner, [{ name: 'asked', value: bytes('yes') }])
    const { fence } = await claimOne()
    await store.recordStep({ id, fence, name: 'step', value: bytes('1'), leaseMs: LEASE_MS })
    for (const names of [['asked'], ['step'], ['new', 'step'], ['twice', 'twice']])
      await assert.rejects(store.park(id, fence, { asks: asks(...names) }), { code: 'invalid_ask' }, names.join())
    assert.equal(await stateOf(id), 'leased')
    assert.equal(await store.park(id, first.fence, { asks: asks('asked') }), 'lost')
    assert.equal(await store.park(id, fence, { asks: asks('new', '') }), 'parked')
    assert.deepEqual(
      (await store.get(id, owner))!.asks.map(({ name }) => name),
      ['new', ''],
    )
  })

  test('what a worker says last, as it puts a task aside, is kept in the same write; without a word the one before stays', async () => {
    const { store, pass, owner, add, claimOne, sweep } = bench()
    const id = await add()
    const shown = async (): Promise<unknown> => (await store.get(id, owner))?.statusMessage
    const first = await claimOne()
    await store.heartbeat('worker-1', [{ id, fence: first.fence, statusMessage: 'half way' }], LEASE_MS)
    await store.park(id, first.fence, { asks: asks('q'), statusMessage: 'which half?' })
    assert.equal(await shown(), 'which half?')
    await store.answer(id, owner, [{ name: 'q', value: bytes('this') }])
    const second = await claimOne()
    assert.equal(await store.park(id, first.fence, { wakeAfterMs: 1, statusMessage: 'stale' }), 'lost')
    await store.park(id, second.fence, { wakeAfterMs: 1 })
    assert.equal(await shown(), 'which half?')
    await pass(20)
    await sweep()
    const { fence } = await claimOne()
    await store.park(id, fence, { wakeAfterMs: 3_600_000, statusMessage: "it's 💣 asleep" })
    assert.equal(await shown(), "it's 💣 asleep")
  })

  test('a task names the artifacts of its questions, asked and answered, of each its own', async () => {
    const { store, owner, add, claimOne, stateOf } = bench()
    const id = await add()
    const named = async (): Promise<string[]> => (await store.namedArtifacts([id])).toSorted()
    const ask = (name: string, ...artifacts: string[]) => ({ name, request: bytes('?'), artifacts })
    const { fence } = await claimOne()
    assert.equal(await store.park(id, fence - 1, { asks: [ask('stale', 'never')] }), 'lost')
    await store.park(id, fence, {
      asks: [ask('one', 'task/o/t/1/"a'), ask('none'), ask('two', 'b', 'c'), ...asks('x')],
    })
    assert.deepEqual(await named(), ['b', 'c', 'task/o/t/1/"a'])
    const answers = ['one', 'none', 'two', 'x'].map((name) => ({ name, value: bytes('yes') }))
    await store.answer(id, owner, answers)
    assert.equal(await stateOf(id), 'ready')
    assert.deepEqual(await named(), ['b', 'c', 'task/o/t/1/"a'])
  })

  test('a task that nobody attends any more ends as cancelled, and is no dead letter', async () => {
    const { store, pass, queue, owner, add, sweep } = bench()
    const ids = [await add({ isAttended: true, ttlMs: SHORT_MS })]
    const parked = await add({ isAttended: true, ttlMs: SHORT_MS, queue: `${queue}-2`, delayMs: 3_600_000 })
    await pass(SHORT_MS + 20)
    const { changed } = await sweep()
    for (const id of [...ids, parked]) {
      const task = (await store.get(id, owner))!
      assert.deepEqual([task.state, task.dead, task.error], ['cancelled', undefined, undefined])
      assert.ok(changed.some((change) => change.id === id))
    }
  })

  test('a task that is attended goes on for as long; others, and what has ended, are not touched by it', async () => {
    const { store, pass, owner, add, claimOne, stateOf, sweep } = bench()
    const kept = await add({ isAttended: true, ttlMs: SHORT_MS })
    const left = await add({ isAttended: true, ttlMs: SHORT_MS })
    const other = await add({ ttlMs: SHORT_MS })
    const ended = await add({ isAttended: true, ttlMs: SHORT_MS })
    await store.cancel(ended, owner)
    const before = await store.get(ended, owner)
    await store.attend([kept, other, ended, randomUUID(), 'no id'], 3_600_000)
    await store.attend([], 1)
    await pass(SHORT_MS + 20)
    await sweep()
    assert.deepEqual(await Promise.all([kept, left, other].map(stateOf)), ['ready', 'cancelled', 'failed'])
    assert.deepEqual(await store.get(ended, owner), before)
    assert.equal((await claimOne()).id, kept)
  })

  test('a worker at a task that nobody attends any more is told to stop', async () => {
    const { store, pass, add, claimOne, stateOf, sweep } = bench()
    const id = await add({ isAttended: true, ttlMs: LEASE_MS })
    const { fence } = await claimOne()
    await store.attend([id], SHORT_MS * 4)
    const beat = async (): Promise<boolean | undefined> =>
      (await store.heartbeat('worker-1', [{ id, fence }], LEASE_MS))[0]?.cancel
    assert.equal(await beat(), false)
    await pass(SHORT_MS * 4 + 20)
    assert.equal(await beat(), true)
    await sweep()
    assert.equal(await stateOf(id), 'leased')
    assert.deepEqual(await store.finish([{ id, fence, state: 'cancelled' }]), ['done'])
  })
}

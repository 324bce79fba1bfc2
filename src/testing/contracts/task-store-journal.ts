import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { TestRunner } from './suite.ts'
import { bytes, LEASE_MS, SHORT_MS, text, type TaskBench } from './task-bench.ts'

/** What is on record of a task: steps, questions and their answers, and what puts it aside meanwhile. */
export function taskStoreJournal(test: TestRunner['test'], bench: () => TaskBench): void {
  test('a step is on record once, whoever asks how often', async () => {
    const { store, add, claimOne } = bench()
    await add()
    const { id, fence } = await claimOne()
    const record = (value: string): Promise<string> =>
      store.recordStep({ id, fence, name: 'step', value: bytes(value), leaseMs: LEASE_MS })
    const outcomes = await Promise.all(['a', 'b', 'c', 'd', 'e'].map(record))
    assert.deepEqual(outcomes.toSorted(), ['exists', 'exists', 'exists', 'exists', 'recorded'])
    await store.release([{ id, fence }])
    const { journal } = await claimOne()
    assert.deepEqual(journal.length, 1)
    assert.equal(text(journal[0]!.value), ['a', 'b', 'c', 'd', 'e'][outcomes.indexOf('recorded')])
  })

  test('the journal keeps its order, its bytes, and whatever names there are', async () => {
    const { store, add, claimOne } = bench()
    await add()
    const { id, fence } = await claimOne()
    const names = ['z', 'a', ' ', "'; drop table x; --", 'ümläut 💣', 'n'.repeat(128)]
    for (const [index, one] of names.entries())
      await store.recordStep({ id, fence, name: one, value: Uint8Array.of(0, 255, index), leaseMs: LEASE_MS })
    await store.release([{ id, fence }])
    const { journal } = await claimOne()
    assert.deepEqual(
      journal.map((entry) => [entry.name, ...Buffer.from(entry.value!)]),
      names.map((one, index) => [one, 0, 255, index]),
    )
  })

  test('a parked task is held by nobody; its last answer makes it ready, with all answers on record', async () => {
    const { store, queue, owner, add, claim, claimOne, sweep } = bench()
    await add()
    const { id, fence } = await claimOne()
    const asks = [
      { name: 'one', request: bytes('1?') },
      { name: 'two', request: bytes('2?') },
    ]
    assert.equal(await store.park(id, fence, { asks }), 'parked')
    assert.equal(await store.park(id, fence, { asks }), 'lost')
    const parked = (await store.get(id, owner))!
    assert.deepEqual(
      [parked.state, parked.asks.map(({ name: one, request }) => [one, text(request)])],
      [
        'parked',
        [
          ['one', '1?'],
          ['two', '2?'],
        ],
      ],
    )
    await sweep()
    assert.equal((await claim()).length, 0)
    const first = await store.answer(id, owner, [
      { name: 'two', value: bytes('2!') },
      { name: 'unknown', value: bytes('?') },
    ])
    assert.deepEqual([first?.open, first?.state, first?.queue], [1, 'parked', queue])
    assert.deepEqual(
      (await store.get(id, owner))!.asks.map((ask) => ask.name),
      ['one'],
    )
    assert.equal(await store.answer(id, 'somebody else', [{ name: 'one', value: bytes('!') }]), undefined)
    assert.equal((await store.answer(id, owner, [{ name: 'two', value: bytes('other') }]))?.open, 1)
    const last = await store.answer(id, owner, [{ name: 'one', value: bytes('1!') }])
    assert.deepEqual([last?.open, last?.state], [0, 'ready'])
    const again = await claimOne()
    assert.deepEqual(
      again.journal.map((entry) => [entry.name, entry.kind, text(entry.request), text(entry.value)]),
      [
        ['one', 'ask', '1?', '1!'],
        ['two', 'ask', '2?', '2!'],
      ],
    )
    assert.equal((await store.answer(id, owner, [{ name: 'one', value: bytes('late') }]))?.open, 0)
  })

  test('of racing answers to one question the first is kept, and every reader sees that one', async () => {
    const { store, owner, add, claimOne, stateOf } = bench()
    await add()
    const { id, fence } = await claimOne()
    const asks = Array.from({ length: 5 }, (_, index) => ({ name: `q${index}`, request: bytes('?') }))
    await store.park(id, fence, { asks })
    await Promise.all(
      asks.flatMap(({ name: one }) =>
        ['a', 'b', 'c'].map((value) => store.answer(id, owner, [{ name: one, value: bytes(value) }])),
      ),
    )
    assert.equal(await stateOf(id), 'ready')
    const { journal } = await claimOne()
    assert.equal(journal.length, 5)
    for (const { value } of journal) assert.match(text(value)!, /^[abc]$/)
  })

  test('a task sleeps until its time, and is then ready', async () => {
    const { store, pass, queue, add, claimOne, stateOf, sweep } = bench()
    await add()
    const { id, fence } = await claimOne()
    assert.equal(await store.park(id, fence, { wakeAfterMs: SHORT_MS }), 'parked')
    await sweep()
    assert.equal(await stateOf(id), 'parked')
    await pass(SHORT_MS + 20)
    const { rings } = await sweep()
    assert.ok(rings.some((ring) => ring.queue === queue && ring.ids.includes(id)))
    assert.equal((await claimOne()).fence, fence + 1)
  })

  test('an attempt that is tried again counts, waits, and says why', async () => {
    const { store, pass, add, claim, claimOne, sweep } = bench()
    await add()
    const { id, fence } = await claimOne()
    assert.equal(await store.retry(id, fence, SHORT_MS, 'the upstream was busy'), 'parked')
    await sweep()
    assert.equal((await claim()).length, 0)
    await pass(SHORT_MS + 20)
    await sweep()
    const again = await claimOne()
    assert.deepEqual([again.attempts, again.crashes, again.statusMessage], [1, 0, 'the upstream was busy'])
  })

  test('a task that is given back is ready at once, and nothing is charged', async () => {
    const { store, add, claimOne } = bench()
    await add()
    const { id, fence } = await claimOne()
    assert.deepEqual(
      await store.release([
        { id, fence },
        { id: randomUUID(), fence: 1 },
      ]),
      [id],
    )
    const again = await claimOne()
    assert.deepEqual([again.id, again.attempts, again.crashes, again.fence], [id, 0, 0, fence + 1])
  })

  test('big arguments, steps and results come back whole', async () => {
    const { store, owner, add, claimOne, finish } = bench()
    const big = 'x'.repeat(1024 * 1024)
    await add({ args: bytes(big) })
    const task = await claimOne()
    assert.equal(task.args.length, big.length)
    const { id, fence } = task
    await store.recordStep({ id, fence, name: 'big', value: bytes(big), leaseMs: LEASE_MS })
    await store.release([{ id, fence }])
    const again = await claimOne()
    assert.equal(again.journal[0]!.value!.length, big.length)
    assert.equal(await finish(again, big), 'done')
    assert.equal((await store.get(id, owner))!.result!.length, big.length)
  })
}

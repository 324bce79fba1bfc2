import assert from 'node:assert/strict'
import type { ClaimedTask } from '../../ports/task-store.ts'
import type { TestRunner } from './suite.ts'
import { bytes, LEASE_MS, type TaskBench } from './task-bench.ts'

/** What databases can't take as text, or would change: NUL, half a surrogate pair, and what escapes of them might look like. */
const NAMES = [
  '\0',
  'a\0b',
  '\ud800',
  'b\udfff',
  '\u0001',
  '\u00010000',
  '\\0',
  '%00',
  "'",
  '"',
  '$1',
  '{}',
  ' ',
  '\u{1f4a3}',
  'e\u0301',
]

/** What clients and handlers may send, and what happens when workers meet. */
export function taskStoreHostile(test: TestRunner['test'], bench: () => TaskBench): void {
  test('what is no id of a task is the id of no task', async () => {
    const { store, owner, newTask } = bench()
    const { task } = await store.create(newTask())
    for (const id of [
      '',
      'x',
      '\0',
      "' or true --",
      task.id.toUpperCase(),
      `{${task.id}}`,
      `${task.id} `,
      task.id.replaceAll('-', ''),
    ]) {
      assert.equal(await store.get(id, owner), undefined, id)
      assert.equal(await store.cancel(id, owner), undefined, id)
      assert.equal(await store.answer(id, owner, []), undefined, id)
      assert.deepEqual(await store.versions([id, task.id]), [undefined, 1], id)
    }
  })

  test('names and messages come back as they were, whatever they hold', async () => {
    const { store, owner, newTask, claim } = bench()
    await store.create(newTask())
    const [task] = await claim()
    const { id, fence } = task!
    for (const name of NAMES)
      assert.equal(await store.recordStep({ id, fence, name, value: bytes(name), leaseMs: LEASE_MS }), 'recorded', name)
    for (const statusMessage of NAMES) {
      assert.equal((await store.heartbeat('worker-1', [{ id, fence, statusMessage }], LEASE_MS)).length, 1)
      assert.equal((await store.get(id, owner))!.statusMessage, statusMessage)
    }
    await store.park(id, fence, { asks: NAMES.map((name) => ({ name: `ask ${name}`, request: bytes('?') })) })
    assert.deepEqual(
      (await store.get(id, owner))!.asks.map(({ name }) => name),
      NAMES.map((name) => `ask ${name}`),
    )
    const answers = [...NAMES, 'nobody\0asked'].map((name) => ({ name: `ask ${name}`, value: bytes('!') }))
    assert.equal((await store.answer(id, owner, answers))?.open, 0)
    const [again] = await claim()
    assert.deepEqual(
      again!.journal.map(({ name }) => name),
      [...NAMES, ...NAMES.map((name) => `ask ${name}`)],
    )
  })

  test('an idempotency key may be long, and hold anything', async () => {
    const { store, newTask } = bench()
    for (const idempotencyKey of ['k'.repeat(10_000), ...NAMES]) {
      const first = await store.create(newTask({ idempotencyKey }))
      const second = await store.create(newTask({ idempotencyKey }))
      assert.deepEqual([first.created, second.created, second.task.id], [true, false, first.task.id])
    }
  })

  test('of answers that give one name twice the first counts', async () => {
    const { store, owner, newTask, claim } = bench()
    await store.create(newTask())
    const [task] = await claim()
    await store.park(task!.id, task!.fence, { asks: [{ name: 'q', request: bytes('?') }] })
    const answers = ['first', 'second'].map((value) => ({ name: 'q', value: bytes(value) }))
    assert.equal((await store.answer(task!.id, owner, answers))?.state, 'ready')
    const [again] = await claim()
    assert.equal(Buffer.from(again!.journal[0]!.value!).toString(), 'first')
  })

  test('of two ends by one holder that go out together one counts, and the task agrees', async () => {
    const { store, owner, newTask, claim } = bench()
    await store.create(newTask())
    const [task] = await claim()
    const { id, fence } = task!
    const outcomes = await Promise.all([
      store.finish([{ id, fence, state: 'completed', result: bytes('first') }]),
      store.finish([{ id, fence, state: 'failed', error: bytes('second') }]),
    ])
    // Calls that are under way together may overtake each other on their way.
    assert.deepEqual(outcomes.flat().toSorted(), ['done', 'lost'])
    assert.equal((await store.get(id, owner))!.state, outcomes[0][0] === 'done' ? 'completed' : 'failed')
  })

  test('a claim shows all that was on record when the task was given back, however fast it changes hands', async () => {
    const { store, newTask, claim } = bench()
    const { task } = await store.create(newTask())
    let recorded = 0
    const work = async (worker: string): Promise<void> => {
      while (recorded < 40) {
        const [mine] = await claim({ worker })
        if (mine === undefined) continue
        const { id, fence } = mine
        assert.equal(mine.journal.length, recorded, `claimed with fence ${fence}`)
        if (recorded < 40) {
          const step = { id, fence, name: `step-${recorded}`, value: bytes('1'), leaseMs: LEASE_MS }
          assert.equal(await store.recordStep(step), 'recorded')
          recorded++
        }
        assert.deepEqual(await store.release([{ id, fence }]), [task.id])
      }
    }
    await Promise.all(['a', 'b', 'c', 'd'].map(work))
  })

  test('batches that name the same tasks in opposite orders do not block each other', async () => {
    const { store, newTask, claim } = bench()
    const ids: string[] = []
    for (let index = 0; index < 30; index++) ids.push((await store.create(newTask())).task.id)
    const leases = (await Promise.all([claim({ worker: 'w' }), claim({ worker: 'w' }), claim({ worker: 'w' })])).flat()
    assert.equal(leases.length, ids.length)
    const beat = (order: readonly ClaimedTask[]): Promise<unknown> =>
      store.heartbeat(
        'w',
        order.map(({ id, fence }) => ({ id, fence })),
        LEASE_MS,
      )
    for (let round = 0; round < 10; round++)
      await Promise.all([beat(leases), beat(leases.toReversed()), beat(leases), beat(leases.toReversed())])
    const ends = leases.map(({ id, fence }) => ({ id, fence, state: 'completed' as const }))
    const outcomes = await Promise.all([store.finish(ends), beat(leases.toReversed()), store.finish(ends.toReversed())])
    const done = [...outcomes[0], ...outcomes[2]].filter((outcome) => outcome === 'done')
    assert.equal(done.length, ids.length)
  })
}

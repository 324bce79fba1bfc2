import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { TaskEnd } from '../../ports/task-store.ts'
import type { TestRunner } from './suite.ts'
import { bytes, LEASE_MS, SHORT_MS, text, type TaskBench } from './task-bench.ts'

/** Who has a task: how one is made, claimed, kept by heartbeats, and ended, by one holder at a time. */
export function taskStoreClaims(test: TestRunner['test'], bench: () => TaskBench): void {
  test('a task is read back as it was created, by its owner and nobody else', async () => {
    const { store, queue, owner, add, claimOne } = bench()
    const args = Uint8Array.from({ length: 256 }, (_, index) => index)
    const id = await add({ args, ttlMs: 60_000 })
    const task = (await store.get(id, owner))!
    assert.deepEqual(
      [task.id, task.owner, task.tool, task.queue, task.state, task.version, task.fence, task.attempts, task.crashes],
      [id, owner, 'work', queue, 'ready', 1, 0, 0, 0],
    )
    assert.deepEqual(
      [task.asks, task.result, task.error, task.dead, task.doneFence, task.statusMessage],
      [[], undefined, undefined, undefined, undefined, undefined],
    )
    assert.equal(text(task.caller), 'sealed')
    assert.equal(task.expiresMs! - task.createdMs, 60_000)
    assert.equal(await store.get(id, 'somebody else'), undefined)
    assert.equal(await store.get(randomUUID(), owner), undefined)
    assert.deepEqual(Buffer.from((await claimOne()).args), Buffer.from(args))
  })

  test('of many creations with one idempotency key exactly one creates; the key is its owner and tool’s own', async () => {
    const { store, owner, newTask } = bench()
    const key = randomUUID()
    const results = await Promise.all(Array.from({ length: 20 }, () => store.create(newTask({ idempotencyKey: key }))))
    assert.equal(results.filter(({ created }) => created).length, 1)
    assert.equal(new Set(results.map(({ task }) => task.id)).size, 1)
    assert.equal((await store.create(newTask({ idempotencyKey: key, tool: 'other' }))).created, true)
    assert.equal((await store.create(newTask({ idempotencyKey: key, owner: `${owner}-2` }))).created, true)
    const again = await store.create(newTask({ idempotencyKey: key, argsDigest: bytes('another') }))
    assert.deepEqual([again.created, text(again.task.argsDigest)], [false, 'digest'])
  })

  test('creating the same id again gives the task that is there', async () => {
    const { store, newTask } = bench()
    const task = newTask()
    assert.equal((await store.create(task)).created, true)
    assert.equal((await store.create(task)).created, false)
  })

  test('the id of another owner’s task is refused, and that task stays as it is', async () => {
    const { store, owner, newTask, claim, claimOne } = bench()
    const task = newTask()
    await store.create(task)
    for (const idempotencyKey of [undefined, 'key'])
      await assert.rejects(
        store.create({
          ...task,
          owner: `${owner}-2`,
          args: bytes('{}'),
          ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
        }),
        { code: 'backend_failed', message: /another owner/ },
      )
    assert.equal(await store.get(task.id, `${owner}-2`), undefined)
    assert.deepEqual([(await claimOne()).owner, (await claim()).length], [owner, 0])
  })

  test('a claim takes tasks of its queue and tools, at most as many as asked for, each with the next fence', async () => {
    const { queue, add, claim } = bench()
    await add()
    await add()
    await add({ tool: 'other' })
    await add({ queue: `${queue}-2` })
    const first = await claim({ limit: 1 })
    assert.deepEqual([first.length, first[0]!.state, first[0]!.fence], [1, 'leased', 1])
    assert.equal((await claim({ limit: 10 })).length, 1)
    assert.equal((await claim()).length, 0)
    assert.equal((await claim({ tools: ['work', 'other'] })).length, 1)
    assert.equal((await claim({ queue: `${queue}-2` })).length, 1)
  })

  test('of many claimants each task is one’s', async () => {
    const { add, claim } = bench()
    await Promise.all(Array.from({ length: 30 }, () => add()))
    const claims = await Promise.all(
      Array.from({ length: 12 }, (_, index) => claim({ worker: `worker-${index}`, limit: 5 })),
    )
    const ids = claims.flat().map(({ id }) => id)
    assert.deepEqual([ids.length, new Set(ids).size], [30, 30])
  })

  test('a claim that is repeated with its token gives the same tasks, and no more', async () => {
    const { add, claim } = bench()
    await add()
    await add()
    await add()
    const token = randomUUID()
    const first = await claim({ token, limit: 2 })
    const again = await claim({ token, limit: 2 })
    assert.deepEqual(again.map(({ id, fence }) => [id, fence]).sort(), first.map(({ id, fence }) => [id, fence]).sort())
  })

  test('a task of a handler’s revision goes to a worker that knows it', async () => {
    const { store, queue, add, claim } = bench()
    await add({ handlerRevision: 'r2' })
    assert.equal((await claim()).length, 0)
    const request = { worker: 'w', token: randomUUID(), queue, tools: ['work'], limit: 1, leaseMs: LEASE_MS }
    assert.equal((await store.claim({ ...request, handlerRevisions: ['r1'] })).length, 0)
    assert.equal((await store.claim({ ...request, token: randomUUID(), handlerRevisions: ['r1', 'r2'] })).length, 1)
  })

  test('a delayed task waits for its time', async () => {
    const { pass, add, claim, stateOf, sweep } = bench()
    const id = await add({ delayMs: SHORT_MS })
    assert.equal(await stateOf(id), 'parked')
    await sweep()
    assert.equal((await claim()).length, 0)
    await pass(SHORT_MS + 20)
    await sweep()
    assert.deepEqual(
      (await claim()).map((task) => task.id),
      [id],
    )
  })

  test('the end of a task is kept, with who wrote it, and never changes', async () => {
    const { store, owner, add, claimOne, finish } = bench()
    await add()
    const task = await claimOne()
    assert.equal(await finish(task, '"first"'), 'done')
    assert.equal(await finish(task, '"second"'), 'lost')
    assert.equal(await store.cancel(task.id, owner), 'ended')
    const ended = (await store.get(task.id, owner))!
    assert.deepEqual(
      [ended.state, text(ended.result), ended.doneFence, ended.fence],
      ['completed', '"first"', task.fence, task.fence],
    )
    assert.ok(ended.version > task.version)
  })

  test('an end keeps the last status message, or what it was given in its place', async () => {
    const { store, owner, add, claimOne, end } = bench()
    for (const statusMessage of [undefined, 'all of it']) {
      await add()
      const { id, fence } = await claimOne()
      await store.heartbeat('worker-1', [{ id, fence, statusMessage: 'half of it' }], LEASE_MS)
      assert.equal(await end({ id, fence, state: 'completed', result: bytes('1'), statusMessage }), 'done')
      assert.equal((await store.get(id, owner))!.statusMessage, statusMessage ?? 'half of it')
    }
  })

  test('tasks end together, each by its own fence', async () => {
    const { store, owner, add, claim, stateOf } = bench()
    for (let index = 0; index < 3; index++) await add()
    const [one, two, three] = await claim()
    const ends: TaskEnd[] = [
      { id: one!.id, fence: one!.fence, state: 'completed', result: bytes('1') },
      { id: two!.id, fence: two!.fence - 1, state: 'completed', result: bytes('2') },
      { id: three!.id, fence: three!.fence, state: 'failed', error: bytes('3'), dead: 'error' },
      { id: randomUUID(), fence: 1, state: 'completed' },
    ]
    assert.deepEqual(await store.finish(ends), ['done', 'lost', 'done', 'lost'])
    const failed = (await store.get(three!.id, owner))!
    assert.deepEqual([failed.state, text(failed.error), failed.dead], ['failed', '3', 'error'])
    assert.equal(await stateOf(two!.id), 'leased')
    assert.deepEqual(await store.finish([]), [])
  })

  test('a heartbeat renews what is the worker’s, tells of cancels, and leaves out what is lost', async () => {
    const { store, pass, owner, add, claim, stateOf, sweep } = bench()
    await add()
    await add()
    const [one, two] = await claim({ leaseMs: SHORT_MS })
    assert.equal(await store.cancel(two!.id, owner), 'signalled')
    const leases = [
      { id: one!.id, fence: one!.fence, statusMessage: 'half way' },
      { id: two!.id, fence: two!.fence },
      { id: one!.id, fence: one!.fence + 1 },
    ]
    const alive = await store.heartbeat('worker-1', leases.slice(0, 2), LEASE_MS)
    assert.deepEqual(
      alive.map(({ id, cancel }) => [id, cancel]).sort(),
      [
        [one!.id, false],
        [two!.id, true],
      ].sort(),
    )
    assert.deepEqual(await store.heartbeat('worker-1', leases.slice(2), LEASE_MS), [])
    await pass(SHORT_MS + 20)
    await sweep()
    assert.equal(await stateOf(one!.id), 'leased')
    const shown = (await store.get(one!.id, owner))!
    assert.equal(shown.statusMessage, 'half way')
    assert.ok(shown.version > one!.version)
    assert.deepEqual(await store.heartbeat('worker-1', [], LEASE_MS), [])
  })

  test('a lease that has run out, and was not taken over, is renewed', async () => {
    const { store, pass, add, claimOne, finish } = bench()
    await add()
    const task = await claimOne({ leaseMs: 20 })
    await pass(60)
    const alive = await store.heartbeat('worker-1', [{ id: task.id, fence: task.fence }], LEASE_MS)
    assert.equal(alive.length, 1)
    assert.equal(await finish(task), 'done')
  })

  test('after a lost lease another claim has the next fence, and nothing of the first holder counts', async () => {
    const { store, pass, owner, add, claimOne, finish, sweep } = bench()
    await add()
    const first = await claimOne({ leaseMs: 20 })
    await store.recordStep({ id: first.id, fence: first.fence, name: 'kept', value: bytes('1'), leaseMs: 20 })
    await pass(60)
    await sweep({ crashBackoffMs: 1 })
    await pass(20)
    await sweep({ crashBackoffMs: 1 })
    const second = await claimOne({ worker: 'worker-2' })
    assert.deepEqual([second.fence, second.crashes], [first.fence + 1, 1])
    assert.deepEqual(
      second.journal.map((entry) => [entry.name, entry.kind, text(entry.value)]),
      [['kept', 'step', '1']],
    )
    const { id, fence } = first
    assert.deepEqual(await store.heartbeat('worker-1', [{ id, fence }], LEASE_MS), [])
    assert.equal(await store.recordStep({ id, fence, name: 'late', value: bytes('2'), leaseMs: 1 }), 'lost')
    assert.equal(await store.park(id, fence, { wakeAfterMs: 1 }), 'lost')
    assert.equal(await store.retry(id, fence, 1), 'lost')
    assert.deepEqual(await store.release([{ id, fence }]), [])
    assert.equal(await finish(first, '"late"'), 'lost')
    assert.equal(await finish(second, '"good"'), 'done')
    assert.equal(text((await store.get(id, owner))!.result), '"good"')
  })
}

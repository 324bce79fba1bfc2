import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { TestRunner } from './suite.ts'
import { bytes, LEASE_MS, SHORT_MS, SWEEP, text, type TaskBench } from './task-bench.ts'

/** How a task comes to its end though nobody ends it well: cancels, lost workers, time, and retention. */
export function taskStoreUpkeep(test: TestRunner['test'], bench: () => TaskBench): void {
  test('a cancel ends at once what nobody holds, and signals who holds it', async () => {
    const { store, owner, add, claim, claimOne, end, stateOf } = bench()
    const ready = await add()
    assert.equal(await store.cancel(ready, 'somebody else'), undefined)
    assert.equal(await store.cancel(ready, owner), 'cancelled')
    const ended = (await store.get(ready, owner))!
    assert.deepEqual([ended.state, ended.fence, ended.doneFence], ['cancelled', 1, 1])
    assert.equal((await claim()).length, 0)

    await add()
    const held = await claimOne()
    assert.equal(await store.cancel(held.id, owner), 'signalled')
    assert.equal(await store.cancel(held.id, owner), 'signalled')
    assert.equal(await store.park(held.id, held.fence, { wakeAfterMs: 1 }), 'cancelled')
    assert.equal(await end({ id: held.id, fence: held.fence, state: 'cancelled' }), 'done')

    await add()
    const parked = await claimOne()
    await store.park(parked.id, parked.fence, { asks: [{ name: 'q', request: bytes('?') }] })
    assert.equal(await store.cancel(parked.id, owner), 'cancelled')
    assert.notEqual((await store.answer(parked.id, owner, [{ name: 'q', value: bytes('!') }]))?.state, 'ready')
    assert.equal(await stateOf(parked.id), 'cancelled')
  })

  test('what was to be cancelled ends, whatever its holder does instead of it', async () => {
    const { store, pass, owner, add, claimOne, stateOf, sweep } = bench()
    for (const way of ['retry', 'release', 'crash'] as const) {
      await add()
      const { id, fence } = await claimOne(way === 'crash' ? { leaseMs: 20 } : {})
      await store.cancel(id, owner)
      if (way === 'retry') assert.equal(await store.retry(id, fence, 1), 'cancelled')
      else if (way === 'release') assert.deepEqual(await store.release([{ id, fence }]), [id])
      else {
        await pass(60)
        await sweep()
      }
      assert.equal(await stateOf(id), 'cancelled', way)
    }
  })

  test('a task whose worker is lost runs again after a wait, and fails after too many crashes', async () => {
    const { store, pass, owner, add, claimOne, stateOf, sweep } = bench()
    const id = await add({ maxCrashes: 1 })
    await claimOne({ leaseMs: 20 })
    await pass(60)
    const first = await sweep({ crashBackoffMs: SHORT_MS })
    assert.ok(first.lost >= 1)
    assert.ok(first.changed.some((change) => change.id === id))
    assert.equal(await stateOf(id), 'parked')
    await pass(SHORT_MS + 20)
    await sweep()
    await claimOne({ leaseMs: 20 })
    await pass(60)
    await sweep()
    const failed = (await store.get(id, owner))!
    assert.deepEqual([failed.state, failed.dead, text(failed.error)], ['failed', 'crashes', text(SWEEP.lostError)])
  })

  test('a crash after progress does not count with those before', async () => {
    const { store, pass, add, claimOne, stateOf, sweep } = bench()
    const id = await add({ maxCrashes: 1 })
    for (let attempt = 0; attempt < 3; attempt++) {
      const { fence } = await claimOne({ leaseMs: 20 })
      await store.recordStep({ id, fence, name: `step-${attempt}`, value: bytes('1'), leaseMs: 20 })
      await pass(60)
      await sweep({ crashBackoffMs: 1 })
      await pass(20)
      await sweep({ crashBackoffMs: 1 })
    }
    assert.equal(await stateOf(id), 'ready')
  })

  test('what must not run twice fails with its worker', async () => {
    const { store, pass, owner, add, claimOne, stateOf, sweep } = bench()
    const id = await add({ failsWhenLost: true })
    await claimOne({ leaseMs: 20 })
    await pass(60)
    await sweep()
    assert.deepEqual([await stateOf(id), (await store.get(id, owner))!.dead], ['failed', 'lost'])
  })

  test('a task that is not done in time fails; while a worker is at it, the worker is told', async () => {
    const { store, pass, queue, owner, add, claim, claimOne, finish, sweep } = bench()
    const ready = await add({ ttlMs: SHORT_MS })
    await add({ ttlMs: SHORT_MS * 4, owner: `${owner}-2`, queue: `${queue}-2` })
    const held = await claimOne({ queue: `${queue}-2` })
    await pass(SHORT_MS * 4 + 20)
    assert.equal((await claim()).length, 0)
    await sweep()
    const failed = (await store.get(ready, owner))!
    assert.deepEqual([failed.state, failed.dead, text(failed.error)], ['failed', 'expired', text(SWEEP.expiredError)])
    assert.equal((await store.get(held.id, held.owner))!.state, 'leased')
    const [alive] = await store.heartbeat('worker-1', [{ id: held.id, fence: held.fence }], LEASE_MS)
    assert.equal(alive?.cancel, true)
    assert.equal(await finish(held), 'done')
  })

  test('what has ended goes after its retention, with its journal and its idempotency key', async () => {
    const { store, pass, owner, newTask, add, claimOne, finish, stateOf, sweep } = bench()
    const idempotencyKey = randomUUID()
    const id = await add({ retentionMs: SHORT_MS, idempotencyKey })
    const { fence } = await claimOne()
    await store.recordStep({ id, fence, name: 'step', value: bytes('1'), leaseMs: LEASE_MS })
    await finish({ id, fence })
    await sweep()
    assert.equal(await stateOf(id), 'completed')
    await pass(SHORT_MS + 20)
    assert.ok((await sweep()).purged >= 1)
    assert.equal(await store.get(id, owner), undefined)
    assert.deepEqual(await store.versions([id]), [undefined])
    assert.equal((await store.create(newTask({ id: randomUUID(), idempotencyKey }))).created, true)
  })

  test('a sweep rings for what is ready and was not taken', async () => {
    const { pass, queue, add, sweep } = bench()
    const id = await add()
    await pass(60)
    const { rings } = await sweep({ overdueMs: 20 })
    assert.ok(rings.some((ring) => ring.queue === queue && ring.ids.includes(id)))
    const later = await sweep({ overdueMs: 3_600_000 })
    assert.ok(!later.rings.some((ring) => ring.queue === queue))
  })

  test('a sweep that spares leases takes none, ends no task that is attended, and does the rest', async () => {
    const { pass, add, claimOne, stateOf, sweep } = bench()
    const id = await add()
    await claimOne({ leaseMs: 20 })
    const expired = await add({ ttlMs: 20 })
    const attended = await add({ ttlMs: 20, isAttended: true })
    const states = () => Promise.all([id, expired, attended].map((one) => stateOf(one)))
    await pass(60)
    await sweep({ sparesLeases: true })
    assert.deepEqual(await states(), ['leased', 'failed', 'ready'])
    await sweep()
    assert.deepEqual((await states()).slice(1), ['failed', 'cancelled'])
  })

  test('sweeps that run at once do each thing once', async () => {
    const { store, pass, owner, add, claimOne, sweep } = bench()
    const id = await add({ maxCrashes: 5 })
    await claimOne({ leaseMs: 20 })
    await pass(60)
    await Promise.all(Array.from({ length: 8 }, () => sweep({ crashBackoffMs: 60_000 })))
    assert.equal((await store.get(id, owner))!.crashes, 1)
  })
}

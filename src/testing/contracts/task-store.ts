import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type {
  ClaimedTask,
  NewTask,
  SweepOptions,
  SweepReport,
  TaskAdmin,
  TaskEnd,
  TaskStore,
} from '../../ports/task-store.ts'
import type { TestRunner } from './suite.ts'
import { taskStoreHostile } from './task-store-hostile.ts'
import { taskStoreModel } from './task-store-model.ts'
import { taskStoreTurns } from './task-store-turns.ts'
import { taskStoreWaits } from './task-store-waits.ts'

/** A task store under test, empty or shared, and how to let its time pass. */
export interface TaskStoreFixture {
  store: TaskStore & TaskAdmin
  /** Lets at least `ms` pass for the store: by moving an injected clock, or by waiting. */
  pass(ms: number): Promise<void>
}

const bytes = (text: string): Uint8Array => Buffer.from(text)
const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString()

/** Long enough not to run out by itself, where a test does not want it to. */
const LEASE_MS = 60_000
/** What a test lets run out; a real server's clock has to be waited for. */
const SHORT_MS = 150
const SWEEP: SweepOptions = {
  limit: 1000,
  expiredError: bytes('{"code":-32603,"message":"expired"}'),
  lostError: bytes('{"code":-32603,"message":"lost"}'),
  expiredAnswer: bytes('null'),
  crashBackoffMs: SHORT_MS,
  overdueMs: 3_600_000,
}

/** What every {@link TaskStore} must do. Queues and owners are unique to each test, so that a shared server may be used. */
export function taskStoreContract(runner: TestRunner, name: string, create: () => Promise<TaskStoreFixture>): void {
  const { describe, test, beforeEach, afterEach } = runner
  describe(`task store contract: ${name}`, () => {
    let store: TaskStoreFixture['store']
    let pass: TaskStoreFixture['pass']
    let queue: string
    let owner: string
    beforeEach(async () => {
      ;({ store, pass } = await create())
      queue = `queue-${randomUUID()}`
      owner = `owner-${randomUUID()}`
    })
    afterEach(() => store.close())

    const newTask = (more: Partial<NewTask> = {}): NewTask => ({
      id: randomUUID(),
      owner,
      tool: 'work',
      queue,
      maxAttempts: 3,
      maxCrashes: 2,
      failsWhenLost: false,
      ttlMs: undefined,
      retentionMs: 3_600_000,
      argsDigest: bytes('digest'),
      args: bytes('{"a":1}'),
      caller: bytes('sealed'),
      ...more,
    })
    const add = async (more?: Partial<NewTask>): Promise<string> => (await store.create(newTask(more))).task.id
    const claim = (
      more: {
        worker?: string
        token?: string
        limit?: number
        leaseMs?: number
        tools?: string[]
        queue?: string
      } = {},
    ): Promise<readonly ClaimedTask[]> =>
      store.claim({
        worker: 'worker-1',
        token: randomUUID(),
        queue,
        tools: ['work'],
        handlerRevisions: [],
        limit: 10,
        leaseMs: LEASE_MS,
        ...more,
      })
    const claimOne = async (more?: Parameters<typeof claim>[0]): Promise<ClaimedTask> => {
      const [task] = await claim({ limit: 1, ...more })
      assert.ok(task, 'a task was ready, and could not be claimed')
      return task
    }
    const end = async (how: TaskEnd): Promise<'done' | 'lost'> => (await store.finish([how]))[0]!
    const finish = (task: { id: string; fence: number }, result = '"done"'): Promise<'done' | 'lost'> =>
      end({ id: task.id, fence: task.fence, state: 'completed', result: bytes(result) })
    const stateOf = async (id: string): Promise<string | undefined> => (await store.get(id, owner))?.state
    /** A shared store may hold others' tasks, so numbers of a sweep say little; the tasks themselves say it. */
    const sweep = (more: Partial<SweepOptions> = {}): Promise<SweepReport> => store.sweep({ ...SWEEP, ...more })

    test('a task is read back as it was created, by its owner and nobody else', async () => {
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
      const key = randomUUID()
      const results = await Promise.all(
        Array.from({ length: 20 }, () => store.create(newTask({ idempotencyKey: key }))),
      )
      assert.equal(results.filter(({ created }) => created).length, 1)
      assert.equal(new Set(results.map(({ task }) => task.id)).size, 1)
      assert.equal((await store.create(newTask({ idempotencyKey: key, tool: 'other' }))).created, true)
      assert.equal((await store.create(newTask({ idempotencyKey: key, owner: `${owner}-2` }))).created, true)
      const again = await store.create(newTask({ idempotencyKey: key, argsDigest: bytes('another') }))
      assert.deepEqual([again.created, text(again.task.argsDigest)], [false, 'digest'])
    })

    test('creating the same id again gives the task that is there', async () => {
      const task = newTask()
      assert.equal((await store.create(task)).created, true)
      assert.equal((await store.create(task)).created, false)
    })

    test('the id of another owner’s task is refused, and that task stays as it is', async () => {
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
      await Promise.all(Array.from({ length: 30 }, () => add()))
      const claims = await Promise.all(
        Array.from({ length: 12 }, (_, index) => claim({ worker: `worker-${index}`, limit: 5 })),
      )
      const ids = claims.flat().map(({ id }) => id)
      assert.deepEqual([ids.length, new Set(ids).size], [30, 30])
    })

    test('a claim that is repeated with its token gives the same tasks, and no more', async () => {
      await add()
      await add()
      await add()
      const token = randomUUID()
      const first = await claim({ token, limit: 2 })
      const again = await claim({ token, limit: 2 })
      assert.deepEqual(
        again.map(({ id, fence }) => [id, fence]).sort(),
        first.map(({ id, fence }) => [id, fence]).sort(),
      )
    })

    test('a task of a handler’s revision goes to a worker that knows it', async () => {
      await add({ handlerRevision: 'r2' })
      assert.equal((await claim()).length, 0)
      const request = { worker: 'w', token: randomUUID(), queue, tools: ['work'], limit: 1, leaseMs: LEASE_MS }
      assert.equal((await store.claim({ ...request, handlerRevisions: ['r1'] })).length, 0)
      assert.equal((await store.claim({ ...request, token: randomUUID(), handlerRevisions: ['r1', 'r2'] })).length, 1)
    })

    test('a delayed task waits for its time', async () => {
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
      for (const statusMessage of [undefined, 'all of it']) {
        await add()
        const { id, fence } = await claimOne()
        await store.heartbeat('worker-1', [{ id, fence, statusMessage: 'half of it' }], LEASE_MS)
        assert.equal(await end({ id, fence, state: 'completed', result: bytes('1'), statusMessage }), 'done')
        assert.equal((await store.get(id, owner))!.statusMessage, statusMessage ?? 'half of it')
      }
    })

    test('tasks end together, each by its own fence', async () => {
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
      await add()
      const task = await claimOne({ leaseMs: 20 })
      await pass(60)
      const alive = await store.heartbeat('worker-1', [{ id: task.id, fence: task.fence }], LEASE_MS)
      assert.equal(alive.length, 1)
      assert.equal(await finish(task), 'done')
    })

    test('after a lost lease another claim has the next fence, and nothing of the first holder counts', async () => {
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

    test('a step is on record once, whoever asks how often', async () => {
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

    test('a cancel ends at once what nobody holds, and signals who holds it', async () => {
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
      const id = await add({ failsWhenLost: true })
      await claimOne({ leaseMs: 20 })
      await pass(60)
      await sweep()
      assert.deepEqual([await stateOf(id), (await store.get(id, owner))!.dead], ['failed', 'lost'])
    })

    test('a task that is not done in time fails; while a worker is at it, the worker is told', async () => {
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
      const id = await add()
      await pass(60)
      const { rings } = await sweep({ overdueMs: 20 })
      assert.ok(rings.some((ring) => ring.queue === queue && ring.ids.includes(id)))
      const later = await sweep({ overdueMs: 3_600_000 })
      assert.ok(!later.rings.some((ring) => ring.queue === queue))
    })

    test('a sweep that spares leases takes none, and does the rest', async () => {
      const id = await add()
      await claimOne({ leaseMs: 20 })
      const expired = await add({ ttlMs: 20 })
      await pass(60)
      await sweep({ sparesLeases: true })
      assert.deepEqual([await stateOf(id), await stateOf(expired)], ['leased', 'failed'])
    })

    test('sweeps that run at once do each thing once', async () => {
      const id = await add({ maxCrashes: 5 })
      await claimOne({ leaseMs: 20 })
      await pass(60)
      await Promise.all(Array.from({ length: 8 }, () => sweep({ crashBackoffMs: 60_000 })))
      assert.equal((await store.get(id, owner))!.crashes, 1)
    })

    test('big arguments, steps and results come back whole', async () => {
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

    test('versions rise with what an owner can see', async () => {
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

    taskStoreTurns(test, () => ({ store, pass, queue, owner, newTask }))
    taskStoreWaits(test, () => ({ store, pass, queue, owner, newTask }))
    taskStoreHostile(test, () => ({ store, queue, owner, newTask }))
    taskStoreModel(test, () => ({ store, queue, owner, newTask }))

    test('closing twice is closing once', async () => {
      await store.close()
      await store.close()
    })
  })
}

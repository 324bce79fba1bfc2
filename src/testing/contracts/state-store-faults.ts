import assert from 'node:assert/strict'
import type { StateStore } from '../../ports/state-store.ts'
import type { OperationFault } from '../faults/plan.ts'
import { seededFaults } from '../faults/plan.ts'
import { FaultyStateStore } from '../faults/state-store.ts'
import type { StateStoreFixture } from './state-store.ts'
import type { TestRunner } from './suite.ts'

const TTL = { ttlMs: 60_000 }
const LOG = { maxEntries: 1000, maxBytes: 1_000_000, ttlMs: 60_000 }
const bytes = (text: string): Uint8Array => Buffer.from(text)
const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString()
/** Far more than faults of every second operation need. */
const MAX_ATTEMPTS = 1000
const failed = { code: 'backend_failed' }

/**
 * What a caller of any {@link StateStore} may rely on when operations fail, and above all when they were carried out and the
 * answer was lost: how it finds out, and what trying again does.
 */
export function stateStoreFaultContract(
  runner: TestRunner,
  name: string,
  create: () => Promise<StateStoreFixture>,
): void {
  const { describe, test, beforeEach, afterEach } = runner
  describe(`state store contract under faults: ${name}`, () => {
    /** The store as a caller sees it, and behind the faults. */
    let store: FaultyStateStore
    let sure: StateStore
    let pass: StateStoreFixture['pass']
    let fault: OperationFault | undefined
    let prefix: string
    let run = 0
    const key = (part: string): string => `${prefix}:${part}`
    beforeEach(async () => {
      ;({ store: sure, pass } = await create())
      fault = undefined
      store = new FaultyStateStore(sure, () => fault)
      prefix = `faults:${process.pid}-${Date.now()}-${++run}`
    })
    afterEach(() => store.close())

    /** Does something under a fault, which must make it fail. */
    const failing = async (kind: OperationFault, act: () => Promise<unknown>): Promise<void> => {
      fault = kind
      await assert.rejects(act(), failed)
      fault = undefined
    }
    const valueOf = async (name: string): Promise<string | undefined> => text((await sure.getMany([key(name)]))[0])

    test('what fails before it is carried out has changed nothing, and succeeds when tried again', async () => {
      const acts: [act: () => Promise<unknown>, again: unknown][] = [
        [() => store.set(key('a'), bytes('1'), { ...TTL, onlyIf: 'absent' }), true],
        [() => store.compareAndSet(key('a'), bytes('1'), bytes('2'), TTL), true],
        [() => store.append(key('log'), 0, [bytes('x')], LOG), { ok: true, last: 1, closed: false }],
        [() => store.delete([key('a')]), 1],
      ]
      for (const [act, again] of acts) {
        await failing('error-before', act)
        assert.deepEqual(await act(), again)
      }
    })

    test('a first writer whose answer was lost is refused when it tries again, and the value is its own', async () => {
      const write = (): Promise<boolean> => store.set(key('a'), bytes('mine'), { ...TTL, onlyIf: 'absent' })
      await failing('time-out-after', write)
      assert.equal(await write(), false)
      assert.equal(await valueOf('a'), 'mine')
    })

    test('a compareAndSet whose answer was lost is refused when tried again, and the value is its own', async () => {
      await sure.set(key('a'), bytes('before'), TTL)
      const write = (): Promise<boolean> => store.compareAndSet(key('a'), bytes('before'), bytes('mine'), TTL)
      await failing('time-out-after', write)
      assert.equal(await write(), false)
      assert.equal(await valueOf('a'), 'mine')
    })

    test('an append whose answer was lost is refused when tried again, and `last` tells that it is there, once', async () => {
      const append = () => store.append(key('log'), 0, [bytes('a'), bytes('b')], LOG)
      await failing('time-out-after', append)
      assert.deepEqual(await append(), { ok: false, last: 2, closed: false })
      const { entries } = await sure.readAfter(key('log'), 0, 10)
      assert.deepEqual(
        entries.map(({ value }) => text(value)),
        ['a', 'b'],
      )
    })

    test('an append that closes, whose answer was lost, is refused when tried again, and the log is closed', async () => {
      const append = () => store.append(key('log'), 0, [bytes('a')], { ...LOG, close: true })
      await failing('time-out-after', append)
      assert.deepEqual(await append(), { ok: false, last: 1, closed: true })
    })

    test('a delete whose answer was lost finds nothing when tried again', async () => {
      await sure.set(key('a'), bytes('1'), TTL)
      await failing('time-out-after', () => store.delete([key('a')]))
      assert.equal(await store.delete([key('a')]), 0)
    })

    test('tokens whose answer was lost are gone: trying again would take more', async () => {
      const bucket = { key: key('{t}'), burst: 3, intervalUs: 60_000_000, cost: 2 }
      await failing('time-out-after', () => store.takeTokens('t', [bucket]))
      assert.equal((await store.takeTokens('t', [bucket])).ok, false)
      assert.equal((await store.takeTokens('t', [{ ...bucket, cost: 1 }])).ok, true)
    })

    test('a lock whose answer was lost is held by nobody, and goes by itself', async () => {
      await failing('time-out-after', () => store.acquire(key('lock'), 300))
      assert.equal(await store.acquire(key('lock'), 300), undefined)
      await pass(400)
      assert.notEqual(await store.acquire(key('lock'), 300), undefined)
    })

    test('a release whose answer was lost is false when tried again, and the lock is free', async () => {
      const token = (await store.acquire(key('lock'), 60_000))!
      await failing('time-out-after', () => store.release(key('lock'), token))
      assert.equal(await store.release(key('lock'), token), false)
      assert.notEqual(await store.acquire(key('lock'), 60_000), undefined)
    })

    test('an extension whose answer was lost holds, and can be asked for again', async () => {
      const token = (await store.acquire(key('lock'), 300))!
      await failing('time-out-after', () => store.extend(key('lock'), token, 60_000))
      await pass(400)
      assert.equal(await store.acquire(key('lock'), 60_000), undefined)
      assert.equal(await store.extend(key('lock'), token, 60_000), true)
    })

    test('of many who count by compareAndSet, each with lost answers and delays, no step is lost and none is counted twice', async () => {
      // Who does not know how its write ended reads again; its own mark in the value tells.
      const counter = async (id: number, plan: ReturnType<typeof seededFaults<OperationFault>>): Promise<void> => {
        const faulty = new FaultyStateStore(sure, plan)
        for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
          try {
            const [before] = await faulty.getMany([key('n')])
            const marks = (text(before) ?? '').split(',').filter((mark) => mark !== '')
            if (marks.includes(String(id))) return
            await faulty.compareAndSet(key('n'), before, bytes([...marks, id].join(',')), TTL)
          } catch (error) {
            assert.equal((error as { code?: string }).code, 'backend_failed')
          }
        }
        assert.fail(`Writer ${id} did not get its mark in.`)
      }
      const faults: OperationFault[] = ['error-before', 'time-out-after', { delayMs: 1 }, { delayMs: 5 }]
      const ids = Array.from({ length: 12 }, (_, id) => id)
      await Promise.all(ids.map((id) => counter(id, seededFaults(id + 1, 0.5, faults))))
      const marks = (await valueOf('n'))!.split(',').map(Number)
      assert.deepEqual(
        marks.toSorted((a, b) => a - b),
        ids,
      )
    })

    test('a log whose writer loses answers has every entry once, in order', async () => {
      const faulty = new FaultyStateStore(
        sure,
        seededFaults<OperationFault>(7, 0.5, ['error-before', 'time-out-after']),
      )
      let last = 0
      let attempts = 0
      for (let entry = 1; entry <= 40; entry++) {
        while (last < entry) {
          assert.ok(++attempts < MAX_ATTEMPTS, `Entry ${entry} can not be appended.`)
          try {
            ;({ last } = await faulty.append(key('log'), last, [bytes(String(entry))], LOG))
          } catch (error) {
            assert.equal((error as { code?: string }).code, 'backend_failed')
          }
        }
      }
      const { entries } = await sure.readAfter(key('log'), 0, 100)
      assert.deepEqual(
        entries.map(({ id, value }) => [id, text(value)]),
        Array.from({ length: 40 }, (_, index) => [index + 1, String(index + 1)]),
      )
    })
  })
}

import assert from 'node:assert/strict'
import type { StateStore } from '../../ports/state-store.ts'
import type { TestRunner } from './suite.ts'

/** A store under test, and how to let its time pass. */
export interface StateStoreFixture {
  store: StateStore
  /** Lets `ms` pass for the store: by moving an injected clock, or by waiting. */
  pass(ms: number): Promise<void>
}

const bytes = (text: string): Uint8Array => Buffer.from(text)
const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString()
/** A duration that the store's clock decides: a real one goes on while the test runs. */
const near = (ms: number, expectedMs: number): void =>
  assert.ok(ms <= expectedMs && ms > expectedMs - 10_000, `${ms} ms; expected ${expectedMs} or a little less`)
const LOG = { maxEntries: 100, maxBytes: 1_000_000, ttlMs: 60_000 }

/** What every {@link StateStore} must do. Keys are unique to each test, so that a shared server may be used. */
export function stateStoreContract(runner: TestRunner, name: string, create: () => Promise<StateStoreFixture>): void {
  const { describe, test, beforeEach, afterEach } = runner
  describe(`state store contract: ${name}`, () => {
    let store: StateStore
    let pass: StateStoreFixture['pass']
    let prefix: string
    let run = 0
    const key = (part: string): string => `${prefix}:${part}`
    beforeEach(async () => {
      ;({ store, pass } = await create())
      prefix = `contract:${process.pid}-${Date.now()}-${++run}`
    })
    afterEach(() => store.close())

    test('a value is read back as it was written, byte for byte', async () => {
      const value = Uint8Array.from({ length: 256 }, (_, index) => index)
      assert.equal(await store.set(key('a'), value, { ttlMs: 60_000 }), true)
      const [read] = await store.getMany([key('a')])
      assert.deepEqual(Buffer.from(read!), Buffer.from(value))
    })

    test('a value is a copy: what the caller does with its bytes later changes nothing', async () => {
      const value = Buffer.from('before')
      await store.set(key('a'), value, { ttlMs: 60_000 })
      value.write('after!')
      assert.equal(text((await store.getMany([key('a')]))[0]), 'before')
    })

    test('reading several keys keeps their order, with undefined for those that are missing', async () => {
      await store.set(key('a'), bytes('1'), { ttlMs: 60_000 })
      await store.set(key('c'), bytes('3'), { ttlMs: 60_000 })
      assert.deepEqual((await store.getMany([key('c'), key('b'), key('a')])).map(text), ['3', undefined, '1'])
      assert.deepEqual(await store.getMany([]), [])
    })

    test('hostile keys and empty values are kept apart', async () => {
      const keys = ['', ' ', '\n', '{', '{a}b', '*', '?', '\u0000', '💣', 'a'.repeat(1000)].map(key)
      for (const [index, one] of keys.entries()) await store.set(one, bytes(String(index)), { ttlMs: 60_000 })
      assert.deepEqual(
        (await store.getMany(keys)).map(text),
        keys.map((_, index) => String(index)),
      )
      await store.set(keys[0]!, new Uint8Array(0), { ttlMs: 60_000 })
      assert.equal((await store.getMany([keys[0]!]))[0]?.length, 0)
    })

    test('a value of a megabyte is kept whole', async () => {
      const value = Buffer.alloc(1024 * 1024, 7)
      await store.set(key('big'), value, { ttlMs: 60_000 })
      assert.equal(Buffer.compare(Buffer.from((await store.getMany([key('big')]))[0]!), value), 0)
    })

    test('a key expires after its time to live, and not before', async () => {
      await store.set(key('a'), bytes('x'), { ttlMs: 400 })
      await pass(100)
      assert.equal(text((await store.getMany([key('a')]))[0]), 'x')
      await pass(500)
      assert.equal((await store.getMany([key('a')]))[0], undefined)
    })

    test('writing again sets the time to live anew', async () => {
      await store.set(key('a'), bytes('x'), { ttlMs: 400 })
      await store.set(key('a'), bytes('y'), { ttlMs: 60_000 })
      await pass(600)
      assert.equal(text((await store.getMany([key('a')]))[0]), 'y')
    })

    test('onlyIf writes where it holds, and tells where it does not', async () => {
      assert.equal(await store.set(key('a'), bytes('1'), { ttlMs: 60_000, onlyIf: 'present' }), false)
      assert.equal(await store.set(key('a'), bytes('2'), { ttlMs: 60_000, onlyIf: 'absent' }), true)
      assert.equal(await store.set(key('a'), bytes('3'), { ttlMs: 60_000, onlyIf: 'absent' }), false)
      assert.equal(text((await store.getMany([key('a')]))[0]), '2')
      assert.equal(await store.set(key('a'), bytes('4'), { ttlMs: 60_000, onlyIf: 'present' }), true)
      assert.equal(text((await store.getMany([key('a')]))[0]), '4')
    })

    test('of many who set an absent key at once, one wins', async () => {
      const won = await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          store.set(key('a'), bytes(String(index)), { ttlMs: 60_000, onlyIf: 'absent' }),
        ),
      )
      assert.equal(won.filter(Boolean).length, 1)
      assert.equal(text((await store.getMany([key('a')]))[0]), String(won.indexOf(true)))
    })

    test('compareAndSet writes only over what is expected, absence included', async () => {
      assert.equal(await store.compareAndSet(key('a'), bytes('1'), bytes('2'), { ttlMs: 60_000 }), false)
      assert.equal(await store.compareAndSet(key('a'), undefined, bytes('2'), { ttlMs: 60_000 }), true)
      assert.equal(await store.compareAndSet(key('a'), undefined, bytes('3'), { ttlMs: 60_000 }), false)
      assert.equal(await store.compareAndSet(key('a'), bytes('2'), bytes('3'), { ttlMs: 60_000 }), true)
      assert.equal(text((await store.getMany([key('a')]))[0]), '3')
    })

    test('counting by compareAndSet from many sides at once loses no step', async () => {
      const step = async (): Promise<void> => {
        for (;;) {
          const [before] = await store.getMany([key('n')])
          const after = bytes(String(Number(text(before) ?? 0) + 1))
          if (await store.compareAndSet(key('n'), before, after, { ttlMs: 60_000 })) return
        }
      }
      await Promise.all(Array.from({ length: 20 }, step))
      assert.equal(text((await store.getMany([key('n')]))[0]), '20')
    })

    test('delete tells how many keys there were', async () => {
      await store.set(key('a'), bytes('1'), { ttlMs: 60_000 })
      await store.set(key('b'), bytes('2'), { ttlMs: 60_000 })
      assert.equal(await store.delete([key('a'), key('b'), key('c')]), 2)
      assert.deepEqual(await store.getMany([key('a'), key('b')]), [undefined, undefined])
      assert.equal(await store.delete([]), 0)
    })

    test('a log gives its entries back in order, from any point on', async () => {
      assert.deepEqual(await store.append(key('log'), 0, [bytes('a'), bytes('b')], LOG), {
        ok: true,
        last: 2,
        closed: false,
      })
      assert.deepEqual(await store.append(key('log'), 2, [bytes('c')], LOG), { ok: true, last: 3, closed: false })
      const { entries, truncated, closed } = await store.readAfter(key('log'), 1, 10)
      assert.deepEqual(
        entries.map(({ id, value }) => [id, text(value)]),
        [
          [2, 'b'],
          [3, 'c'],
        ],
      )
      assert.deepEqual([truncated, closed], [false, false])
    })

    test('an append that does not name the last id is refused and changes nothing', async () => {
      await store.append(key('log'), 0, [bytes('a')], LOG)
      assert.deepEqual(await store.append(key('log'), 0, [bytes('again')], LOG), { ok: false, last: 1, closed: false })
      assert.deepEqual(
        (await store.readAfter(key('log'), 0, 10)).entries.map(({ value }) => text(value)),
        ['a'],
      )
    })

    test('of many who append after the same id at once, one is taken', async () => {
      const results = await Promise.all(
        Array.from({ length: 30 }, (_, index) => store.append(key('log'), 0, [bytes(String(index))], LOG)),
      )
      assert.equal(results.filter(({ ok }) => ok).length, 1)
      assert.equal((await store.readAfter(key('log'), 0, 100)).entries.length, 1)
    })

    test('a closed log takes no more, and says so at its end', async () => {
      await store.append(key('log'), 0, [bytes('a')], { ...LOG, close: true })
      assert.deepEqual(await store.append(key('log'), 1, [bytes('b')], LOG), { ok: false, last: 1, closed: true })
      const read = await store.readAfter(key('log'), 0, 10)
      assert.equal(read.closed, true)
      assert.equal(read.entries.length, 1)
    })

    test('a reader with a limit is told of the close only when it has read everything', async () => {
      await store.append(key('log'), 0, [bytes('a'), bytes('b')], { ...LOG, close: true })
      assert.equal((await store.readAfter(key('log'), 0, 1)).closed, false)
      assert.equal((await store.readAfter(key('log'), 1, 1)).closed, true)
    })

    test('a log can be closed without a last entry', async () => {
      assert.deepEqual(await store.append(key('log'), 0, [], { ...LOG, close: true }), {
        ok: true,
        last: 0,
        closed: true,
      })
      assert.deepEqual(await store.readAfter(key('log'), 0, 10), { entries: [], truncated: false, closed: true })
    })

    test('a log keeps the newest entries within its bounds, and says what is gone', async () => {
      const entries = Array.from({ length: 10 }, (_, index) => bytes(String(index)))
      await store.append(key('log'), 0, entries, { ...LOG, maxEntries: 4 })
      const read = await store.readAfter(key('log'), 0, 100)
      assert.deepEqual(
        read.entries.map(({ value }) => text(value)),
        ['6', '7', '8', '9'],
      )
      assert.equal(read.truncated, true)
      assert.equal((await store.readAfter(key('log'), 6, 100)).truncated, false)
    })

    test('a log is bounded in bytes too, but its newest entry stays', async () => {
      await store.append(key('log'), 0, [Buffer.alloc(600), Buffer.alloc(600)], { ...LOG, maxBytes: 1000 })
      assert.equal((await store.readAfter(key('log'), 0, 10)).entries.length, 1)
      await store.append(key('log'), 2, [Buffer.alloc(5000)], { ...LOG, maxBytes: 1000 })
      assert.deepEqual(
        (await store.readAfter(key('log'), 0, 10)).entries.map(({ id }) => id),
        [3],
      )
    })

    test('a log expires as a whole', async () => {
      await store.append(key('log'), 0, [bytes('a')], { ...LOG, ttlMs: 300 })
      await pass(500)
      assert.deepEqual(await store.readAfter(key('log'), 0, 10), { entries: [], truncated: false, closed: false })
      assert.equal((await store.append(key('log'), 0, [bytes('new')], LOG)).ok, true)
    })

    test('a log that is gone tells so to who had read some of it, and nothing to who had not', async () => {
      await store.append(key('log'), 0, [bytes('a')], LOG)
      assert.equal(await store.delete([key('log')]), 1)
      assert.deepEqual(await store.readAfter(key('log'), 1, 10), { entries: [], truncated: true, closed: false })
      assert.equal((await store.readAfter(key('log'), 0, 10)).truncated, false)
    })

    test('an entry of a megabyte is kept whole', async () => {
      const value = Buffer.alloc(1024 * 1024, 7)
      await store.append(key('log'), 0, [bytes('small'), value], { ...LOG, maxBytes: 4 * value.length })
      const { entries } = await store.readAfter(key('log'), 1, 10)
      assert.equal(Buffer.compare(Buffer.from(entries[0]!.value), value), 0)
    })

    test('a bucket that was never used is full; taking lessens it; what is not there is refused, and nothing taken', async () => {
      const bucket = { key: key('{t}'), burst: 10, intervalUs: 60_000_000 }
      const first = await store.takeTokens('t', [{ ...bucket, cost: 3 }])
      assert.equal(first.ok, true)
      assert.deepEqual([first.buckets[0]!.granted, first.buckets[0]!.remaining], [3, 7])
      near(first.buckets[0]!.fullAfterMs, 180_000)
      const refused = await store.takeTokens('t', [{ ...bucket, cost: 8 }])
      assert.ok(!refused.ok)
      assert.equal(refused.refusedBy, 0)
      near(refused.retryAfterMs, 60_000)
      assert.deepEqual([refused.buckets[0]!.granted, refused.buckets[0]!.remaining], [0, 7])
      assert.equal((await store.takeTokens('t', [{ ...bucket, cost: 7 }])).buckets[0]!.remaining, 0)
    })

    test("tokens come back one by one, by the store's clock, and no more of them than the burst", async () => {
      const bucket = { key: key('{t}'), burst: 2, intervalUs: 1_000_000 }
      assert.equal((await store.takeTokens('t', [{ ...bucket, cost: 2 }])).ok, true)
      const refused = await store.takeTokens('t', [{ ...bucket, cost: 1 }])
      assert.ok(!refused.ok)
      assert.ok(refused.retryAfterMs <= 1000)
      await pass(refused.retryAfterMs + 1)
      assert.equal((await store.takeTokens('t', [{ ...bucket, cost: 1 }])).ok, true)
      assert.equal((await store.takeTokens('t', [{ ...bucket, cost: 2 }])).ok, false)
      await pass(2500)
      const after = await store.takeTokens('t', [{ ...bucket, cost: 0 }])
      assert.deepEqual(after, { ok: true, buckets: [{ granted: 0, remaining: 2, fullAfterMs: 0 }] })
    })

    test('a full bucket gives its whole burst, whatever its interval', async () => {
      for (const intervalUs of [1_000_000 / 3, 60_000_000 / 7, 3_600_000_000 / 1001])
        for (const burst of [1, 2, 3, 7, 1001]) {
          const bucket = { key: key(`{t}:${intervalUs}:${burst}`), burst, intervalUs, cost: burst }
          assert.equal((await store.takeTokens('t', [bucket])).ok, true, `${burst} every ${intervalUs} µs`)
        }
    })

    test('tokens are taken from all the buckets or from none; the one that takes longest is named', async () => {
      const bucket = (name: string, burst: number, intervalUs: number) => ({
        key: key(`{t}:${name}`),
        burst,
        intervalUs,
      })
      const wide = bucket('wide', 100, 60_000_000)
      const narrow = bucket('narrow', 1, 60_000_000)
      const narrower = bucket('narrower', 1, 600_000_000)
      const all = [wide, narrow, narrower].map((one) => ({ ...one, cost: 1 }))
      assert.equal((await store.takeTokens('t', all)).ok, true)
      const refused = await store.takeTokens('t', all)
      assert.ok(!refused.ok)
      assert.equal(refused.refusedBy, 2)
      near(refused.retryAfterMs, 600_000)
      assert.deepEqual(
        refused.buckets.map(({ granted, remaining }) => [granted, remaining]),
        [
          [0, 99],
          [0, 0],
          [0, 0],
        ],
      )
      assert.equal((await store.takeTokens('t', [{ ...wide, cost: 99 }])).ok, true)
      assert.deepEqual(await store.takeTokens('t', []), { ok: true, buckets: [] })
    })

    test('who can do with fewer takes what there is, down to the least it asked for', async () => {
      const bucket = { key: key('{t}'), burst: 5, intervalUs: 60_000_000 }
      assert.equal((await store.takeTokens('t', [{ ...bucket, cost: 2 }])).ok, true)
      const fewer = await store.takeTokens('t', [{ ...bucket, cost: 5, least: 2 }])
      assert.equal(fewer.ok, true)
      assert.deepEqual([fewer.buckets[0]!.granted, fewer.buckets[0]!.remaining], [3, 0])
      const refused = await store.takeTokens('t', [{ ...bucket, cost: 5, least: 2 }])
      assert.ok(!refused.ok)
      near(refused.retryAfterMs, 120_000)
      const none = await store.takeTokens('t', [{ ...bucket, cost: 5, least: 0 }])
      assert.deepEqual([none.ok, none.buckets[0]!.granted], [true, 0])
    })

    test('tokens that are given back can be taken again, and a bucket never gets fuller than full', async () => {
      const bucket = { key: key('{t}'), burst: 3, intervalUs: 60_000_000 }
      const remaining = async (cost: number): Promise<number> =>
        (await store.takeTokens('t', [{ ...bucket, cost }])).buckets[0]!.remaining
      assert.equal(await remaining(3), 0)
      assert.equal(await remaining(-2), 2)
      assert.equal(await remaining(0), 2)
      assert.equal(await remaining(-5), 3)
      assert.equal((await store.takeTokens('t', [{ ...bucket, cost: 4, least: 1 }])).buckets[0]!.granted, 3)
      assert.equal((await store.takeTokens('t', [{ ...bucket, cost: 1 }])).ok, false)
    })

    test('many who take at once never get more than the burst, and leave nothing of it', async () => {
      const bucket = { key: key('{t}'), burst: 20, intervalUs: 60_000_000, cost: 1 }
      const taken = await Promise.all(Array.from({ length: 50 }, () => store.takeTokens('t', [bucket])))
      assert.equal(taken.filter(({ ok }) => ok).length, 20)
    })

    test('of many who want a lock at once, one gets it; only its token gives it back', async () => {
      const tokens = await Promise.all(Array.from({ length: 30 }, () => store.acquire(key('lock'), 60_000)))
      const [token, ...others] = tokens.filter((one) => one !== undefined)
      assert.equal(others.length, 0)
      assert.equal(await store.release(key('lock'), 'foreign'), false)
      assert.equal(await store.acquire(key('lock'), 60_000), undefined)
      assert.equal(await store.release(key('lock'), token!), true)
      assert.equal(await store.release(key('lock'), token!), false)
      assert.notEqual(await store.acquire(key('lock'), 60_000), undefined)
    })

    test('a lock goes by itself, and its late holder does not take it from the next', async () => {
      const late = await store.acquire(key('lock'), 300)
      await pass(400)
      const next = await store.acquire(key('lock'), 60_000)
      assert.notEqual(next, undefined)
      assert.equal(await store.release(key('lock'), late!), false)
      assert.equal(await store.release(key('lock'), next!), true)
    })

    test('who holds a lock can hold it longer, again and again; who does not hold it can not', async () => {
      const token = (await store.acquire(key('lock'), 400))!
      assert.equal(await store.extend(key('lock'), 'foreign', 60_000), false)
      for (let round = 0; round < 3; round++) {
        await pass(250)
        assert.equal(await store.extend(key('lock'), token, 400), true)
      }
      assert.equal(await store.acquire(key('lock'), 60_000), undefined)
      await pass(600)
      assert.equal(await store.extend(key('lock'), token, 60_000), false)
      assert.notEqual(await store.acquire(key('lock'), 60_000), undefined)
      assert.equal(await store.extend(key('lock'), token, 60_000), false)
    })

    test('a lock that was given back can not be held longer', async () => {
      const token = (await store.acquire(key('lock'), 60_000))!
      await store.release(key('lock'), token)
      assert.equal(await store.extend(key('lock'), token, 60_000), false)
      assert.notEqual(await store.acquire(key('lock'), 60_000), undefined)
    })

    test('close may be called twice, and use after it is refused', async () => {
      await store.close()
      await store.close()
      await assert.rejects(store.getMany([key('a')]), { code: 'closed' })
    })
  })
}

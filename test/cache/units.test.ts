import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { anyCodec } from '../../src/cache/codec.ts'
import { Coalescer } from '../../src/cache/coalescer.ts'
import { toKeyText } from '../../src/cache/key-text.ts'
import { decodeRecord, encodeRecord, type CacheRecord } from '../../src/cache/record.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { eventually } from '../clients/eventually.ts'
import { entry, TestNode, Work } from './nodes.ts'

test('texts of keys are equal where values are, whatever the order of their members, and only there', () => {
  const json = fc.jsonValue({ maxDepth: 3 })
  fc.assert(
    fc.property(json, json, (a, b) => {
      const isSame = JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))
      expect(toKeyText(a) === toKeyText(b)).toBe(isSame)
      expect(toKeyText(a)).toBe(toKeyText(reversed(a)))
    }),
  )
  expect(toKeyText({ a: 1, b: undefined })).toBe('{"a":1}')
  expect(toKeyText(-0)).toBe('0')
})
const sorted = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(sorted)
    : typeof value === 'object' && value !== null
      ? Object.entries(value)
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([name, member]) => ['member', name, sorted(member)])
          .concat([['object']])
      : value
const reversed = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(reversed)
    : typeof value === 'object' && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .toReversed()
            .map(([name, member]) => [name, reversed(member)]),
        )
      : value

const loop: unknown[] = []
loop.push(loop)
test.each<[string, unknown]>([
  ['undefined', undefined],
  ['undefined in an array', [undefined]],
  ['NaN', [Number.NaN]],
  ['Infinity', Infinity],
  ['a bigint', 1n],
  ['a function', { f: () => 1 }],
  ['a symbol', Symbol('s')],
  ['a Map', new Map([[1, 2]])],
  ['a Set', new Set([1])],
  ['bytes', new Uint8Array(2)],
  ['a date that is none', new Date(Number.NaN)],
  ['an object of a class', Object.create({ of: 'a class' })],
  ['what holds itself', loop],
])('a key that is or holds %s is refused, and not taken for another', (_, key) => {
  expect(() => toKeyText(key)).toThrow(expect.objectContaining({ code: 'invalid_cache' }))
})

const record = (payload: Uint8Array): CacheRecord => ({
  payload,
  isThrown: false,
  freshUntilMs: 1,
  staleUntilMs: 2,
  keptUntilMs: 3.5,
  generations: 'a.b',
})
test('records come back as they were; what is big is compressed, unless it is dense, or gains nothing', async () => {
  const text = Buffer.from('the same again '.repeat(1000))
  const noise = Buffer.from(
    Array.from({ length: 20_000 }, (_, index) => (Math.imul(index, 2_654_435_761) >>> 13) & 255),
  )
  for (const payload of [new Uint8Array(0), Buffer.from('small'), text, noise])
    for (const isDense of [false, true]) {
      const bytes = await encodeRecord({ ...record(payload), isThrown: isDense }, isDense)
      const decoded = (await decodeRecord(bytes, 1_000_000))!
      expect({ ...decoded, payload: Buffer.from(decoded.payload) }).toEqual({
        ...record(Buffer.from(payload)),
        isThrown: isDense,
      })
      if (payload === text) expect(bytes.length < text.length / 10).toBe(!isDense)
      else expect(bytes.length).toBeLessThanOrEqual(payload.length + 40)
    }
  expect(await decodeRecord(Buffer.from('too short'), 1_000)).toBeUndefined()
})

test('what is no record any more is computed anew, and written over', async () => {
  const clock = new FakeClock()
  const state = new MemoryStateStore(clock)
  const shared = { state, bus: new MemoryEventBus() }
  await using one = await TestNode.start(shared, { clock, maxBytes: 1 })
  const keys: string[] = []
  const set = state.set.bind(state)
  state.set = async (key, value, options) => {
    if (key.startsWith('cache:value:')) keys.push(key)
    return set(key, value, options)
  }
  const big = 'x'.repeat(10_000)
  expect(await one.get(entry('a'), () => big)).toBe(big)
  await eventually(() => keys.length).toBe(1)
  const [good] = await state.getMany(keys)
  for (const bad of [
    Buffer.from('?'),
    Buffer.alloc(100, 255),
    Buffer.concat([good!.subarray(0, 40), Buffer.alloc(50)]),
  ]) {
    await set(keys[0]!, bad, { ttlMs: 60_000 })
    const before = keys.length
    expect(await one.get(entry('a'), () => `${big}!`)).toBe(`${big}!`)
    await eventually(() => keys.length).toBe(before + 1)
  }
})

test('the memory stays within its bytes; what does not fit is found in the store', async () => {
  const clock = new FakeClock()
  const shared = { state: new MemoryStateStore(clock), bus: new MemoryEventBus() }
  await using one = await TestNode.start(shared, { clock, maxBytes: 50_000 })
  for (let index = 0; index < 100; index++) await one.get(entry(index), () => 'x'.repeat(2_000))
  expect(one.cache.memory.bytes).toBeLessThanOrEqual(50_000)
  expect(one.cache.memory.bytes).toBeGreaterThan(30_000)
  expect(one.cache.memory.evictions).toBe(100 - one.cache.memory.count)
  expect((await one.through(entry(0), () => 'y')).from).toBe('store')
  expect((await one.through(entry(99), () => 'y')).from).toBe('memory')
})

test('values that are made together do not expire together, and none later than it may', async () => {
  const clock = new FakeClock()
  await using one = await TestNode.start(undefined, { clock })
  const fresh: number[] = []
  for (let index = 0; index < 500; index++)
    fresh.push((await one.through(entry(index, { ttlMs: 1_000 }), () => 1)).freshForMs)
  expect(Math.min(...fresh)).toBeGreaterThanOrEqual(900)
  expect(Math.max(...fresh)).toBeLessThanOrEqual(1_000)
  expect(Math.max(...fresh) - Math.min(...fresh)).toBeGreaterThan(80)
  const tenths = Array.from(
    { length: 10 },
    (_, tenth) => fresh.filter((ms) => Math.min(9, Math.floor((ms - 900) / 10)) === tenth).length,
  )
  for (const count of tenths) expect(count).toBeGreaterThan(20)
})

test('who computes for longer than a lease keeps the lead', async () => {
  const clock = new FakeClock()
  const shared = { state: new MemoryStateStore(clock), bus: new MemoryEventBus() }
  await using one = await TestNode.start(shared, { clock })
  await using two = await TestNode.start(shared, { clock })
  const work = new Work()
  const got = [one.get(entry('a'), work.compute), two.get(entry('a'), work.compute)]
  await eventually(() => work.count).toBe(1)
  await clock.advance(25_000)
  expect(work.count).toBe(1)
  work.finish(1)
  expect(await Promise.all(got)).toEqual([1, 1])
  expect(work.count).toBe(1)
})

test('who follows a leader that never ends computes when the flight is overdue', async () => {
  const clock = new FakeClock()
  const shared = { state: new MemoryStateStore(clock), bus: new MemoryEventBus() }
  await using one = await TestNode.start(shared, { clock })
  await using two = await TestNode.start(shared, { clock })
  const asked = entry('a', { maxFlightMs: 3_000 })
  const stuck = new Work()
  const never = one.get(asked, stuck.compute)
  await eventually(() => stuck.count).toBe(1)
  let got: number | undefined
  const following = [two.get(asked, () => 2), two.get(asked, () => 3)].map((one) => one.then((value) => (got = value)))
  // The leader's lease and bound, and the follower's wait.
  await eventually(() => clock.sleeping).toBe(3)
  await clock.advance(2_900)
  expect(got).toBeUndefined()
  await clock.advance(200)
  expect(new Set(await Promise.all(following))).toEqual(new Set([2]))
  expect(two.told.of('unled')).toBe(1)
  stuck.finish(1)
  expect(await never).toBe(1)
})

test('a process that is alone caches in memory, with tags, flights and all', async () => {
  const clock = new FakeClock()
  await using one = await TestNode.start(undefined, { clock })
  const work = new Work()
  const asked = entry('a', { tags: ['x'], staleMs: 1_000 })
  const got = Array.from({ length: 100 }, () => one.get(asked, work.compute))
  await eventually(() => work.count).toBe(1)
  await one.cache.invalidate(['x'])
  const after = one.get(asked, () => 2)
  expect(await after).toBe(2)
  work.finish(1)
  expect(new Set(await Promise.all(got))).toEqual(new Set([1]))
  expect(await one.get(asked, () => 3)).toBe(2)
  const [slot] = await one.cache.lookup([asked], anyCodec)
  expect(slot!.found).toMatchObject({ value: 2, from: 'memory' })
  expect(one.told.degraded).toBe(0)
})

test('a read is shared only with who came before it was sent', async () => {
  const reads = new Coalescer<number>()
  const sent: PromiseWithResolvers<number>[] = []
  const read = (): Promise<number> => {
    const one = Promise.withResolvers<number>()
    sent.push(one)
    return one.promise
  }
  const early = [reads.run('k', read), reads.run('k', read)]
  await eventually(() => sent.length).toBe(1)
  const late = [reads.run('k', read), reads.run('k', read)]
  const other = reads.run('other', read)
  await eventually(() => sent.length).toBe(2)
  sent[0]!.resolve(1)
  sent[1]!.resolve(7)
  expect(await Promise.all([...early, other])).toEqual([1, 1, 7])
  await eventually(() => sent.length).toBe(3)
  sent[2]!.reject(new Error('lost'))
  for (const one of late) await expect(one).rejects.toThrow('lost')
  const next = reads.run('k', read)
  await eventually(() => sent.length).toBe(4)
  sent[3]!.resolve(4)
  expect(await next).toBe(4)
})

test('what goes on in the background ends with the cache, and what was computed is stored first', async () => {
  const clock = new FakeClock()
  const state = new MemoryStateStore(clock)
  const shared = { state, bus: new MemoryEventBus() }
  const one = await TestNode.start(shared, { clock })
  const asked = entry('a', { staleMs: 60_000 })
  expect(await one.get(asked, () => 1)).toBe(1)
  await clock.advance(60_000)
  const work = new Work()
  expect(await one.get(asked, work.compute)).toBe(1)
  await eventually(() => work.count).toBe(1)
  const { signal, ready } = work.started[0]!
  signal.addEventListener('abort', () => ready.reject(signal.reason))
  await one.cache.close()
  expect(signal.aborted).toBe(true)
  await using two = await TestNode.start(shared, { clock })
  expect((await two.through(asked, () => 2)).value).toBe(1)
})

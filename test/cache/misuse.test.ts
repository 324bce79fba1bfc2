import { zstdCompressSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { partitionOf } from '../../src/cache/cache.ts'
import { anyCodec } from '../../src/cache/codec.ts'
import { encodeRecord, type CacheRecord } from '../../src/cache/record.ts'
import { CacheRequest } from '../../src/cache/request.ts'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { ANONYMOUS } from '../../src/define/context.ts'
import { CACHE_CHANNEL } from '../../src/kernel/keys.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { entry, TestNode, type Shared } from './nodes.ts'

const TTL_MS = 60_000
const sharedAt = (clock: FakeClock): Shared => ({ state: new MemoryStateStore(clock), bus: new MemoryEventBus() })
const keyOf = (asked: ReturnType<typeof entry>): string =>
  new CacheRequest('test', asked, anyCodec, () => undefined).storeKey

describe('bytes of strangers in the store', () => {
  const record = (more: Partial<CacheRecord>): CacheRecord => ({
    payload: Buffer.from('\u0000"of strangers"'),
    isThrown: false,
    freshUntilMs: Date.UTC(2026, 0, 1) + TTL_MS,
    staleUntilMs: Date.UTC(2026, 0, 1) + TTL_MS,
    keptUntilMs: Date.UTC(2026, 0, 1) + TTL_MS,
    generations: '',
    ...more,
  })
  const compressed = async (payload: Uint8Array): Promise<Uint8Array> => {
    const bytes = Buffer.from(await encodeRecord(record({ payload }), true))
    bytes[0] = 2
    return bytes
  }
  test.each<[string, () => Promise<Uint8Array> | Uint8Array]>([
    ['none', () => new Uint8Array()],
    ['no record', () => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['a record whose JSON is none', () => encodeRecord(record({ payload: Buffer.from('\u0000{"a":') }), true)],
    ['a record of an unknown kind of value', () => encodeRecord(record({ payload: Buffer.from('\u0009abc') }), true)],
    ['a record of no value', () => encodeRecord(record({ payload: new Uint8Array() }), true)],
    ['an error that is none', () => encodeRecord(record({ payload: Buffer.from('nothing'), isThrown: true }), true)],
    ['an error of nothing', () => encodeRecord(record({ payload: Buffer.from('null'), isThrown: true }), true)],
    ['what can not be decompressed', () => compressed(Buffer.from('nothing'))],
    ['what would fill the memory', () => compressed(zstdCompressSync(Buffer.alloc(33 * 1024 * 1024)))],
    ['a record of no time', () => encodeRecord(record({ keptUntilMs: NaN, freshUntilMs: NaN }), true)],
  ])('are taken for no value, and written over: %s', async (_what, bytes) => {
    const clock = new FakeClock()
    const shared = sharedAt(clock)
    await using one = await TestNode.start(shared, { clock })
    await using two = await TestNode.start(shared, { clock })
    await shared.state.set(keyOf(entry('a')), await bytes(), { ttlMs: TTL_MS })
    expect(await one.through(entry('a'), () => 'mine')).toMatchObject({ value: 'mine', from: 'computed' })
    expect(await one.get(entry('a'), () => 'again')).toBe('mine')
    expect(await two.get(entry('a'), () => 'again')).toBe('mine')
    const [slot] = await two.cache.lookup([entry('a')], anyCodec)
    expect(slot!.found).toMatchObject({ value: 'mine' })
  })

  test('that claim to be fresh for ever are given out for no longer than what was computed', async () => {
    const clock = new FakeClock()
    const shared = sharedAt(clock)
    await using one = await TestNode.start(shared, { clock })
    const forever = record({ freshUntilMs: Infinity, staleUntilMs: Infinity, keptUntilMs: Infinity })
    await shared.state.set(keyOf(entry('a')), await encodeRecord(forever, true), { ttlMs: TTL_MS })
    expect(await one.get(entry('a'), () => 'mine')).toBe('of strangers')
    await clock.advance(TTL_MS)
    expect(await one.get(entry('a'), () => 'mine')).toBe('mine')
  })

  test('of a tag are a generation like any other; messages of strangers harm nothing', async () => {
    const clock = new FakeClock()
    const shared = sharedAt(clock)
    await using one = await TestNode.start(shared, { clock })
    const tagged = entry('a', { tags: ['x'] })
    const [tagKey] = new CacheRequest('test', tagged, anyCodec, () => undefined).tagKeys
    await shared.state.set(tagKey!, Buffer.alloc(100_000, 1), { ttlMs: TTL_MS })
    for (const said of ['', '{', 'null', '7', '[]', '[7]', '["landed"]', '["invalidated"]', '["other","x"]', '\u0000'])
      await shared.bus.publish(CACHE_CHANNEL, Buffer.from(said))
    let computed = 0
    for (let time = 0; time < 3; time++) expect(await one.get(tagged, () => ++computed)).toBeGreaterThan(0)
    await one.cache.invalidate(['x'])
    const before = computed
    expect(await one.get(tagged, () => ++computed)).toBe(before + 1)
    expect(await one.get(tagged, () => ++computed)).toBe(before + 1)
  })
})

test('nodes whose clocks differ by an hour give nothing out for longer than twice its time', async () => {
  const clock = new FakeClock()
  const shared = sharedAt(clock)
  const skewed = (ms: number): FakeClock =>
    Object.assign(Object.create(clock) as FakeClock, {
      now: () => clock.now() + ms,
      monotonic: () => clock.monotonic(),
      sleep: (...args: Parameters<FakeClock['sleep']>) => clock.sleep(...args),
    })
  const nodes = await Promise.all([0, -3_600_000, 3_600_000].map((ms) => TestNode.start(shared, { clock: skewed(ms) })))
  for (const [index, first] of nodes.entries()) {
    const asked = entry(`by ${index}`)
    expect(await first.get(asked, () => clock.now())).toBe(clock.now())
    for (let step = 0; step < 40; step++) {
      for (const node of nodes) {
        const madeMs = await node.get(asked, () => clock.now())
        expect(clock.now() - madeMs).toBeLessThan(2 * TTL_MS)
      }
      await clock.advance(10_000)
    }
  }
  for (const { cache } of nodes) await cache.close()
})

test('keys are told apart, whatever they hold and however they are split', async () => {
  await using one = await TestNode.start(undefined)
  const long = 'x'.repeat(300)
  const entries = [
    entry(JSON.parse('{"__proto__":{"a":1}}')),
    entry({}),
    entry(JSON.parse('{"constructor":1}')),
    entry({ a: 1, b: 2 }),
    entry({ a: { b: 2 } }),
    entry(['a', 'b']),
    entry('["a","b"]'),
    entry(['a,b']),
    entry(['a', ['b']]),
    entry([]),
    entry(''),
    entry(null),
    entry('null'),
    entry(0),
    entry('0'),
    entry(false),
    entry('a\nb'),
    entry('b'),
    entry('b', { version: 'a' }),
    entry('b', { version: 'b' }),
    entry('b', { cache: 'test2' }),
    entry('b', { partition: 'ada' }),
    entry('\ud800'),
    entry('\ud801'),
    entry('\\ud800'),
    entry(long),
    entry([long]),
    entry(`${long}y`),
    entry(1e21),
    entry('1e21'),
  ]
  for (const [index, one_] of entries.entries()) expect(await one.get(one_, () => index)).toBe(index)
  for (const [index, one_] of entries.entries()) expect(await one.get(one_, () => 'other')).toBe(index)
})

test('servers that share a store see nothing of each other, and invalidate nothing of each other', async () => {
  const clock = new FakeClock()
  const shared = sharedAt(clock)
  await using one = await TestNode.start(shared, { clock, server: 'one' })
  await using two = await TestNode.start(shared, { clock, server: 'two' })
  for (const tags of [undefined, ['x']]) {
    expect(await one.get(entry('a', { tags }), () => 'of one')).toBe('of one')
    expect(await two.get(entry('a', { tags }), () => 'of two')).toBe('of two')
  }
  await two.cache.invalidate(['x'])
  expect(await one.get(entry('a', { tags: ['x'] }), () => 'other')).toBe('of one')
})

test('a value that the memory can not hold is given all the same, from the store, and puts nothing else out', async () => {
  const clock = new FakeClock()
  const shared = sharedAt(clock)
  await using one = await TestNode.start(shared, { clock, maxBytes: 10_000 })
  await using alone = await TestNode.start(undefined, { clock, maxBytes: 10_000 })
  const big = 'x'.repeat(20_000)
  for (const node of [one, alone]) await node.get(entry('small'), () => 'small')
  expect(await one.through(entry('big'), () => big)).toMatchObject({ value: big, from: 'computed' })
  expect(await one.through(entry('big'), () => 'other')).toMatchObject({
    value: big,
    from: expect.stringMatching(/^(store|waited)$/) as string, // its own writing, which nobody waits for
  })
  expect(await alone.get(entry('big'), () => big)).toBe(big)
  expect(await alone.get(entry('big'), () => 'other')).toBe('other')
  for (const node of [one, alone])
    expect(await node.through(entry('small'), () => 'other')).toMatchObject({ value: 'small', from: 'memory' })
})

test('a value that JSON can not say fails who computes it and who waits, and the next call computes anew', async () => {
  const clock = new FakeClock()
  const shared = sharedAt(clock)
  await using one = await TestNode.start(shared, { clock })
  await using two = await TestNode.start(shared, { clock })
  const itself: Record<string, unknown> = {}
  itself.itself = itself
  for (const [index, value] of [1n, itself, () => 1, Symbol('a')].entries()) {
    const asked = entry(index, { negativeTtlMs: 10_000, staleIfErrorMs: 10_000 })
    const ends = await Promise.allSettled([one, one].map((node) => node.get(asked, async () => value)))
    for (const end of ends) expect(end).toMatchObject({ status: 'rejected', reason: { code: 'invalid_cache' } })
    expect(await two.get(asked, () => 'good')).toBe('good')
    expect(await one.get(asked, () => 'better')).toBe('good')
  }
})

test('a value belongs to issuer, subject and tenant together; nobody has the one of an anonymous caller', () => {
  const people = [
    { issuer: 'a', subject: 'b' },
    { issuer: 'a', subject: 'b', tenant: 'c' },
    { issuer: 'a', subject: 'b', tenant: '' },
    { issuer: 'a', subject: 'b', tenant: 'null' },
    { issuer: 'a', subject: 'c' },
    { issuer: 'b', subject: 'b' },
    { issuer: 'a","b', subject: '' },
    { issuer: 'public', subject: 'public' },
    { issuer: '', subject: '' },
  ].map((one) => partitionOf({ ...one, scopes: [], claims: {} } as never))
  expect(new Set([...people, 'public']).size).toBe(people.length + 1)
  expect(people.every((one) => one !== undefined && !one.includes('\n'))).toBe(true)
  expect(partitionOf(ANONYMOUS)).toBeUndefined()
  expect(partitionOf(ANONYMOUS, 'public')).toBe('public')
})

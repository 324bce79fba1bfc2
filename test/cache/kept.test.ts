import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { anyCodec } from '../../src/cache/codec.ts'
import { Generations } from '../../src/cache/generations.ts'
import { encodeRecord, RECORD_FORMAT } from '../../src/cache/record.ts'
import { CacheRequest } from '../../src/cache/request.ts'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { sha256 } from '../../src/kernel/digest.ts'
import type { StateStore } from '../../src/ports/state-store.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { eventually } from '../clients/eventually.ts'
import { entry, TestNode, Work, type Shared } from './nodes.ts'

const sharedAt = (clock: FakeClock): Shared => ({ state: new MemoryStateStore(clock), bus: new MemoryEventBus() })
const requestOf = (asked: ReturnType<typeof entry>): CacheRequest<unknown> =>
  new CacheRequest('test', asked, anyCodec, () => undefined)

test('values that were computed together expire apart: over the last tenth of their time, evenly', async () => {
  await using one = await TestNode.start(undefined, { clock: new FakeClock() })
  const tenths = Array.from({ length: 10 }, () => 0)
  for (let key = 0; key < 2_000; key++) {
    const { freshForMs } = await one.through(entry(key, { ttlMs: 60_000 }), () => key)
    expect(freshForMs).toBeGreaterThan(54_000)
    expect(freshForMs).toBeLessThanOrEqual(60_000)
    tenths[Math.min(9, Math.floor((freshForMs - 54_000) / 600))]!++
  }
  // 200 each, give or take six standard deviations.
  for (const count of tenths) expect(Math.abs(count - 200)).toBeLessThan(81)
})

test.each<[string, Uint8Array, boolean, boolean]>([
  ['much that is alike', Buffer.alloc(100_000, 'alike '), false, true],
  ['as few bytes as are not worth it', Buffer.alloc(4_095, 'a'), false, false],
  ['the first that are', Buffer.alloc(4_096, 'a'), false, true],
  ['bytes that nothing is gained with', randomBytes(100_000), false, false],
  ['what says that it is dense', Buffer.alloc(100_000, 'alike '), true, false],
])('%s is stored compressed where that is worth it', async (_what, payload, isDense, isSmaller) => {
  const times = { freshUntilMs: 1, staleUntilMs: 2, keptUntilMs: 3 }
  const bytes = await encodeRecord({ payload, isThrown: false, generations: '', ...times }, isDense)
  if (isSmaller) expect(bytes.length).toBeLessThan(payload.length / 10)
  else expect(Buffer.from(bytes.subarray(-payload.length)).equals(payload)).toBe(true)
})

test('every key in the store holds the format of records, the server and all that names the value', () => {
  const { storeKey, text } = requestOf(entry('a', { version: '2' }))
  expect(storeKey).toBe(`cache:value:${sha256([RECORD_FORMAT, 'test', text])}`)
})

test('what a node may have missed on the bus it asks the store for, also where it may trust itself for longer', async () => {
  const clock = new FakeClock()
  const { state, bus } = sharedAt(clock)
  let gap = (): void => undefined
  const deaf: Shared = {
    state,
    bus: Object.assign(Object.create(bus) as typeof bus, {
      publish: bus.publish.bind(bus),
      subscribe: (_channel: string, _hear: unknown, onGap: () => void) => {
        gap = onGap
        return Promise.resolve(() => Promise.resolve())
      },
    }),
  }
  await using one = await TestNode.start(deaf, { clock })
  await using two = await TestNode.start({ state, bus }, { clock })
  const asked = entry('a', { tags: ['x'], staleMs: 30_000 })
  expect(await one.get(asked, () => 'old')).toBe('old')
  await two.cache.invalidate(['x'])
  expect(await one.get(asked, () => 'new')).toBe('old')
  gap()
  expect(await one.get(asked, () => 'new')).toBe('new')
})

test('a leader that takes long keeps the lead for as long as the flight may last', async () => {
  const clock = new FakeClock()
  const shared = sharedAt(clock)
  await using one = await TestNode.start(shared, { clock })
  await using two = await TestNode.start(shared, { clock })
  const work = new Work<string>()
  const asked = entry('a', { maxFlightMs: 60_000 })
  const leading = one.get(asked, work.compute)
  await eventually(() => work.count).toBe(1)
  const following = two.get(asked, work.compute)
  for (let passedMs = 0; passedMs < 40_000; passedMs += 500) await clock.advance(500)
  expect(work.count).toBe(1)
  work.finish('once')
  await clock.advance(2_000)
  expect(await Promise.all([leading, following])).toEqual(['once', 'once'])
})

test('a generation that is deleted while it is renewed does not come back', async () => {
  const clock = new FakeClock()
  const { state } = sharedAt(clock)
  const [key] = Generations.keysOf('test', ['x'])
  await state.set(key!, Buffer.from('before'), { ttlMs: 60_000 })
  let hasInvalidated = false
  const racing: Pick<StateStore, 'getMany' | 'compareAndSet'> = {
    async getMany(keys) {
      const values = await state.getMany(keys)
      if (!hasInvalidated) await state.delete([...keys])
      hasInvalidated = true
      return values
    },
    compareAndSet: (...args) => state.compareAndSet(...args),
  }
  const generations = new Generations(racing as StateStore, clock)
  const made = await generations.ensure([key!], 1_000)
  expect(made).not.toBe('before')
  const [stored] = await state.getMany([key!])
  expect(Buffer.from(stored!).toString()).toBe(made)
})

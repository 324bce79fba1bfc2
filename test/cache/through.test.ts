import { expect, test } from 'vitest'
import { anyCodec } from '../../src/cache/codec.ts'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { entry, node } from './nodes.ts'

const shared = (clock = new FakeClock()) => ({ state: new MemoryStateStore(clock), bus: new MemoryEventBus() })

test('what was computed is there for the next caller, and on other nodes; each gets a copy of its own', async () => {
  const common = shared()
  await using here = await node(common)
  await using there = await node(common)
  let computed = 0
  const compute = async (): Promise<unknown> => ({ list: [++computed] })
  const first = await here.cache.through(entry('a'), compute, anyCodec)
  const second = await here.cache.through(entry('a'), compute, anyCodec)
  const third = await there.cache.through(entry('a'), compute, anyCodec)
  expect([first.from, second.from, third.from]).toEqual(['computed', 'memory', 'store'])
  ;(first.value as { list: number[] }).list.push(7)
  expect([second.value, third.value]).toEqual([{ list: [1] }, { list: [1] }])
  expect((await here.cache.through(entry('a'), compute, anyCodec)).value).toEqual({ list: [1] })
  expect(computed).toBe(1)
})

test('a thousand callers on three nodes compute once', async () => {
  const common = shared()
  await using one = await node(common)
  await using two = await node(common)
  await using three = await node(common)
  let computed = 0
  const compute = async (): Promise<number> => {
    await new Promise((resolve) => setTimeout(resolve, 20))
    return ++computed
  }
  for (const tags of [undefined, ['a', 'b']]) {
    computed = 0
    const key = `key of ${String(tags)}`
    const found = await Promise.all(
      Array.from({ length: 1000 }, (_, index) =>
        [one, two, three][index % 3]!.cache.through(entry(key, { tags }), compute, anyCodec),
      ),
    )
    expect(new Set(found.map(({ value }) => value))).toEqual(new Set([1]))
    expect(computed).toBe(1)
  }
})

test('what was computed before an invalidation is not given out after it, on any node', async () => {
  const common = shared()
  await using here = await node(common)
  await using there = await node(common)
  let computed = 0
  const ask = async ({ cache }: typeof here): Promise<unknown> =>
    (await cache.through(entry('a', { tags: ['x', 'y'] }), async () => ++computed, anyCodec)).value
  expect([await ask(here), await ask(there), await ask(there)]).toEqual([1, 1, 1])
  await here.cache.invalidate(['y'])
  expect([await ask(there), await ask(here), await ask(here)]).toEqual([2, 2, 2])
  await there.cache.invalidate(['z'])
  expect(await ask(here)).toBe(2)
})

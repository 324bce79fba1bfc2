import { afterEach, expect, test } from 'vitest'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import type { EventBus } from '../../src/ports/event-bus.ts'
import { TaskWatch } from '../../src/tasks/watch.ts'
import { FakeClock } from '../../src/testing/index.ts'

let closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.toReversed()) await close()
  closers = []
})

/** Watches on a bus that can be told to lose what is published, over versions that the test sets. */
function setUp() {
  const clock = new FakeClock()
  const memory = new MemoryEventBus()
  const faults = { loses: false, isStoreDown: false }
  const bus: EventBus = {
    publish: async (channel, bytes) => (faults.loses ? undefined : memory.publish(channel, bytes)),
    subscribe: (...args) => memory.subscribe(...args),
    close: () => memory.close(),
  }
  const versions = new Map<string, number>()
  const errors: unknown[] = []
  const store = {
    versions: async (ids: readonly string[]) => {
      if (faults.isStoreDown) throw new Error('down')
      return ids.map((id) => versions.get(id))
    },
  }
  const node = (): TaskWatch => {
    const watch = new TaskWatch(store, bus, clock, (error) => errors.push(error))
    closers.push(() => watch.close())
    return watch
  }
  closers.push(() => memory.close())
  return { clock, faults, versions, errors, node }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
async function pass(clock: FakeClock, ms: number): Promise<void> {
  await turn()
  await clock.advance(ms)
  await turn()
}

test('a change is told on every node that watches', async () => {
  const { node } = setUp()
  const [one, two] = [node(), node()]
  let heard = 0
  two.watch('a', { onChange: () => void heard++ })
  await turn()
  heard = 0
  one.tell('a')
  await turn()
  expect(heard).toBe(1)
  one.tell('b')
  await turn()
  expect(heard).toBe(1)
})

test('a change whose word was lost is told by the next look, the first look included', async () => {
  const { clock, faults, versions, node } = setUp()
  faults.loses = true
  versions.set('a', 1)
  const watch = node()
  let heard = 0
  watch.watch('a', { onChange: () => void heard++ })
  await turn()
  heard = 0
  versions.set('a', 2) // after who watches has read version 1, and before the first look
  await pass(clock, 5_000)
  expect(heard).toBe(1)
  await pass(clock, 5_000)
  expect(heard).toBe(1)
  versions.set('a', 3)
  await pass(clock, 5_000)
  expect(heard).toBe(2)
})

test('a store that is away costs looks, and no word for ever', async () => {
  const { clock, faults, versions, errors, node } = setUp()
  faults.loses = true
  versions.set('a', 1)
  const watch = node()
  let heard = 0
  watch.watch('a', { onChange: () => void heard++ })
  await pass(clock, 5_000)
  heard = 0
  faults.isStoreDown = true
  versions.set('a', 2)
  await pass(clock, 5_000)
  expect([heard, errors.length]).toEqual([0, 1])
  faults.isStoreDown = false
  await pass(clock, 5_000)
  expect(heard).toBe(1)
})

test('who stops watching hears nothing more, and the others go on', async () => {
  const { node } = setUp()
  const watch = node()
  const heard: string[] = []
  const stop = watch.watch('a', { onChange: () => void heard.push('one') })
  watch.watch('a', { onChange: () => void heard.push('two') })
  await turn()
  heard.length = 0
  stop()
  stop()
  watch.tell('a')
  await turn()
  expect(heard).toEqual(['two'])
})

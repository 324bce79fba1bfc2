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
  const faults = { loses: false, isAway: false, isStoreDown: false }
  const check = (): void => {
    if (faults.isAway) throw new Error('The bus is away.')
  }
  const bus: EventBus = {
    async publish(channel, bytes) {
      check()
      if (!faults.loses) await memory.publish(channel, bytes)
    },
    async subscribe(...args) {
      check()
      return memory.subscribe(...args)
    },
    close: () => memory.close(),
  }
  const versions = new Map<string, number>()
  const errors: unknown[] = []
  const looks: number[] = []
  const store = {
    versions: async (ids: readonly string[]) => {
      looks.push(clock.monotonic())
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
  return { clock, faults, versions, errors, looks, node }
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
  await pass(clock, 6_250)
  expect(heard).toBe(1)
  await pass(clock, 6_250)
  expect(heard).toBe(1)
  versions.set('a', 3)
  await pass(clock, 6_250)
  expect(heard).toBe(2)
})

test('a store that is away costs looks, and no word for ever', async () => {
  const { clock, faults, versions, errors, node } = setUp()
  faults.loses = true
  versions.set('a', 1)
  const watch = node()
  let heard = 0
  watch.watch('a', { onChange: () => void heard++ })
  await pass(clock, 6_250)
  heard = 0
  faults.isStoreDown = true
  versions.set('a', 2)
  await pass(clock, 6_250)
  expect([heard, errors.length]).toEqual([0, 1])
  faults.isStoreDown = false
  await pass(clock, 6_250)
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

test('while the bus is away who waits on the node of the change hears of it at once, and others within a good second', async () => {
  const { clock, faults, versions, errors, node } = setUp()
  versions.set('a', 1)
  const [one, two] = [node(), node()]
  const heard: string[] = []
  for (const [name, watch] of Object.entries({ one, two }))
    watch.watch('a', {
      onChange: () => void heard.push(name),
      onProgress: (done) => void heard.push(`${name} ${done}`),
    })
  await pass(clock, 6_250)
  heard.length = 0
  faults.isAway = true
  two.tell('other') // so it knows that the bus is away
  one.tellProgress('a', 7, undefined, undefined)
  versions.set('a', 2)
  one.tell('a')
  await turn()
  expect(heard).toEqual(['one 7', 'one'])
  await pass(clock, 1_250)
  expect(heard).toContain('two')
  expect(errors).not.toEqual([])
})

test('a task that is watched while the bus is away is looked at every second, and every few once it is back', async () => {
  const { clock, faults, versions, looks, node } = setUp()
  faults.isAway = true
  versions.set('a', 1)
  const watch = node()
  let heard = 0
  watch.watch('a', { onChange: () => void heard++ })
  await pass(clock, 1_250)
  for (let version = 2; version < 6; version++) {
    heard = 0
    versions.set('a', version)
    await pass(clock, 1_250)
    expect(heard).toBe(1)
  }
  faults.isAway = false
  await pass(clock, 12_000)
  looks.length = 0
  await pass(clock, 30_000)
  const gaps = looks.slice(1).map((atMs, index) => atMs - looks[index]!)
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(3_750)
  expect(Math.max(...gaps)).toBeLessThanOrEqual(6_250)
})

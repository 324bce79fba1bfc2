import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import {
  FakeClock,
  FaultyEventBus,
  FaultyStateStore,
  seededFaults,
  type MessageFault,
  type OperationFault,
} from '../../src/testing/index.ts'
import { entry, TestNode, type Shared } from './nodes.ts'

const TTL_MS = 1_000
const PARTITIONS = ['public', 'ada', 'bob']
const TAGS: readonly (readonly string[])[] = [['x'], ['y'], ['x', 'y'], []]

interface Value {
  readonly partition: string
  readonly key: number
  /** Before computing, in the order of all that happens. */
  readonly begun: number
  readonly computedMs: number
}

type Act =
  | { kind: 'get'; node: number; key: number; partition: number; workMs: number; hasGone: boolean }
  | { kind: 'invalidate'; node: number; tag: string }
  | { kind: 'pass'; ms: number }

const node = fc.nat(2)
const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('get' as const),
      node,
      key: fc.nat(3),
      partition: fc.nat(2),
      workMs: fc.constantFrom(0, 20, 300, 2_000),
      hasGone: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('invalidate' as const), node, tag: fc.constantFrom('x', 'y') }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(1, 30, 200, 950, 1_500) }),
  },
)
const operationFaults: OperationFault[] = ['error-before', 'time-out-after', { delayMs: 10 }, { delayMs: 150 }]
const messageFaults: MessageFault[] = [...operationFaults, 'drop', 'duplicate', 'reorder']

/** Carries acts out on three nodes, many at a time, and looks at every value that is given out. */
async function check(acts: readonly Act[], seed: number, faultRate: number, staleMs: number): Promise<void> {
  const clock = new FakeClock()
  const state = new MemoryStateStore(clock)
  const bus = new MemoryEventBus()
  let hasBegun = false
  const nodes = await Promise.all(
    [0, 1, 2].map((index) => {
      const stateFaults = seededFaults(seed + index, faultRate, operationFaults)
      const busFaults = seededFaults(seed + 10 + index, faultRate, messageFaults)
      const shared: Shared = {
        state: new FaultyStateStore(state, stateFaults, clock),
        bus: new FaultyEventBus(bus, (operation) => (hasBegun ? busFaults(operation) : undefined), clock),
      }
      return TestNode.start(shared, { clock })
    }),
  )
  hasBegun = true
  let order = 0
  /** Order in which invalidations of a tag were over, and when. */
  const invalidated: { tag: string; at: number; atMs: number }[] = []
  const open = new Set<Promise<unknown>>()
  const track = (work: Promise<unknown>): void => {
    open.add(work)
    void work.finally(() => open.delete(work))
  }
  const get = async ({ node: index, key, partition, workMs, hasGone }: Act & { kind: 'get' }): Promise<void> => {
    const tags = TAGS[key]!
    const asked = { at: ++order, ms: clock.now() }
    const caller = new AbortController()
    const compute = async (signal: AbortSignal): Promise<Value> => {
      const begun = ++order
      await clock.sleep(workMs, signal)
      return { partition: PARTITIONS[partition]!, key, begun, computedMs: clock.now() }
    }
    const wanted = entry(key, { ttlMs: TTL_MS, staleMs, tags, partition: PARTITIONS[partition]!, maxFlightMs: 3_000 })
    if (hasGone) void clock.sleep(workMs / 2).then(() => caller.abort(new Error('gone')))
    let value: Value
    let from: string
    try {
      ;({ value, from } = await nodes[index]!.through(wanted, compute, caller.signal))
    } catch (error) {
      expect((error as Error).message).toBe('gone')
      return
    }
    expect(value).toMatchObject({ partition: PARTITIONS[partition], key })
    // It may have been in time when it was asked for, and waited for since.
    if (from === 'memory' || from === 'store' || from === 'stale')
      expect(clock.now() - value.computedMs).toBeLessThan(TTL_MS + staleMs + (clock.now() - asked.ms))
    for (const { tag, at, atMs } of invalidated)
      // What is known of a tag may be as old as a value may be stale.
      if (tags.includes(tag) && at < asked.at && (staleMs === 0 || atMs + staleMs < asked.ms))
        expect(value.begun, `computed before ${tag} was invalidated`).toBeGreaterThan(at)
  }
  const invalidate = async ({ node: index, tag }: Act & { kind: 'invalidate' }): Promise<void> => {
    try {
      await nodes[index]!.cache.invalidate([tag])
      invalidated.push({ tag, at: ++order, atMs: clock.now() })
    } catch (error) {
      expect(error).toMatchObject({ code: 'state_unavailable' })
    }
  }
  try {
    for (const one of acts)
      if (one.kind === 'pass') await clock.advance(one.ms)
      else if (one.kind === 'get') track(get(one))
      else track(invalidate(one))
    const all = Promise.all(open)
    for (let round = 0; open.size > 0; round++) {
      expect(round, 'something hangs').toBeLessThan(400)
      await clock.advance(100)
    }
    await all
  } finally {
    const closing = new Set(nodes.map(({ cache }) => cache.close()))
    const closed = Promise.all(Array.from(closing, (one) => one.finally(() => closing.delete(one))))
    for (let round = 0; closing.size > 0; round++) {
      expect(round, 'it does not close').toBeLessThan(400)
      await clock.advance(100)
    }
    await closed
  }
}

const scenario = [fc.array(act, { minLength: 5, maxLength: 60 }), fc.integer({ min: 1, max: 1e6 })] as const

test('whatever happens at once, a caller gets no value of another, none that is too old, and none from before an invalidation', async () => {
  await fc.assert(fc.asyncProperty(...scenario, fc.constantFrom(0, 0.05, 0.3), fc.constantFrom(0, 500), check), {
    numRuns: Number(process.env.CACHE_PROPERTY_RUNS ?? 150),
  })
}, 120_000)

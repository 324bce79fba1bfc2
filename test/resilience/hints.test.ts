import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { generateKeys } from '../../src/compose/options.ts'
import { defineDependency, defineServer, type Dependency, type Runtime } from '../../src/index.ts'
import { BREAKERS_CHANNEL } from '../../src/kernel/keys.ts'
import { BreakerHints } from '../../src/resilience/hints.ts'
import { connect, FakeClock, type TestClient } from '../../src/testing/index.ts'
import { sharedServer } from '../servers/shared.ts'
import { until } from '../servers/tools.ts'
import { networkError, turn } from './support.ts'

const redis = await sharedServer('redis')
const server = defineServer({ name: 'hinted', version: '1.0.0', tools: [] })
const dependency = (openMs = 5000): Dependency =>
  defineDependency({ name: 'crm', retry: false, breaker: { consecutiveFailures: 5, minimumCalls: 100, openMs } })
const fail = (runtime: Runtime, crm: Dependency): Promise<unknown> =>
  runtime.use(crm, () => Promise.reject(networkError('ECONNREFUSED'))).catch((error: unknown) => error)
const stateOf = (runtime: Runtime): string | undefined => runtime.dependencies.list()[0]?.breaker
const hintsOf = (runtime: Runtime): number => runtime.dependencies.list()[0]?.hints ?? 0

describe('several nodes on one bus', () => {
  let clock: FakeClock
  let nodes: TestClient[] = []
  beforeEach(() => (clock = new FakeClock()))
  afterEach(async () => {
    for (const node of nodes) await node.close()
    nodes = []
  })
  /** Starts nodes, waits until they know each other, and has each use the dependency once. */
  async function start(count: number, crm: Dependency): Promise<Runtime[]> {
    const state = new MemoryStateStore(clock)
    const bus = new MemoryEventBus()
    for (let node = 0; node < count; node++)
      nodes.push(await connect(server, { runtime: { state, bus, clock, drainDeadlineMs: 1 } }))
    await clock.advance(1000)
    const runtimes = nodes.map(({ runtime }) => runtime)
    for (const runtime of runtimes) await runtime.use(crm, () => 'up')
    return runtimes
  }
  async function open(runtime: Runtime, crm: Dependency): Promise<void> {
    for (let failure = 0; failure < 5; failure++) await fail(runtime, crm)
    expect(stateOf(runtime)).toBe('open')
    await turn()
  }

  test('one sick node of three opens nobody’s breaker, though others fail now and then', async () => {
    const crm = dependency()
    const [sick, ...others] = await start(3, crm)
    await open(sick!, crm)
    for (const other of others) {
      expect(hintsOf(other)).toBe(1)
      await fail(other, crm)
      expect(stateOf(other)).toBe('closed')
    }
  })

  test('where two others have found it down, the next own failure opens; without one it stays closed', async () => {
    const crm = dependency()
    const [first, second, third, fourth] = await start(4, crm)
    await open(first!, crm)
    await open(second!, crm)
    expect([hintsOf(third!), hintsOf(fourth!)]).toEqual([2, 2])
    await third!.use(crm, () => 'up')
    expect(stateOf(third!)).toBe('closed')
    await fail(third!, crm)
    expect(stateOf(third!)).toBe('open')
    for (let use = 0; use < 10; use++) await fourth!.use(crm, () => 'up')
    expect(stateOf(fourth!)).toBe('closed')
  })

  test('of two nodes the other one is enough', async () => {
    const crm = dependency()
    const [first, second] = await start(2, crm)
    await open(first!, crm)
    await fail(second!, crm)
    expect(stateOf(second!)).toBe('open')
  })

  test('a hint dies after the time that the breaker was to be open, unless it stays open', async () => {
    const crm = dependency()
    const [first, second, third] = await start(3, crm)
    await open(first!, crm)
    await open(second!, crm)
    await clock.advance(4000)
    expect(stateOf(first!)).toBe('open')
    // Its probe fails: it tells so again.
    await clock.advance(1000)
    await fail(first!, crm)
    await turn()
    expect(hintsOf(third!)).toBe(1)
    await fail(third!, crm)
    expect(stateOf(third!)).toBe('closed')
    await clock.advance(5000)
    expect(hintsOf(third!)).toBe(0)
  })
})

test('over Redis a hint reaches the other node within a second', async () => {
  const crm = dependency()
  const prefix = `hints-${process.pid}:`
  const url = new URL(redis.url)
  url.searchParams.set('prefix', prefix)
  const runtime = { state: url.href, keys: generateKeys() }
  await using first = await connect(server, { runtime })
  await using second = await connect(server, { runtime })
  await second.runtime.use(crm, () => 'up')
  for (let failure = 0; failure < 5; failure++) await fail(first.runtime, crm)
  const toldMs = performance.now()
  await until('the hint', 5000, async () => hintsOf(second.runtime) === 1)
  expect(performance.now() - toldMs).toBeLessThan(1000)
  expect(stateOf(second.runtime)).toBe('closed')
  // They know of each other by now, or will with the next heartbeat.
  await until('the breaker', 10_000, async () => {
    await fail(second.runtime, crm)
    return stateOf(second.runtime) === 'open'
  })
  expect((await second.runtime.metrics()).body).toMatch(/^holdfast_dependency_breaker_hints_total 1$/m)
})

describe('hints', () => {
  const counted: string[] = []
  const make = async (bus: MemoryEventBus, clock = new FakeClock(), nodeCount = 3): Promise<BreakerHints> => {
    counted.length = 0
    const telemetry = { count: (counter: string) => void counted.push(counter) }
    const hints = new BreakerHints({ bus, clock, telemetry, nodeId: 'me', nodeCount: () => nodeCount })
    await hints.start()
    return hints
  }
  const say = (bus: MemoryEventBus, said: unknown): Promise<void> =>
    bus.publish(BREAKERS_CHANNEL, Buffer.from(typeof said === 'string' ? said : JSON.stringify(said)))

  test('that are none, or one’s own, are not heard', async () => {
    const bus = new MemoryEventBus()
    const hints = await make(bus)
    hints.tell('crm', 1000)
    for (const said of [
      'no json',
      'null',
      '[]',
      {},
      { dependency: 'crm', node: 1, openMs: 1 },
      { dependency: 'crm', node: 'a', openMs: -1 },
      { dependency: 'crm', node: 'a', openMs: null },
      { dependency: 'x'.repeat(100), node: 'a', openMs: 1 },
    ])
      await say(bus, said)
    await turn()
    expect([hints.count('crm'), counted]).toEqual([0, []])
    await hints.close()
  })

  test('that nobody can be told are counted, and harm nothing', async () => {
    const bus = new MemoryEventBus()
    const hints = await make(bus)
    await bus.close()
    hints.tell('crm', 1000)
    await turn()
    expect(counted).toEqual(['degraded'])
    await hints.close()
  })

  test('are bounded in number and in time, whatever is said', async () => {
    const bus = new MemoryEventBus()
    const clock = new FakeClock()
    const hints = await make(bus, clock)
    for (let node = 0; node < 2000; node++)
      await say(bus, { dependency: `d${node % 7}`, node: `n${node}`, openMs: 1e15 })
    const count = (): number => [0, 1, 2, 3, 4, 5, 6].reduce((sum, one) => sum + hints.count(`d${one}`), 0)
    expect(count()).toBe(1000)
    await clock.advance(600_000)
    expect(count()).toBe(0)
    await say(bus, { dependency: 'd0', node: 'n', openMs: 100 })
    expect(hints.count('d0')).toBe(1)
    await hints.close()
  })

  test('whatever comes when: warned means two living hints of different other nodes', async () => {
    const step = fc.oneof(
      fc.record({ node: fc.constantFrom('me', 'a', 'b', 'c'), openMs: fc.integer({ min: 1, max: 1000 }) }),
      fc.integer({ min: 1, max: 600 }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const bus = new MemoryEventBus()
        const clock = new FakeClock()
        const hints = await make(bus, clock)
        const alive = new Map<string, number>()
        for (const one of steps) {
          if (typeof one === 'number') await clock.advance(one)
          else {
            await say(bus, { dependency: 'crm', ...one })
            if (one.node !== 'me') alive.set(one.node, clock.monotonic() + one.openMs)
          }
          const count = [...alive.values()].filter((untilMs) => untilMs > clock.monotonic()).length
          expect(hints.isWarned('crm')).toBe(count >= 2)
          expect(hints.count('crm')).toBe(count)
        }
        await hints.close()
      }),
      { numRuns: 100 },
    )
  })
})

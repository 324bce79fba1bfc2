import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ToolLimit } from '../../src/define/limits.ts'
import type { Clock } from '../../src/ports/clock.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { limiterOf, principal, StoreUnderTest, type LimiterUnderTest } from './support.ts'

const NODES = 3
const CALLERS = [
  principal('ann', 'acme'),
  principal('bob', 'acme'),
  principal('ann', 'globex'),
  principal('carl', 'globex'),
]

/** What a bucket of the model is named, and how much may be held of it in advance. */
interface ModelBucket {
  limit: ToolLimit
  name: string
  admitted: { atMs: number; cost: number }[]
}

interface Step {
  node: number
  caller: number
  cost: number
  waitMs: number
}

const window = fc.constantFrom(200, 1000, 10_000, 60_000)
const limit = (per: ToolLimit['per']): fc.Arbitrary<ToolLimit> =>
  fc
    .record({
      limit: fc.integer({ min: 1, max: 120 }),
      windowMs: window,
      burst: fc.option(fc.integer({ min: 4, max: 60 }), { nil: undefined }),
      leaseShare: fc.constantFrom(undefined, 0, 0.1, 0.5),
    })
    .map(({ limit: count, windowMs, burst, leaseShare }) => ({
      per,
      limit: count,
      windowMs,
      burst: Math.max(4, burst ?? count),
      ...(leaseShare === undefined ? {} : { leaseShare }),
      cost: (args: never) => (args as { cost: number }).cost,
    }))
const limits = fc.tuple(limit('principal'), limit('tenant'), limit('global'))
const step: fc.Arbitrary<Step> = fc.record({
  node: fc.integer({ min: 0, max: NODES - 1 }),
  caller: fc.integer({ min: 0, max: CALLERS.length - 1 }),
  cost: fc.constantFrom(0, 1, 1, 1, 2, 4),
  waitMs: fc.constantFrom(0, 0, 0, 1, 7, 50, 300, 1200, 5000),
})
const skew = fc.record({
  offsetMs: fc.integer({ min: -3_600_000, max: 3_600_000 }),
  drift: fc.constantFrom(0.9, 1, 1.1),
})

/** A clock that is off by so much, and runs at another rate. */
function skewed(clock: Clock, { offsetMs, drift }: { offsetMs: number; drift: number }): Clock {
  const startMs = clock.now()
  return {
    now: () => startMs + offsetMs + (clock.now() - startMs) * drift,
    monotonic: () => 1000 + clock.monotonic() * drift,
    sleep: (ms, signal) => clock.sleep(ms / drift, signal),
  }
}

function clusterOf(all: readonly ToolLimit[], skews: readonly { offsetMs: number; drift: number }[]) {
  const clock = new FakeClock()
  const store = new StoreUnderTest(clock)
  const nodes = skews.map((one) =>
    limiterOf({ clock: skewed(clock, one) as FakeClock, shared: store, nodes: NODES, tool: all }),
  )
  const buckets = new Map<string, ModelBucket>()
  const bucketsOf = (caller: number): ModelBucket[] =>
    all.map((one) => {
      const { subject, tenant } = CALLERS[caller]!
      const name = `${one.per} ${one.per === 'global' ? '' : `${tenant} ${one.per === 'tenant' ? '' : subject}`}`
      const bucket = buckets.get(name) ?? { limit: one, name, admitted: [] }
      buckets.set(name, bucket)
      return bucket
    })
  const run = async ({ node, caller, cost }: Step) => {
    const refused = await nodes[node]!.call(CALLERS[caller]!, { cost })
    if (refused === undefined)
      for (const bucket of bucketsOf(caller)) bucket.admitted.push({ atMs: clock.monotonic(), cost })
    return refused
  }
  return { clock, store, nodes, buckets, bucketsOf, run }
}

/** The most that nodes may hold of a bucket in advance. */
function heldAtMost(nodes: readonly LimiterUnderTest[], { limit: one }: ModelBucket): number {
  const perSecond = (one.limit * 1000) / one.windowMs
  const share = one.leaseShare ?? (one.per === 'global' && perSecond >= 5 ? 0.1 : 0)
  const portion = Math.floor(Math.min(perSecond, share * one.burst!))
  return portion === 0 ? 0 : nodes.length * Math.max(portion, 4)
}

/** Over every stretch of time at most the burst, what came back in it, and what nodes held at its beginning. */
function expectWithinLimit(nodes: readonly LimiterUnderTest[], bucket: ModelBucket): void {
  const { limit: one, admitted } = bucket
  const intervalMs = one.windowMs / one.limit
  const held = heldAtMost(nodes, bucket)
  for (let from = 0; from < admitted.length; from++) {
    let sum = 0
    for (let to = from; to < admitted.length; to++) {
      sum += admitted[to]!.cost
      const stretchMs = admitted[to]!.atMs - admitted[from]!.atMs
      const most = one.burst! + stretchMs / intervalMs + held
      if (sum > most + 1e-6) expect.fail(`${bucket.name}: ${sum} in ${stretchMs} ms, where ${most} are allowed`)
    }
  }
}

/** Tokens of a bucket that nothing was taken from but what was admitted. */
function tokensLeft({ limit: one, admitted }: ModelBucket, nowMs: number): number {
  const intervalMs = Math.ceil((one.windowMs * 1000) / one.limit) / 1000
  let fullAtMs = 0
  for (const { atMs, cost } of admitted) fullAtMs = Math.max(fullAtMs, atMs) + cost * intervalMs
  return one.burst! - Math.max(0, fullAtMs - nowMs) / intervalMs
}

test('three nodes whose clocks disagree never let more pass than the limits and what was leased', async () => {
  await fc.assert(
    fc.asyncProperty(
      limits,
      fc.tuple(skew, skew, skew),
      fc.array(fc.array(step, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 40 }),
      async (all, skews, groups) => {
        const { clock, nodes, buckets, run } = clusterOf(all, skews)
        // The steps of a group run at once.
        for (const group of groups) {
          await Promise.all(group.map(run))
          await clock.advance(group[0]!.waitMs)
        }
        for (const bucket of buckets.values()) expectWithinLimit(nodes, bucket)
      },
    ),
    { numRuns: 80 },
  )
})

test('limits without leases refuse only what they must, and a refused call takes nothing of any bucket', async () => {
  const exact = limits.map((all) => all.map((one) => ({ ...one, leaseShare: 0 })))
  const level = { offsetMs: 0, drift: 1 }
  await fc.assert(
    fc.asyncProperty(exact, fc.array(step, { minLength: 1, maxLength: 120 }), async (all, steps) => {
      const { clock, buckets, bucketsOf, run } = clusterOf(all, [level, level, level])
      for (const one of steps) {
        const before = bucketsOf(one.caller).map((bucket) => ({
          per: bucket.limit.per as string,
          left: tokensLeft(bucket, clock.monotonic()),
        }))
        const refused = await run(one)
        const tooLittle = before.filter(({ left }) => left < one.cost - 1e-3).map(({ per }) => per)
        const said = refused === undefined ? undefined : /^tool:(\w+)-/.exec(refused.limit)![1]!
        if (said === undefined ? tooLittle.length > 0 : !tooLittle.includes(said))
          expect.fail(`refused by ${said ?? 'none'}, where too little is left in ${tooLittle.join(', ') || 'none'}`)
        await clock.advance(one.waitMs)
      }
      for (const bucket of buckets.values()) expectWithinLimit([], bucket)
    }),
    { numRuns: 80 },
  )
})

test('with the state lost for a while, the nodes together let no more pass than both limits, the shared one and the shares', async () => {
  const exact = limits.map((all) => all.map((one) => ({ ...one, leaseShare: 0 })))
  const level = { offsetMs: 0, drift: 1 }
  await fc.assert(
    fc.asyncProperty(exact, fc.array(step, { minLength: 20, maxLength: 120 }), async (all, steps) => {
      const { clock, store, nodes, buckets, run } = clusterOf(all, [level, level, level])
      store.isDown = true
      for (const one of steps) {
        await run(one)
        await clock.advance(one.waitMs)
      }
      for (const bucket of buckets.values()) {
        // A share is one token at least, so as many nodes as share a smaller burst may pass it by one each.
        const limitOfShares = { ...bucket.limit, burst: Math.max(bucket.limit.burst!, NODES) }
        expectWithinLimit([], { ...bucket, limit: limitOfShares })
      }
      for (const { limiter } of nodes) limiter.close()
    }),
    { numRuns: 60 },
  )
})

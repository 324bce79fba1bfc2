import { expect, test } from 'vitest'
import { FakeClock } from '../../src/testing/index.ts'
import { limiterOf, passed, principal, StoreUnderTest } from './support.ts'

const ann = principal('ann', 'acme')

function node(options: Parameters<typeof limiterOf>[0]) {
  const clock = new FakeClock()
  const store = new StoreUnderTest(clock)
  return { store, ...limiterOf({ clock, shared: store, ...options }) }
}
const outcomes = ({ limiter }: Pick<ReturnType<typeof node>, 'limiter'>) =>
  Object.fromEntries([...limiter.decisions()].map(({ limit, outcome, count }) => [`${limit} ${outcome}`, count]))

test('without the shared state each node keeps its share of a limit, and counts it', async () => {
  const one = node({ limits: [{ per: 'principal', limit: 10, windowMs: 10_000 }], nodes: 3 })
  one.store.isDown = true
  expect(await passed(10, () => one.request(ann))).toBe(3)
  // A third of the rate: one token in three seconds.
  await one.clock.advance(3000)
  expect(await passed(10, () => one.request(ann))).toBe(1)
  expect(outcomes(one)).toEqual({ 'principal-10s allowed_local': 4, 'principal-10s limited_local': 16 })
  expect(one.told.counted.filter((what) => what === 'degraded limits').length).toBe(20)
  one.limiter.close()
})

test('a limit that guards money is closed instead: 503, to be tried again, and nothing passes', async () => {
  const one = node({
    tool: [
      { per: 'principal', limit: 100, windowMs: 10_000 },
      { per: 'tenant', limit: 10, windowMs: 10_000, onStateLost: 'closed' },
    ],
  })
  expect(await one.call(ann)).toBe(undefined)
  one.store.isDown = true
  const refused = await one.call(ann)
  expect(refused).toMatchObject({ code: 'limits_unavailable', limit: 'tool:tenant-10s' })
  expect(refused!.retryAfterMs).toBeGreaterThan(0)
  expect(refused!.retryAfterMs).toBeLessThanOrEqual(3000)
  expect(await passed(5, () => one.call(ann))).toBe(0)
  expect(outcomes(one)).toMatchObject({ 'tool:tenant-10s closed': 6 })
  one.limiter.close()
})

test('after one failure no request asks the store, until it has answered in the background', async () => {
  const one = node({ limits: [{ per: 'principal', limit: 1000, windowMs: 1000 }] })
  one.store.isDown = true
  await passed(100, () => one.request(ann))
  expect(one.store.commands.length).toBe(1)
  expect(one.told.failures.length).toBe(1)
  // Asked again after 0.75 to 2.25 seconds, and again, as long as it is down.
  await one.clock.advance(9000)
  const probes = one.store.commands.slice(1)
  expect(probes.length).toBeGreaterThanOrEqual(4)
  expect(probes.length).toBeLessThanOrEqual(12)
  for (const { buckets } of probes) expect(buckets).toMatchObject([{ cost: 0 }])
  await passed(100, () => one.request(ann))
  expect(one.store.commands.length).toBe(1 + probes.length)
  one.store.isDown = false
  await one.clock.advance(2250)
  const before = one.store.commands.length
  expect(await one.request(ann)).toBe(undefined)
  expect(one.store.commands.length).toBe(before + 1)
  expect(outcomes(one)).toEqual({ 'principal-1s allowed_local': 200, 'principal-1s allowed': 1 })
  expect(one.told.failures.length).toBe(1)
})

test('requests that were under way when the store went are all decided here, once each', async () => {
  const one = node({
    limits: [
      { per: 'principal', limit: 20, windowMs: 60_000 },
      { per: 'global', limit: 1000, windowMs: 1000 },
    ],
    nodes: 2,
  })
  const gate = Promise.withResolvers<void>()
  one.store.gate = gate.promise
  const waiting = Array.from({ length: 30 }, () => one.request(ann))
  one.store.isDown = true
  gate.resolve()
  const refused = (await Promise.all(waiting)).filter((answer) => answer !== undefined)
  expect(refused.length).toBe(20)
  for (const answer of refused) expect(answer).toMatchObject({ limit: 'principal-60s' })
  one.limiter.close()
})

test('what is dearer than the share of a node waits for the shared state', async () => {
  const one = node({
    tool: [{ per: 'principal', limit: 9, windowMs: 60_000, cost: ({ n }: { n: number }) => n }],
    nodes: 3,
  })
  one.store.isDown = true
  expect(await one.call(ann, { n: 4 })).toMatchObject({ code: 'limits_unavailable' })
  expect(await one.call(ann, { n: 3 })).toBe(undefined)
  one.limiter.close()
})

test('portions that are held already are used up while the store is down', async () => {
  const one = node({ limits: [{ per: 'global', limit: 100, windowMs: 1000 }], nodes: 10 })
  await one.request(ann)
  one.store.isDown = true
  expect(await passed(9, () => one.request(ann))).toBe(9)
  expect(outcomes(one)).toEqual({ 'global-1s allowed': 10 })
  expect(await passed(20, () => one.request(ann))).toBe(10)
  one.limiter.close()
})

test('a store that can not take tokens back costs the caller some, and is counted', async () => {
  const one = node({
    limits: [
      { per: 'principal', limit: 10, windowMs: 60_000 },
      { per: 'global', limit: 1, windowMs: 1000 },
    ],
  })
  await one.request(ann)
  let calls = 0
  const take = one.store.takeTokens.bind(one.store)
  one.store.takeTokens = async (tag, buckets) => {
    if (++calls === 3) throw new Error('gone')
    return take(tag, buckets)
  }
  expect(await one.request(ann)).toMatchObject({ code: 'rate_limited', limit: 'global-1s' })
  expect(calls).toBe(3)
  expect(one.told.counted).toEqual(['degraded limits_give_back'])
})

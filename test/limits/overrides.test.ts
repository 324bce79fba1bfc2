import { expect, test } from 'vitest'
import type { OverrideLimits } from '../../src/limits/overrides.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { limiterOf, passed, principal, StoreUnderTest } from './support.ts'

const ann = principal('ann', 'acme')
const bob = principal('bob', 'acme')
const limits = [{ per: 'principal', limit: 2, windowMs: 60_000 }] as const

test('a principal may have another limit than the defined one, or none', async () => {
  const { request } = limiterOf({
    limits,
    override: ({ subject }) => (subject === 'ann' ? { limit: 5 } : subject === 'bob' ? 'unlimited' : undefined),
  })
  expect(await passed(20, () => request(ann))).toBe(5)
  expect(await passed(20, () => request(bob))).toBe(20)
  expect(await passed(20, () => request(principal('carl')))).toBe(2)
})

test('it is asked with the facts of the limit, and not of global ones', async () => {
  const seen: unknown[] = []
  const { request, call } = limiterOf({
    limits: [...limits, { per: 'global', limit: 10, windowMs: 1000 }],
    tool: [{ per: 'tenant', limit: 3, windowMs: 1000, burst: 6 }],
    override: (_principal, limit) => void seen.push(limit),
  })
  await request(ann)
  await call(ann)
  expect(seen).toEqual([
    { name: 'principal-60s', tool: undefined, per: 'principal', limit: 2, windowMs: 60_000, burst: 2 },
    { name: 'tool:tenant-1s', tool: 'tool', per: 'tenant', limit: 3, windowMs: 1000, burst: 6 },
  ])
})

test('it is asked again after ten seconds, and may answer later', async () => {
  let asked = 0
  let limit = 1
  const override: OverrideLimits = async () => {
    asked++
    return { limit }
  }
  const { request, clock } = limiterOf({ limits: [{ per: 'principal', limit: 100, windowMs: 1000 }], override })
  expect(await passed(10, () => request(ann))).toBe(1)
  limit = 4
  await clock.advance(9999)
  expect([await passed(10, () => request(ann)), asked]).toEqual([1, 1])
  await clock.advance(1000)
  expect([await passed(10, () => request(ann)), asked]).toEqual([4, 2])
})

test('a new limit holds on the buckets that nodes share, whatever was leased or refused before', async () => {
  const clock = new FakeClock()
  const shared = new StoreUnderTest(clock)
  let limit = 1
  const { request } = limiterOf({ clock, shared, limits, override: () => ({ limit }) })
  expect(await passed(5, () => request(ann))).toBe(1)
  limit = 60
  await clock.advance(10_000)
  expect(await passed(100, () => request(ann))).toBeGreaterThanOrEqual(10)
})

test.each([
  ['throws', () => Promise.reject(new Error('no database'))],
  [
    'throws at once',
    () => {
      throw new Error('no database')
    },
  ],
  ['answers with numbers that no limit can have', () => ({ limit: -1 })],
])('an override that %s leaves the limit as it is defined, and is told of', async (_what, override) => {
  const { request, told } = limiterOf({ limits, override: override as OverrideLimits })
  expect(await passed(5, () => request(ann))).toBe(2)
  expect(told.failures.length).toBe(1)
})

import { expect, test } from 'vitest'
import { FakeClock } from '../../src/testing/index.ts'
import { limiterOf, passed, principal, StoreUnderTest } from './support.ts'

const ann = principal('ann', 'acme')
const bob = principal('bob', 'acme')
const carl = principal('carl', 'globex')

function cluster(options: Parameters<typeof limiterOf>[0] = {}) {
  const clock = new FakeClock()
  const store = new StoreUnderTest(clock)
  const node = () => limiterOf({ clock, shared: store, nodes: 2, ...options })
  return { clock, store, one: node(), two: node() }
}

test("nodes share a principal's bucket; a request is one command", async () => {
  const { store, one, two } = cluster({ limits: [{ per: 'principal', limit: 3, windowMs: 60_000 }] })
  expect([await one.request(ann), await two.request(ann), await one.request(ann)]).toEqual([
    undefined,
    undefined,
    undefined,
  ])
  expect(store.commands.length).toBe(3)
  expect(await two.request(ann)).toEqual({ code: 'rate_limited', limit: 'principal-60s', retryAfterMs: 20_000 })
  expect(await two.request(bob)).toBe(undefined)
})

test('a bucket that was just found empty is not asked again before a second has passed', async () => {
  const { store, one, clock } = cluster({ limits: [{ per: 'principal', limit: 2, windowMs: 60_000 }] })
  await passed(3, () => one.request(ann))
  expect(store.commands.length).toBe(3)
  await clock.advance(900)
  expect(await passed(50, () => one.request(ann))).toBe(0)
  expect(await one.request(ann)).toMatchObject({ retryAfterMs: 29_100 })
  expect(store.commands.length).toBe(3)
  await clock.advance(100)
  expect(await one.request(ann)).toMatchObject({ retryAfterMs: 29_000 })
  expect(store.commands.length).toBe(4)
})

test("a tenant's buckets are taken in one command, all of them or none", async () => {
  const { store, one } = cluster({
    limits: [
      { per: 'principal', limit: 5, windowMs: 60_000 },
      { per: 'tenant', limit: 2, windowMs: 60_000 },
    ],
  })
  expect([await one.request(ann), await one.request(bob)]).toEqual([undefined, undefined])
  expect(store.commands.map(({ buckets }) => buckets.length)).toEqual([2, 2])
  expect(new Set(store.commands.map(({ tag }) => tag)).size).toBe(1)
  const [, tenant] = store.commands[0]!.buckets
  for (const { tag, buckets } of store.commands) for (const { key } of buckets) expect(key).toContain(`{${tag}}`)
  expect(await one.request(ann)).toMatchObject({ limit: 'tenant-60s' })
  // Ann has 4 of 5 left: the refused request took nothing of hers.
  const anns = store.takeTokensNow([{ ...store.commands[0]!.buckets[0]!, cost: 0, least: 0 }])
  expect(anns.buckets[0]!.remaining).toBe(4)
  expect(store.takeTokensNow([{ ...tenant!, cost: 0, least: 0 }]).buckets[0]!.remaining).toBe(0)
  expect(await one.request(carl)).toBe(undefined)
})

test('a fast global limit is drawn in portions: most requests need no command', async () => {
  const { store, one } = cluster({ limits: [{ per: 'global', limit: 100, windowMs: 1000 }] })
  expect(await passed(30, () => one.request(ann))).toBe(30)
  expect(store.commands.map(({ buckets }) => buckets[0]!.cost)).toEqual([10, 10, 10])
})

test('what is left of a portion dies after its second', async () => {
  const { store, one, clock } = cluster({ limits: [{ per: 'global', limit: 100, windowMs: 1000 }] })
  await one.request(ann)
  await clock.advance(999)
  await one.request(ann)
  expect(store.commands.length).toBe(1)
  await clock.advance(1)
  await one.request(ann)
  expect(store.commands.length).toBe(2)
})

test('many requests at once are asked for together, and refused together when there is nothing left', async () => {
  const { store, one } = cluster({ limits: [{ per: 'global', limit: 100, windowMs: 1000 }] })
  const results = await Promise.all(Array.from({ length: 130 }, () => one.request(ann)))
  expect(results.filter((refused) => refused === undefined).length).toBe(100)
  // A portion for the first one; then for all that came meanwhile.
  expect(store.commands.map(({ buckets }) => buckets[0]!.cost)).toEqual([10, 100])
})

test('a portion that a refused request took of is put back', async () => {
  const { store, one } = cluster({
    limits: [
      { per: 'principal', limit: 1, windowMs: 60_000 },
      { per: 'global', limit: 100, windowMs: 1000 },
    ],
  })
  expect(await one.request(ann)).toBe(undefined)
  expect(await passed(20, () => one.request(ann))).toBe(0)
  for (let index = 0; index < 9; index++) expect(await one.request(principal(`other ${index}`))).toBe(undefined)
  const portions = () => store.commands.filter(({ tag }) => tag.startsWith('global')).length
  expect(portions()).toBe(1)
  // It was put back once.
  await one.request(principal('another'))
  expect(portions()).toBe(2)
})

test('a slow global limit is kept exactly, taken last, and a refusal gives the rest back', async () => {
  const { store, one, two } = cluster({
    limits: [
      { per: 'global', limit: 2, windowMs: 1000 },
      { per: 'principal', limit: 10, windowMs: 60_000 },
    ],
  })
  expect([await one.request(ann), await two.request(ann)]).toEqual([undefined, undefined])
  expect(store.commands.map(({ tag }) => tag.startsWith('global'))).toEqual([false, true, false, true])
  expect(await one.request(ann)).toEqual({ code: 'rate_limited', limit: 'global-1s', retryAfterMs: 500 })
  const anns = store.commands[0]!.buckets[0]!
  expect(store.takeTokensNow([{ ...anns, cost: 0, least: 0 }]).buckets[0]!.remaining).toBe(8)
  // Known to be empty: nothing of anybody's is taken first.
  const before = store.commands.length
  expect(await one.request(bob)).toMatchObject({ limit: 'global-1s' })
  expect(store.commands.length).toBe(before)
})

test('a principal may be leased as well; the tokens of a portion are taken from the bucket at once', async () => {
  const { store, one, two } = cluster({
    limits: [{ per: 'principal', limit: 1000, windowMs: 10_000, leaseShare: 0.05 }],
  })
  expect(await passed(100, () => one.request(ann))).toBe(100)
  expect(store.commands.map(({ buckets }) => buckets[0]!.cost)).toEqual([50, 50])
  expect(await two.request(ann)).toBe(undefined)
  const anns = store.commands[0]!.buckets[0]!
  expect(store.takeTokensNow([{ ...anns, cost: 0, least: 0 }]).buckets[0]!.remaining).toBe(850)
})

test('many requests of one leased principal at once share its portions', async () => {
  const { store, one } = cluster({
    limits: [{ per: 'principal', limit: 1000, windowMs: 10_000, leaseShare: 0.05 }],
  })
  const results = await Promise.all(Array.from({ length: 120 }, () => one.request(ann)))
  expect(results.every((refused) => refused === undefined)).toBe(true)
  expect(store.commands.map(({ buckets }) => buckets[0]!.cost)).toEqual([50, 70])
})

test('requests that want the same tokens at once take one command after the other, in the order in which they came', async () => {
  const { store, one } = cluster({ limits: [{ per: 'principal', limit: 30, windowMs: 60_000 }] })
  const results = await Promise.all(Array.from({ length: 40 }, () => one.request(ann)))
  expect(results.map((refused) => refused?.retryAfterMs)).toEqual([
    ...Array.from({ length: 30 }, () => undefined),
    ...Array.from({ length: 10 }, () => 2000),
  ])
  expect(store.commands.map(({ buckets }) => buckets.map(({ cost, least }) => [cost, least]))).toEqual([
    [[1, 1]],
    [[30, 1]],
  ])
})

test('what was taken of one bucket for requests that another refuses goes back at once', async () => {
  const { store, one } = cluster({
    limits: [
      { per: 'principal', limit: 30, windowMs: 60_000 },
      { per: 'tenant', limit: 10, windowMs: 60_000 },
    ],
  })
  const results = await Promise.all(Array.from({ length: 20 }, () => one.request(ann)))
  expect(results.filter((refused) => refused === undefined).length).toBe(10)
  expect(results.at(-1)).toEqual({ code: 'rate_limited', limit: 'tenant-60s', retryAfterMs: 6000 })
  expect(store.commands.map(({ buckets }) => buckets.map(({ cost }) => cost))).toEqual([[1, 1], [19, 10], [-10]])
  const anns = store.commands[0]!.buckets[0]!
  expect(store.takeTokensNow([{ ...anns, cost: 0, least: 0 }]).buckets[0]!.remaining).toBe(20)
})

test('an answer that is slower than a portion lives still serves those that waited for it, and the rest goes back', async () => {
  const { store, one, clock } = cluster({ limits: [{ per: 'global', limit: 100, windowMs: 1000 }] })
  const gate = Promise.withResolvers<void>()
  store.gate = gate.promise
  const waiting = one.request(ann)
  await clock.advance(1500)
  store.gate = undefined
  gate.resolve()
  expect(await waiting).toBe(undefined)
  expect(store.commands.map(({ buckets }) => buckets[0]!.cost)).toEqual([10, -9])
})

test('a leased and an exact bucket are taken in one command; what was leased is put back on a later refusal', async () => {
  const { store, one } = cluster({
    limits: [
      { per: 'tenant', limit: 1000, windowMs: 10_000, leaseShare: 0.05 },
      { per: 'principal', limit: 2, windowMs: 60_000 },
    ],
  })
  expect(await passed(5, () => one.request(ann))).toBe(2)
  expect(store.commands.map(({ buckets }) => buckets.map(({ cost }) => cost))).toEqual([[50, 1], [1], [1]])
  for (let index = 0; index < 48; index++) expect(await one.request(principal(`p${index}`, 'acme'))).toBe(undefined)
  const leases = store.commands.flatMap(({ buckets }) => buckets).filter(({ cost }) => cost === 50)
  expect(leases.length).toBe(1)
})

test('a call dearer than a portion takes what it needs', async () => {
  const { store, one } = cluster({
    tool: [{ per: 'global', limit: 100, windowMs: 1000, cost: ({ n }: { n: number }) => n }],
  })
  expect(await one.call(ann, { n: 60 })).toBe(undefined)
  expect(await one.call(ann, { n: 60 })).toMatchObject({ limit: 'tool:global-1s-cost', retryAfterMs: 200 })
  expect(await one.call(ann, { n: 0 })).toBe(undefined)
  expect(await one.call(ann, { n: 30 })).toBe(undefined)
  expect(store.commands.map(({ buckets }) => buckets[0]!.cost)).toEqual([60, 60, 30])
})

test('with what is left of the last portion, no more than one is held', async () => {
  const { store, one } = cluster({
    tool: [{ per: 'global', limit: 100, windowMs: 1000, cost: ({ n }: { n: number }) => n }],
  })
  for (let index = 0; index < 6; index++) expect(await one.call(ann, { n: 4 })).toBe(undefined)
  expect(store.commands.map(({ buckets }) => buckets[0]!.cost)).toEqual([10, 8, 8])
})

test('names of callers do not get into keys, however hostile', async () => {
  const { store, one } = cluster({
    limits: [
      { per: 'principal', limit: 5, windowMs: 60_000 },
      { per: 'tenant', limit: 500, windowMs: 60_000 },
    ],
  })
  const hostile = ['}{', '{a}', 'x:y\n', '\u0000', '💣', 'a'.repeat(100_000), '', '__proto__', 'constructor']
  for (const subject of hostile) for (const tenant of hostile) await one.request(principal(subject, tenant))
  const keys = new Set(store.commands.flatMap(({ buckets }) => buckets.map(({ key }) => key)))
  expect(keys.size).toBe(hostile.length * hostile.length + hostile.length)
  for (const key of keys) expect(key).toMatch(/^limit:\{[\w-]{22}\}:(principal|tenant)-60s:(all|[\w-]{22})$/)
})

test('one subject at two issuers, and one name of two tenants, are two', async () => {
  const { one } = cluster({ limits: [{ per: 'tenant', limit: 1, windowMs: 60_000 }] })
  expect(await one.request(ann)).toBe(undefined)
  expect(await one.request({ ...ann, issuer: 'https://other.example' })).toBe(undefined)
  expect(await one.request(principal('ann', 'globex'))).toBe(undefined)
  expect(await one.request(bob)).toMatchObject({ limit: 'tenant-60s' })
  // Without a tenant everybody is their own.
  expect(await one.request(principal('dora'))).toBe(undefined)
  expect(await one.request(principal('emil'))).toBe(undefined)
})

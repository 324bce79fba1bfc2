import { describe, expect, it, test } from 'vitest'
import { defineServer, defineTool } from '../../src/index.ts'
import type { TakenTokens } from '../../src/kernel/limits.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { exchangeOf, limiterOf, principal, StoreUnderTest } from './support.ts'

const ann = principal('ann', 'acme')
const bob = principal('bob', 'acme')

const PER_HOUR = { per: 'principal', limit: 3_600, windowMs: 3_600_000, unit: 'llm-tokens' } as const

/** Takes tokens for a call; what it was refused with, or what was taken. */
async function take(
  { limiter }: ReturnType<typeof limiterOf>,
  tokens: number,
  who = ann,
  tool: string | undefined = 'tool',
): Promise<TakenTokens | string | undefined> {
  try {
    return await limiter.takeModelTokens(exchangeOf(who), tool, () => tokens)
  } catch (error) {
    return (error as { code: string }).code
  }
}

async function taken(node: ReturnType<typeof limiterOf>, tokens: number, who = ann): Promise<TakenTokens> {
  const result = await take(node, tokens, who)
  expect(result).toBeTypeOf('object')
  return result as TakenTokens
}

describe.each(['one node', 'nodes that share a store'])('limits on the tokens of models, %s', (kind) => {
  const open = (options: Parameters<typeof limiterOf>[0]): ReturnType<typeof limiterOf> => {
    const clock = new FakeClock()
    return limiterOf({ clock, ...(kind === 'one node' ? {} : { shared: new StoreUnderTest(clock) }), ...options })
  }

  it('take the estimate before, and give back what was not used', async () => {
    const node = open({ limits: [PER_HOUR] })
    const first = await taken(node, 3_000)
    expect(await take(node, 700)).toBe('rate_limited')
    await first.settle(1_000)
    await node.clock.advance(1_000) // a refusal is believed for a second
    await taken(node, 2_600)
    expect(await take(node, 10)).toBe('rate_limited')
  })

  it('take what was used beyond the estimate, as far as there is any', async () => {
    const node = open({ limits: [PER_HOUR] })
    await (await taken(node, 100)).settle(2_000)
    expect(await take(node, 1_700)).toBe('rate_limited')
    await node.clock.advance(1_000)
    await (await taken(node, 1_500)).settle(9_999)
    expect(await take(node, 100)).toBe('rate_limited')
    // 3,600 tokens an hour are one a second: the debt is forgiven, not carried on.
    await node.clock.advance(100_000)
    await taken(node, 100)
  })

  it('are no limits of requests or calls, and the other way round', async () => {
    const node = open({ limits: [PER_HOUR], tool: [{ per: 'principal', limit: 1, windowMs: 60_000 }] })
    for (let index = 0; index < 20; index++) expect(await node.request(ann)).toBe(undefined)
    expect(await node.call(ann)).toBe(undefined)
    expect(await node.call(ann)).toMatchObject({ code: 'rate_limited', limit: 'tool:principal-60s' })
    await taken(node, 3_600)
  })

  it("hold a tool to its own and to the server's, together or not at all", async () => {
    const node = open({
      limits: [{ ...PER_HOUR, per: 'tenant' }],
      tool: [{ ...PER_HOUR, limit: 1_800 }],
    })
    await taken(node, 1_500)
    expect(await take(node, 1_500)).toBe('rate_limited') // the tool's
    expect(await take(node, 1_500, ann, 'another')).toBeTypeOf('object')
    expect(await take(node, 700, bob)).toBe('rate_limited') // the tenant's; nothing of bob's own was taken
    await taken(node, 600, bob)
  })

  it('say that a call which costs more than can be had at once will never pass', async () => {
    expect(await take(open({ limits: [PER_HOUR] }), 3_601)).toBe('cost_above_limit')
  })

  it('are counted by name, like all others', async () => {
    const node = open({ limits: [PER_HOUR] })
    await taken(node, 3_000)
    await take(node, 3_000)
    expect([...node.limiter.decisions()]).toEqual([
      { limit: 'principal-3600s-llm-tokens', outcome: 'allowed', count: 1 },
      { limit: 'principal-3600s-llm-tokens', outcome: 'limited', count: 1 },
    ])
  })
})

test('nothing is asked, and no estimate made, where no limit counts tokens', () => {
  const { limiter } = limiterOf({ limits: [{ per: 'global', limit: 1, windowMs: 1_000 }] })
  const estimate = (): number => {
    throw new Error('asked for')
  }
  expect(limiter.takeModelTokens(exchangeOf(ann), 'tool', estimate)).toBe(undefined)
})

test('two nodes share the tokens of a principal', async () => {
  const clock = new FakeClock()
  const shared = new StoreUnderTest(clock)
  const [one, two] = [
    limiterOf({ clock, shared, limits: [PER_HOUR] }),
    limiterOf({ clock, shared, limits: [PER_HOUR] }),
  ]
  const first = await taken(one, 3_600)
  expect(await take(two, 1)).toBe('rate_limited')
  await first.settle(600)
  await clock.advance(1_000)
  await taken(two, 3_000)
})

test('while the store is lost each node keeps its share, gives back to it, and refuses where the limit guards money', async () => {
  const clock = new FakeClock()
  const shared = new StoreUnderTest(clock)
  shared.isDown = true
  const node = limiterOf({ clock, shared, nodes: 2, limits: [PER_HOUR] })
  const first = await taken(node, 1_800)
  expect(await take(node, 100)).toBe('rate_limited')
  await first.settle(0)
  await taken(node, 1_800)
  const closed = limiterOf({ clock, shared, limits: [{ ...PER_HOUR, onStateLost: 'closed' }] })
  expect(await take(closed, 1)).toBe('limits_unavailable')
})

test('tokens that can not be given back are counted as lost, and fail no call', async () => {
  const clock = new FakeClock()
  const shared = new StoreUnderTest(clock)
  const node = limiterOf({ clock, shared, limits: [PER_HOUR] })
  const first = await taken(node, 1_000)
  shared.isDown = true
  await first.settle(10)
  expect(node.told.counted).toEqual(['degraded limits_give_back'])
})

test.each([
  [{ unit: 'tokens' as never }, '`unit` is "tokens"'],
  [{ unit: 'llm-tokens' as const, cost: 3 }, 'it has `unit: "llm-tokens"` and a `cost`'],
])('a limit with %j is refused', (fields, message) => {
  const limits = [{ per: 'principal' as const, limit: 5, windowMs: 1_000, ...fields }]
  expect(() => defineTool({ name: 'add', description: 'adds', limits, run: () => 'done' })).toThrow(message)
  const { cost: _cost, ...ofServer } = limits[0]! as { cost?: number } & (typeof limits)[number]
  if (!('cost' in fields))
    expect(() => defineServer({ name: 's', version: '1', tools: [], limits: [ofServer] })).toThrow(message)
})

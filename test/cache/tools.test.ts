import { expect, test } from 'vitest'
import * as z from 'zod'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { content, defineServer, defineTool, toolError, type Context, type ToolReturn } from '../../src/index.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { connect, FakeClock, type ConnectOptions, type TestClient } from '../../src/testing/index.ts'
import { eventually } from '../clients/eventually.ts'

const ADA = { issuer: 'https://issuer.example', subject: 'ada' }
const BOB = { issuer: 'https://issuer.example', subject: 'bob' }

type Cached = NonNullable<Parameters<typeof defineTool>[0]['cache']>

/** A server with one tool, whose runs are counted. */
function counting(
  cache: Cached,
  run: (args: { q: string }, ctx: Context, runs: number) => ToolReturn | Promise<ToolReturn>,
) {
  const count = { runs: 0 }
  const tool = defineTool({
    name: 'look-up',
    description: 'Looks something up',
    input: z.object({ q: z.string() }),
    cache: cache as never,
    run: (args, ctx) => run(args, ctx, ++count.runs),
  })
  return { count, server: defineServer({ name: 'tools', version: '1.0.0', tools: [tool] }) }
}
const call = (client: TestClient, q = 'a', options = {}) => client.callTool('look-up', { q }, options)

test('a result is given again to its own caller, for the same arguments; anonymous callers get none', async () => {
  const { server, count } = counting({ ttlMs: 60_000 }, ({ q }, ctx, runs) => `${ctx.principal.subject} ${q} ${runs}`)
  const shared = { state: new MemoryStateStore(systemClock), bus: new MemoryEventBus() }
  const as = (principal?: ConnectOptions['principal']): Promise<TestClient> =>
    connect(server, { ...(principal && { principal }), runtime: shared })
  await using ada = await as(ADA)
  await using adaElsewhere = await as({ ...ADA, scopes: ['more'] })
  await using bob = await as(BOB)
  await using tenant = await as({ ...ADA, tenant: 'other' })
  await using nobody = await as()
  expect((await call(ada)).text).toBe('ada a 1')
  expect((await call(ada)).text).toBe('ada a 1')
  expect((await call(adaElsewhere)).text).toBe('ada a 1')
  expect((await call(ada, 'b')).text).toBe('ada b 2')
  expect((await call(bob)).text).toBe('bob a 3')
  expect((await call(tenant)).text).toBe('ada a 4')
  expect([(await call(nobody)).text, (await call(nobody)).text]).toEqual(['anonymous a 5', 'anonymous a 6'])
  expect(count.runs).toBe(6)
})

test('what is public is given to everybody; each revision gets its own wording, structured content and `_meta` as they were', async () => {
  let runs = 0
  const tool = defineTool({
    name: 'sum',
    description: 'Adds',
    input: z.object({ a: z.number(), b: z.number() }),
    output: z.object({ sum: z.number() }),
    cache: { ttlMs: 60_000, scope: 'public', key: ({ a, b }) => [a, b].sort() },
    run: ({ a, b }) => {
      runs++
      return content.result({
        content: [content.text(`${a + b}`)],
        structuredContent: { sum: a + b },
        _meta: { runs },
      })
    },
  })
  const server = defineServer({ name: 'sums', version: '1.0.0', tools: [tool] })
  const shared = { state: new MemoryStateStore(systemClock), bus: new MemoryEventBus() }
  await using modern = await connect(server, { runtime: shared, principal: ADA })
  await using again = await connect(server, { runtime: shared })
  await using old = await connect(server, { runtime: shared, revision: '2025-03-26' })
  const results = [
    await modern.request('tools/call', { name: 'sum', arguments: { a: 1, b: 2 } }),
    await modern.request('tools/call', { name: 'sum', arguments: { b: 1, a: 2 } }),
    await again.request('tools/call', { name: 'sum', arguments: { b: 2, a: 1 } }),
  ]
  for (const result of results)
    expect(result).toMatchObject({ structuredContent: { sum: 3 }, content: [{ text: '3' }], _meta: { runs: 1 } })
  expect(await old.request('tools/call', { name: 'sum', arguments: { a: 1, b: 2 } })).not.toHaveProperty(
    'structuredContent',
  )
  expect(runs).toBe(2)
})

test('an expired result is given out while the handler runs in the background, and in place of its failure', async () => {
  const clock = new FakeClock()
  let isDown = false
  const cache = { ttlMs: 60_000, staleMs: 10_000, staleIfErrorMs: 600_000, scope: 'public' as const }
  const { server, count } = counting(cache, (_, __, runs) => {
    if (isDown) throw new Error('down')
    return `${runs}`
  })
  await using client = await connect(server, { runtime: { clock } })
  expect((await call(client)).text).toBe('1')
  await clock.advance(61_000)
  expect((await call(client)).text).toBe('1')
  await eventually(() => count.runs).toBe(2)
  await eventually(async () => (await call(client)).text).toBe('2')
  isDown = true
  await clock.advance(300_000)
  expect(await call(client)).toMatchObject({ isError: false, text: '2' })
  expect(await call(client)).toMatchObject({ isError: false, text: '2' })
  expect(count.runs).toBe(3)
  await clock.advance(500_000)
  expect(await call(client)).toMatchObject({ isError: true })
})

test('errors are not kept; with `negativeTtlMs` those are that the handler means, and no others', async () => {
  const run = (_: unknown, __: unknown, runs: number): never => {
    throw runs % 2 === 1 ? toolError(`none (${runs})`) : new Error('broken')
  }
  const plain = counting({ ttlMs: 60_000, scope: 'public' }, run)
  await using client = await connect(plain.server)
  for (let round = 0; round < 2; round++) expect(await call(client)).toMatchObject({ isError: true })
  expect(plain.count.runs).toBe(2)
  const negative = counting({ ttlMs: 60_000, scope: 'public', negativeTtlMs: 60_000 }, run)
  await using asked = await connect(negative.server)
  for (let round = 0; round < 2; round++) expect(await call(asked)).toMatchObject({ isError: true, text: 'none (1)' })
  for (let round = 0; round < 2; round++)
    expect((await call(asked, 'b')).text).toMatch(round === 0 ? 'failed unexpectedly' : 'none (3)')
  expect(negative.count.runs).toBe(3)
})

test('a handler that asks is never cached: not the question, not its later legs, not the result', async () => {
  for (const revision of ['2026-07-28', '2025-11-25'] as const) {
    const { server, count } = counting({ ttlMs: 60_000, scope: 'public' }, async (_, ctx) => {
      const { action } = await ctx.elicit('sure', { message: 'Sure?', schema: z.object({}) })
      return action
    })
    await using yes = await connect(server, { revision, answers: { sure: {} } })
    await using no = await connect(server, { revision, answers: { sure: 'decline' as never } })
    expect((await call(yes)).text).toBe('accept')
    expect((await call(yes)).text).toBe('accept')
    expect((await call(no)).text).not.toBe('accept')
    const metrics = (await yes.runtime.metrics()).body
    expect(metrics).not.toMatch(/holdfast_cache_requests_total\{cache="look-up",event="(memory|store|waited)"/)
    expect(count.runs).toBeGreaterThanOrEqual(3)
  }
})

test('callers that come together run one handler, unless it asks: then each its own', async () => {
  const gate = Promise.withResolvers<void>()
  const { server, count } = counting({ ttlMs: 60_000, scope: 'public' }, async ({ q }, ctx, runs) => {
    await gate.promise
    if (q === 'ask') await ctx.elicit('sure', { message: 'Sure?', schema: z.object({}) })
    return `${q} ${runs}`
  })
  await using client = await connect(server, { answers: { sure: {} } })
  const together = Array.from({ length: 10 }, () => call(client))
  await eventually(() => count.runs).toBe(1)
  gate.resolve()
  expect(new Set((await Promise.all(together)).map(({ text }) => text))).toEqual(new Set(['a 1']))
  const asking = await Promise.all(Array.from({ length: 3 }, () => call(client, 'ask')))
  expect(new Set(asking.map(({ text }) => text)).size).toBe(3)
})

test('a client that cancels ends the handler only where no other call waits for it', async () => {
  const signals: AbortSignal[] = []
  const gates: PromiseWithResolvers<string>[] = []
  const { server } = counting({ ttlMs: 60_000, scope: 'public' }, async (_, ctx) => {
    signals.push(ctx.signal)
    const gate = Promise.withResolvers<string>()
    gates.push(gate)
    ctx.signal.addEventListener('abort', () => gate.reject(ctx.signal.reason as Error))
    return gate.promise
  })
  await using client = await connect(server)
  const first = new AbortController()
  const gone = call(client, 'a', { signal: first.signal })
  await eventually(() => signals.length).toBe(1)
  const stays = call(client)
  await new Promise((resolve) => setTimeout(resolve, 20))
  first.abort()
  await expect(gone).rejects.toThrow()
  expect(signals[0]!.aborted).toBe(false)
  gates[0]!.resolve('done')
  expect((await stays).text).toBe('done')

  const second = new AbortController()
  const alone = call(client, 'b', { signal: second.signal })
  await eventually(() => signals.length).toBe(2)
  second.abort()
  await expect(alone).rejects.toThrow()
  await eventually(() => signals[1]!.aborted).toBe(true)
})

test('results that hold links to artifacts are not kept: they belong to their caller', async () => {
  const { server, count } = counting({ ttlMs: 60_000, scope: 'public' }, (_, ctx) =>
    ctx.artifacts.put('big', { name: 'big.txt' }),
  )
  await using client = await connect(server, { principal: ADA })
  const uris = [(await call(client)).content[0], (await call(client)).content[0]]
  expect(uris[0]).toMatchObject({ type: 'resource_link' })
  expect(uris[0]).not.toEqual(uris[1])
  expect(count.runs).toBe(2)
})

test('tags of a tool are those of its arguments; `ctx.invalidate` and `runtime.cache.invalidate` reach them', async () => {
  const { server } = counting(
    { ttlMs: 60_000, scope: 'public', tags: (({ q }: { q: string }) => [`q:${q}`]) as never },
    (_, __, runs) => `${runs}`,
  )
  await using client = await connect(server)
  const texts = async (): Promise<string[]> => [(await call(client)).text, (await call(client, 'b')).text]
  expect([await texts(), await texts()]).toEqual([
    ['1', '2'],
    ['1', '2'],
  ])
  await client.runtime.cache.invalidate(['q:a'])
  expect(await texts()).toEqual(['3', '2'])
  await expect(client.runtime.cache.invalidate([])).rejects.toMatchObject({ code: 'invalid_cache' })
  await expect(client.runtime.cache.invalidate('q:a' as never)).rejects.toMatchObject({ code: 'invalid_cache' })
})

test('a repeat with an idempotency key, and limits, come before the cache', async () => {
  let runs = 0
  const tool = defineTool({
    name: 'limited',
    description: 'May be called twice',
    cache: { ttlMs: 60_000, scope: 'public' },
    limits: [{ per: 'global', limit: 2, windowMs: 3_600_000 }],
    run: () => `${++runs}`,
  })
  await using client = await connect(defineServer({ name: 'l', version: '1.0.0', tools: [tool] }))
  for (let round = 0; round < 2; round++) expect((await client.callTool('limited')).text).toBe('1')
  await expect(client.callTool('limited')).rejects.toMatchObject({ data: { code: 'rate_limited' } })
})

test('ctx.cache gives each caller its own, everybody what is public, and refuses what it can not do', async () => {
  let computed = 0
  const tool = defineTool({
    name: 'part',
    description: 'Caches a part of it',
    input: z.object({ scope: z.enum(['principal', 'public']).optional(), what: z.string().optional() }),
    async run({ scope, what }, ctx) {
      if (what === 'asks')
        return ctx.cache('asks', 1, () => ctx.elicit('q', { message: 'q', schema: z.object({}) }), { ttlMs: 1000 })
      if (what === 'map') return ctx.cache('map', new Map(), () => 1, { ttlMs: 1000 })
      if (what === 'bigint') return ctx.cache('bigint', 1, () => 1n, { ttlMs: 1000 })
      if (what === 'ttl') return ctx.cache('ttl', 1, () => 1, { ttlMs: 0 })
      if (what === 'option') return ctx.cache('option', 1, () => 1, { ttlMs: 1, stale: 1 } as never)
      if (what === 'name') return ctx.cache('a name', 1, () => 1, { ttlMs: 1 })
      const value = await ctx.cache('part', 'k', () => [++computed], { ttlMs: 60_000, ...(scope && { scope }) })
      return `${value[0]}`
    },
  })
  const errors: string[] = []
  const server = defineServer({ name: 'p', version: '1.0.0', tools: [tool] })
  const shared = { state: new MemoryStateStore(systemClock), bus: new MemoryEventBus() }
  await using ada = await connect(server, { runtime: shared, principal: ADA, capabilities: { elicitation: {} } })
  await using bob = await connect(server, { runtime: shared, principal: BOB })
  await using nobody = await connect(server, { runtime: shared })
  const ask = async (client: TestClient, args = {}): Promise<string> => (await client.callTool('part', args)).text
  expect([await ask(ada), await ask(bob), await ask(ada), await ask(bob)]).toEqual(['1', '2', '1', '2'])
  expect([await ask(nobody), await ask(nobody)]).toEqual(['3', '4'])
  expect([await ask(nobody, { scope: 'public' }), await ask(ada, { scope: 'public' })]).toEqual(['5', '5'])
  for (const what of ['asks', 'map', 'bigint', 'ttl', 'name', 'option']) errors.push(await ask(ada, { what }))
  for (const error of errors) expect(error).toMatch('failed unexpectedly')
})

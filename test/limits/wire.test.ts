import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { createRuntime, defineServer, defineTool } from '../../src/index.ts'
import { connect, FakeClock, RpcError } from '../../src/testing/index.ts'
import { nodeOf, type NodeUnderTest } from './support.ts'

const plain = defineTool({ name: 'plain', description: 'Has no limits', run: () => 'plain' })
const scarce = defineTool({
  name: 'scarce',
  description: 'May be called twice in ten seconds by each caller',
  input: z.object({ word: z.string() }),
  limits: [{ per: 'principal', limit: 2, windowMs: 10_000 }],
  run: ({ word }) => word,
})
const dear = defineTool({
  name: 'dear',
  description: 'Costs as much as its text is long',
  input: z.object({ text: z.string() }),
  limits: [{ per: 'principal', limit: 10, windowMs: 60_000, cost: ({ text }) => text.length }],
  run: ({ text }) => `${text.length}`,
})
const server = defineServer({ name: 'limited', version: '1.0.0', tools: [plain, scarce, dear] })
const threeInAMinute = { limits: [{ per: 'principal', limit: 3, windowMs: 60_000 }] } as const

const call = (node: NodeUnderTest, name: string, args: object = {}) =>
  node.modern('tools/call', { name, arguments: args })
const initialize = (protocolVersion: string) => ({
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion, capabilities: {}, clientInfo: { name: 'test', version: '1' } },
})

describe('requests over the limit of the server', () => {
  test('are refused before their body is read: 429, Retry-After, our code, which limit, no id', async () => {
    await using node = await nodeOf(server, { ...threeInAMinute, clock: new FakeClock() })
    for (let index = 0; index < 3; index++) expect((await call(node, 'plain')).status).toBe(200)
    const refused = await node.post('this is no JSON-RPC at all')
    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toBe('20')
    expect(refused.body).toEqual({
      jsonrpc: '2.0',
      error: {
        code: 42900,
        message: 'The limit "principal-60s" (3 in 60 s for each principal) is used up. Try again in 20 s.',
        data: {
          code: 'rate_limited',
          retryable: true,
          retryAfterMs: 20_000,
          limit: 'principal-60s',
          requestId: expect.any(String),
        },
      },
    })
  })

  test('can be made again after Retry-After, and not before', async () => {
    const clock = new FakeClock()
    await using node = await nodeOf(server, { ...threeInAMinute, clock })
    for (let index = 0; index < 3; index++) await call(node, 'plain')
    await clock.advance(19_000)
    expect((await call(node, 'plain')).status).toBe(429)
    await clock.advance(1000)
    expect((await call(node, 'plain')).status).toBe(200)
    expect((await call(node, 'plain')).status).toBe(429)
  })

  test('are told of in the header fields of the draft, also on success', async () => {
    await using node = await nodeOf(server, { ...threeInAMinute, clock: new FakeClock() })
    const seen = []
    for (let index = 0; index < 4; index++) {
      const { headers } = await call(node, 'plain')
      expect(headers.get('ratelimit-policy')).toBe('"principal-60s";q=3;w=60')
      seen.push(headers.get('ratelimit'))
    }
    expect(seen).toEqual([
      '"principal-60s";r=2;t=40',
      '"principal-60s";r=1;t=20',
      '"principal-60s";r=0;t=20',
      '"principal-60s";r=0;t=20',
    ])
  })

  test('may be read by browsers of allowed origins', async () => {
    await using node = await nodeOf(server, { ...threeInAMinute, clock: new FakeClock() })
    const { headers } = await node.modern('tools/list', {}, { origin: 'http://localhost:8080' })
    const exposed = headers.get('access-control-expose-headers')!.toLowerCase().split(', ')
    expect(exposed).toEqual(expect.arrayContaining(['ratelimit', 'ratelimit-policy', 'retry-after']))
    const preflight = await fetch(node.url, { method: 'OPTIONS', headers: { origin: 'http://localhost:8080' } })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('ratelimit')).toBe(null)
  })

  test('are not `server/discover`, however often', async () => {
    await using node = await nodeOf(server, { ...threeInAMinute, clock: new FakeClock() })
    for (let index = 0; index < 10; index++) expect((await node.modern('server/discover')).status).toBe(200)
    for (let index = 0; index < 3; index++) expect((await call(node, 'plain')).status).toBe(200)
    expect((await call(node, 'plain')).status).toBe(429)
    expect((await node.modern('server/discover')).status).toBe(200)
  })

  test('do not pass by naming `server/discover` in a header alone: they are held to the limit by their body', async () => {
    await using node = await nodeOf(server, { ...threeInAMinute, clock: new FakeClock() })
    const session = (await node.post(initialize('2025-11-25'))).headers.get('mcp-session-id')!
    const list = () =>
      node.post(
        { jsonrpc: '2.0', id: 2, method: 'tools/list' },
        { 'mcp-session-id': session, 'mcp-method': 'server/discover' },
      )
    expect([await list(), await list(), await list()].map(({ status }) => status)).toEqual([200, 200, 429])
    expect((await list()).body.id).toBe(2)
  })

  test('are those of sessions, GET and DELETE too', async () => {
    await using node = await nodeOf(server, {
      limits: [{ per: 'principal', limit: 2, windowMs: 60_000 }],
      clock: new FakeClock(),
    })
    const session = (await node.post(initialize('2025-06-18'))).headers.get('mcp-session-id')!
    const headers = { 'mcp-session-id': session }
    expect((await node.post({ jsonrpc: '2.0', method: 'notifications/initialized' }, headers)).status).toBe(202)
    const get = await fetch(node.url, { headers: { ...headers, accept: 'text/event-stream' } })
    expect(get.status).toBe(429)
    expect(((await get.json()) as any).error.code).toBe(42900)
    const end = await fetch(node.url, { method: 'DELETE', headers })
    expect([end.status, end.headers.get('retry-after')]).toEqual([429, '30'])
  })

  test('are counted for each caller apart, and for all together by a global limit', async () => {
    const clock = new FakeClock()
    await using node = await nodeOf(server, {
      limits: [
        { per: 'principal', limit: 100, windowMs: 60_000 },
        { per: 'global', limit: 2, windowMs: 1000 },
      ],
      clock,
    })
    expect((await call(node, 'plain')).status).toBe(200)
    const second = await call(node, 'plain')
    expect(second.headers.get('ratelimit-policy')).toBe('"principal-60s";q=100;w=60')
    const { status, body, headers } = await call(node, 'plain')
    expect(status).toBe(429)
    // What the server can do in all is nobody's affair.
    expect(body.error).toMatchObject({
      message: 'The limit "global-1s" of the server is used up. Try again in 0.5 s.',
      data: { limit: 'global-1s', retryAfterMs: 500 },
    })
    expect(headers.get('ratelimit')).toBe(null)
    expect(headers.get('retry-after')).toBe('1')
  })

  test('in a batch are answered one by one under 200; the request that the batch came in pays for the first', async () => {
    await using node = await nodeOf(server, {
      limits: [{ per: 'principal', limit: 4, windowMs: 60_000 }],
      clock: new FakeClock(),
    })
    const session = (await node.post(initialize('2025-03-26'))).headers.get('mcp-session-id')!
    const batch = Array.from({ length: 5 }, (_, id) => ({ jsonrpc: '2.0', id, method: 'tools/list' }))
    const { status, body } = await node.post(batch, { 'mcp-session-id': session })
    expect(status).toBe(200)
    expect(body.map(({ id, error }: any) => [id, error?.code])).toEqual([
      [0, undefined],
      [1, undefined],
      [2, undefined],
      [3, 42900],
      [4, 42900],
    ])
  })

  test('through fetch are answered alike', async () => {
    const runtime = await createRuntime(server, {
      dataDir: false,
      logLevel: 'silent',
      clock: new FakeClock(),
      limits: [{ per: 'principal', limit: 1, windowMs: 60_000 }],
    })
    const send = () =>
      runtime.fetch(
        new Request('http://localhost/mcp', {
          method: 'POST',
          headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
          body: JSON.stringify(initialize('2025-11-25')),
        }),
      )
    const first = await send()
    expect([first.status, first.headers.get('ratelimit')]).toEqual([200, '"principal-60s";r=0;t=60'])
    const second = await send()
    expect([second.status, second.headers.get('retry-after')]).toEqual([429, '60'])
    await runtime.close()
  })

  test('on stdio are answered with their id; notifications are free', async () => {
    const runtime = await createRuntime(server, {
      dataDir: false,
      logLevel: 'silent',
      clock: new FakeClock(),
      limits: [{ per: 'principal', limit: 2, windowMs: 60_000 }],
    })
    const input = new PassThrough()
    const output = new PassThrough()
    let written = ''
    output.on('data', (chunk: Buffer) => (written += chunk.toString()))
    const served = runtime.serveStdio({ input, output })
    for (const message of [
      initialize('2025-11-25'),
      { jsonrpc: '2.0', method: 'notifications/initialized' },
      { jsonrpc: '2.0', method: 'notifications/initialized' },
      { jsonrpc: '2.0', id: 2, method: 'ping' },
      { jsonrpc: '2.0', id: 3, method: 'ping' },
    ])
      input.write(`${JSON.stringify(message)}\n`)
    input.end()
    await served
    const answers = written
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as any)
    expect(answers.map(({ id, error }) => [id, error?.code]).toSorted()).toEqual([
      [1, undefined],
      [2, undefined],
      [3, 42900],
    ])
    await runtime.close()
  })
})

describe('calls over the limit of a tool', () => {
  test('are refused with their id, whichever way they come; other tools go on', async () => {
    await using node = await nodeOf(server, { clock: new FakeClock() })
    for (const word of ['a', 'b']) expect((await call(node, 'scarce', { word })).body.result.content[0].text).toBe(word)
    const { status, headers, body } = await call(node, 'scarce', { word: 'c' })
    expect([status, headers.get('retry-after')]).toEqual([429, '5'])
    expect(body).toMatchObject({
      id: 1,
      error: { code: 42900, data: { limit: 'scarce:principal-10s', retryAfterMs: 5000, retryable: true } },
    })
    expect(headers.get('ratelimit-policy')).toBe('"scarce:principal-10s";q=2;w=10')
    expect(headers.get('ratelimit')).toBe('"scarce:principal-10s";r=0;t=5')
    expect((await call(node, 'plain')).status).toBe(200)
  })

  test('are refused in a 2025 session with the same status, code and headers', async () => {
    await using node = await nodeOf(server, { clock: new FakeClock() })
    const session = (await node.post(initialize('2025-11-25'))).headers.get('mcp-session-id')!
    const scarceCall = (id: number) =>
      node.post(
        { jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'scarce', arguments: { word: 'x' } } },
        { 'mcp-session-id': session },
      )
    await scarceCall(2)
    await scarceCall(3)
    const { status, headers, body } = await scarceCall(4)
    expect([status, headers.get('retry-after'), body.id, body.error.code]).toEqual([429, '5', 4, 42900])
  })

  test('in a batch are answered one by one under 200', async () => {
    await using node = await nodeOf(server, { clock: new FakeClock() })
    const session = (await node.post(initialize('2025-03-26'))).headers.get('mcp-session-id')!
    const batch = Array.from({ length: 3 }, (_, id) => ({
      jsonrpc: '2.0',
      id,
      method: 'tools/call',
      params: { name: 'scarce', arguments: { word: 'x' } },
    }))
    const { status, body } = await node.post(batch, { 'mcp-session-id': session })
    expect(status).toBe(200)
    expect(body.map(({ error }: any) => error?.code)).toEqual([undefined, undefined, 42900])
  })

  test('are not those whose arguments are wrong: they cost nothing of it', async () => {
    await using node = await nodeOf(server, { clock: new FakeClock() })
    for (let index = 0; index < 5; index++)
      expect((await call(node, 'scarce', { wrong: 1 })).body.result.isError).toBe(true)
    expect((await call(node, 'scarce', { word: 'a' })).body.result.isError).toBe(undefined)
  })

  test('are not repeats of a call that gets the stored outcome', async () => {
    await using client = await connect(server)
    const meta = { 'dev.holdfast/idempotencyKey': 'a key of some length' }
    for (let index = 0; index < 5; index++)
      expect((await client.callTool('scarce', { word: 'once' }, { meta })).text).toBe('once')
    expect((await client.callTool('scarce', { word: 'second' })).text).toBe('second')
    await expect(client.callTool('scarce', { word: 'third' })).rejects.toMatchObject({ code: 42900 })
  })

  test('leave no outcome behind: the same idempotency key runs once the limit allows it', async () => {
    const clock = new FakeClock()
    await using client = await connect(server, { runtime: { clock } })
    await client.callTool('scarce', { word: 'a' })
    await client.callTool('scarce', { word: 'b' })
    const again = () =>
      client.callTool('scarce', { word: 'c' }, { meta: { 'dev.holdfast/idempotencyKey': 'a key of some length' } })
    await expect(again()).rejects.toMatchObject({ code: 42900 })
    await clock.advance(5000)
    expect((await again()).text).toBe('c')
  })

  test('may cost what their arguments say', async () => {
    await using client = await connect(server, { runtime: { clock: new FakeClock() } })
    expect((await client.callTool('dear', { text: '1234567' })).text).toBe('7')
    const refused = await client.callTool('dear', { text: '1234' }).catch((error: unknown) => error as RpcError)
    expect(refused).toBeInstanceOf(RpcError)
    expect(refused).toMatchObject({ code: 42900, data: { limit: 'dear:principal-60s-cost', retryAfterMs: 6000 } })
    expect((await client.callTool('dear', { text: '123' })).text).toBe('3')
  })

  test('that cost more than can ever be had are told so, and take nothing', async () => {
    await using client = await connect(server, { runtime: { clock: new FakeClock() } })
    await expect(client.callTool('dear', { text: 'x'.repeat(11) })).rejects.toMatchObject({
      code: -32602,
      message:
        'The call costs 11, and the limit "dear:principal-60s-cost" allows 10 at once. Ask for less in one call.',
      data: { code: 'cost_above_limit', retryable: false, cost: 11, burst: 10 },
    })
    expect((await client.callTool('dear', { text: 'x'.repeat(10) })).text).toBe('10')
  })

  test('are marked as costs in the header fields, whose unit would else be requests', async () => {
    await using node = await nodeOf(server, { clock: new FakeClock() })
    const { headers } = await call(node, 'dear', { text: '12345' })
    expect(headers.get('ratelimit-policy')).toBe('"dear:principal-60s-cost";q=10;w=60;holdfast-cost')
    expect(headers.get('ratelimit')).toBe('"dear:principal-60s-cost";r=5;t=30')
  })

  test('and requests over the limit of the server are told of together', async () => {
    await using node = await nodeOf(server, { ...threeInAMinute, clock: new FakeClock() })
    const { headers } = await call(node, 'scarce', { word: 'a' })
    expect(headers.get('ratelimit-policy')).toBe('"principal-60s";q=3;w=60, "scarce:principal-10s";q=2;w=10')
    expect(headers.get('ratelimit')).toBe('"principal-60s";r=2;t=40, "scarce:principal-10s";r=1;t=5')
  })
})

test.each(['2026-07-28', '2025-11-25'] as const)(
  'a call that asks its client costs the tool once, however many requests it takes (%s)',
  async (revision) => {
    let runs = 0
    const asking = defineTool({
      name: 'asking',
      description: 'Asks twice, one question after the other',
      limits: [{ per: 'principal', limit: 2, windowMs: 60_000 }],
      async run(_args, ctx) {
        runs++
        const first = await ctx.elicit('first', { message: 'One?', schema: z.object({ n: z.number() }) })
        const second = await ctx.elicit('second', { message: 'Two?', schema: z.object({ n: z.number() }) })
        return first.action === 'accept' && second.action === 'accept' ? `${first.content.n + second.content.n}` : '?'
      },
    })
    await using client = await connect(defineServer({ name: 'asking', version: '1.0.0', tools: [asking] }), {
      revision,
      answers: { first: { n: 1 }, second: { n: 2 } },
    })
    for (let index = 0; index < 2; index++) expect((await client.callTool('asking')).text).toBe('3')
    await expect(client.callTool('asking')).rejects.toMatchObject({ code: 42900 })
    expect(runs).toBe(revision === '2026-07-28' ? 6 : 2)
  },
)

test('lists of tools say nothing of limits', async () => {
  await using client = await connect(server)
  for (const tool of await client.listTools()) expect(tool).not.toHaveProperty('limits')
})

test('a cost that comes out as none is an error of the server, and nothing runs', async () => {
  let runs = 0
  const broken = defineTool({
    name: 'broken',
    description: 'Costs not a number',
    limits: [{ per: 'principal', limit: 10, windowMs: 1000, cost: () => NaN }],
    run: () => void runs++,
  })
  await using client = await connect(defineServer({ name: 'broken', version: '1.0.0', tools: [broken] }))
  await expect(client.callTool('broken')).rejects.toMatchObject({ code: -32603 })
  expect(runs).toBe(0)
})

test('decisions are counted by limit and outcome, refusals also by their code', async () => {
  await using node = await nodeOf(server, { ...threeInAMinute, clock: new FakeClock() })
  for (let index = 0; index < 4; index++) await call(node, 'scarce', { word: 'a' })
  const { body } = await node.runtime.metrics()
  const lines = body.split('\n').filter((line) => /^holdfast_(limit|refusals)/.test(line))
  expect(lines.toSorted()).toEqual([
    'holdfast_limit_decisions_total{limit="principal-60s",outcome="allowed"} 3',
    'holdfast_limit_decisions_total{limit="principal-60s",outcome="limited"} 1',
    'holdfast_limit_decisions_total{limit="scarce:principal-10s",outcome="allowed"} 2',
    'holdfast_limit_decisions_total{limit="scarce:principal-10s",outcome="limited"} 1',
    'holdfast_refusals_total{code="rate_limited"} 1',
  ])
})

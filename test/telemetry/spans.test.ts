import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { createRuntime } from '../../src/index.ts'
import { connect } from '../../src/testing/index.ts'
import { ANY_TEXT, CASES, CONVENTION } from './convention.ts'
import { server } from './fixture.ts'
import { registerSdk, type Sdk } from './otel.ts'
import { ERAS, open, openHttp, TRANSPORTS, type Era, type TransportName, type Wire } from './transports.ts'

let sdk: Sdk
beforeAll(() => {
  sdk = registerSdk()
})
afterAll(() => sdk.shutdown())

/** Wires of one test, closed whatever becomes of it. */
let wires: Wire[] = []
async function opened(transport: TransportName, era: Era): Promise<Wire> {
  const wire = await open(transport, era)
  wires.push(wire)
  return wire
}
afterEach(async () => {
  for (const wire of wires) await wire.close()
  wires = []
})

describe.each(TRANSPORTS.flatMap((transport) => ERAS.map((era) => ({ transport, era }))))(
  'spans of $era over $transport',
  ({ transport, era }) => {
    let wire: Wire
    beforeAll(async () => {
      wire = await open(transport, era)
    })
    beforeEach(() => void sdk.spans())
    afterAll(() => wire.close())

    for (const one of CASES.filter(({ eras }) => eras === undefined || eras.includes(era)))
      test(`${one.what} has the name, kind, status and exactly the attributes of the convention`, async () => {
        await wire.request(one.method, one.params)
        const spans = sdk.spans().filter(({ name }) => name !== 'notifications/initialized')
        expect(spans.map(({ name }) => name)).toEqual([one.span])
        const [span] = spans as [ReadableSpan]
        expect(span.kind).toBe(SpanKind.SERVER)
        expect(span.status.code).toBe(one.error === undefined ? SpanStatusCode.UNSET : SpanStatusCode.ERROR)
        expect(span.instrumentationScope).toMatchObject({ name: 'holdfast', version: ANY_TEXT })
        const expected = CONVENTION.map(
          ({ attribute, expected }) => [attribute, expected(one, era, transport)] as const,
        )
        expect(span.attributes).toEqual(Object.fromEntries(expected.filter(([, value]) => value !== undefined)))
      })

    test('the context in `_meta` is the parent, wherever the handler makes spans of its own', async () => {
      const meta = {
        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
        tracestate: 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE',
        baggage: 'tenant=blue,region=eu',
      }
      const { result } = await wire.request('tools/call', { name: 'inside' }, { meta })
      expect(result).toMatchObject({ content: [{ text: 'blue' }] })
      const spans = sdk.spans()
      const [work, span] = ['work', 'tools/call inside'].map((name) => spans.find((one) => one.name === name)!)
      expect(span!.spanContext().traceId).toBe('4bf92f3577b34da6a3ce929d0e0e4736')
      expect(span!.parentSpanContext).toMatchObject({ spanId: '00f067aa0ba902b7', isRemote: true })
      expect(span!.spanContext().traceState?.serialize()).toBe('rojo=00f067aa0ba902b7,congo=t61rcWkgMzE')
      expect(work!.parentSpanContext?.spanId).toBe(span!.spanContext().spanId)
      expect(work!.spanContext().traceId).toBe('4bf92f3577b34da6a3ce929d0e0e4736')
    })

    test('baggage comes through without a trace', async () => {
      const { result } = await wire.request('tools/call', { name: 'inside' }, { meta: { baggage: 'tenant=red' } })
      expect(result).toMatchObject({ content: [{ text: 'red' }] })
    })

    test.each([
      'nonsense',
      '00-00000000000000000000000000000000-00f067aa0ba902b7-01',
      'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      42,
      { deep: true },
    ])('a `traceparent` that is none (%j) starts a trace of its own', async (traceparent) => {
      await wire.request('tools/list', {}, { meta: { traceparent } })
      const [span] = sdk.spans()
      expect(span?.parentSpanContext).toBeUndefined()
      expect(span?.spanContext().traceId).not.toBe('4bf92f3577b34da6a3ce929d0e0e4736')
    })

    test('a trace that its caller does not sample is not sampled here', async () => {
      const meta = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00' }
      await wire.request('tools/list', {}, { meta })
      expect(sdk.spans()).toEqual([])
    })
  },
)

test('an id that is a text is the text, and a number its digits', async () => {
  const wire = await opened('http', '2026-07-28')
  sdk.spans()
  await wire.request('tools/list', {}, { id: 'request-7' })
  await wire.request('tools/list', {}, { id: 10 })
  expect(sdk.spans().map(({ attributes }) => attributes['jsonrpc.request.id'])).toEqual(['request-7', '10'])
})

test.each(['http', 'stdio'] as const)('each session has an id of its own over %s', async (transport) => {
  const two = [await opened(transport, '2025-11-25'), await opened(transport, '2025-11-25')]
  sdk.spans()
  const ids: unknown[] = []
  for (const wire of two) {
    for (let times = 0; times < 2; times++) await wire.request('ping')
    const pings = sdk.spans().filter(({ name }) => name === 'ping')
    const seen = new Set(pings.map(({ attributes }) => attributes['mcp.session.id']))
    expect(seen.size).toBe(1)
    ids.push(...seen)
  }
  expect(new Set(ids).size).toBe(2)
})

test.each(TRANSPORTS)('`initialize` belongs to the session that it opens, over %s', async (transport) => {
  sdk.spans()
  const wire = await opened(transport, '2025-11-25')
  await wire.request('ping')
  const spans = sdk.spans().filter(({ name }) => name === 'initialize' || name === 'ping')
  const [initialize, ping] = spans.map(({ attributes }) => attributes['mcp.session.id'])
  expect(initialize).toBe(ping)
})

test('the id on spans is not the one that opens the session', async () => {
  const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent' })
  const { url } = await runtime.listen({ port: 0 })
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } },
    }),
  })
  await response.text()
  const held = response.headers.get('mcp-session-id')!
  expect(held.length).toBeGreaterThan(20)
  sdk.spans()
  await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-session-id': held,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'ping' }),
  }).then((answer) => answer.text())
  const [span] = sdk.spans()
  expect(JSON.stringify(span!.attributes)).not.toContain(held)
  await runtime.close()
})

describe.each(['2026-07-28', '2025-11-25'] as const)('where the HTTP request has a span (%s)', (era) => {
  /** What an instrumentation of `node:http` does: a span is active while the listener runs, and in the request's events. */
  async function instrumented(): Promise<{ wire: Wire; end: () => Promise<void> }> {
    const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent' })
    const http = createServer((request, response) => {
      const span = trace.getTracer('http').startSpan('POST', { kind: SpanKind.SERVER })
      const active = trace.setSpan(context.active(), span)
      context.bind(active, request)
      context.bind(active, response)
      response.on('close', () => span.end())
      context.with(active, () => runtime.nodeHandler(request, response))
    })
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`
    const wire = await openHttp(runtime, era, url)
    return {
      wire,
      end: async () => {
        http.closeAllConnections()
        await new Promise((resolve) => http.close(resolve))
        await runtime.close()
      },
    }
  }
  let wire: Wire
  let end: () => Promise<void>
  beforeAll(async () => {
    ;({ wire, end } = await instrumented())
  })
  afterEach(() => void sdk.spans())
  afterAll(() => end())

  test('it is a link, where the message names its own parent', async () => {
    const meta = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' }
    sdk.spans()
    await wire.request('tools/call', { name: 'add', arguments: { a: 1, b: 2 } }, { meta })
    const spans = await ended(2)
    const [mcp, post] = ['tools/call add', 'POST'].map((name) => spans.find((span) => span.name === name)!)
    expect(mcp!.parentSpanContext?.spanId).toBe('00f067aa0ba902b7')
    expect(mcp!.links.map((link) => link.context.spanId)).toEqual([post!.spanContext().spanId])
  })

  test('it is the parent, and no link, where the message names none', async () => {
    sdk.spans()
    await wire.request('tools/call', { name: 'add', arguments: { a: 1, b: 2 } })
    const spans = await ended(2)
    const [mcp, post] = ['tools/call add', 'POST'].map((name) => spans.find((span) => span.name === name)!)
    expect(mcp!.parentSpanContext?.spanId).toBe(post!.spanContext().spanId)
    expect(mcp!.links).toEqual([])
  })

  async function ended(count: number): Promise<ReadableSpan[]> {
    const spans: ReadableSpan[] = []
    while (spans.length < count) {
      spans.push(...sdk.spans())
      await new Promise((resolve) => setImmediate(resolve))
    }
    return spans
  }
})

describe('errors on spans', () => {
  test('the status says the message of the JSON-RPC error', async () => {
    const wire = await opened('http', '2026-07-28')
    sdk.spans()
    const { error } = await wire.request('resources/read', { uri: 'doc://page/9' })
    const [span] = sdk.spans()
    expect(span!.status).toEqual({ code: SpanStatusCode.ERROR, message: error!.message })
  })

  test('what a handler threw is an event of its span, since no client is told of it', async () => {
    const wire = await opened('http', '2026-07-28')
    sdk.spans()
    await wire.request('tools/call', { name: 'crash' })
    const [span] = sdk.spans()
    expect(span!.events).toHaveLength(1)
    expect(span!.events[0]).toMatchObject({
      name: 'exception',
      attributes: {
        'exception.type': 'Error',
        'exception.message': 'ER_ACCESS_DENIED: no access for app@10.0.0.7',
        'exception.stacktrace': expect.stringContaining('fixture.ts'),
      },
    })
  })

  test('a call that its client cancels ends as `cancelled`', async () => {
    const wire = await opened('stdio', '2026-07-28')
    sdk.spans()
    void wire.request('tools/call', { name: 'wait' }, { id: 'slow' })
    await wire.notify('notifications/cancelled', { requestId: 'slow' })
    const span = await sdk.span('tools/call wait')
    expect(span.attributes['error.type']).toBe('cancelled')
    expect(span.attributes).not.toHaveProperty('rpc.response.status_code')
    expect(span.status.code).toBe(SpanStatusCode.ERROR)
  })
})

test('notifications are operations too, and carry no request id', async () => {
  sdk.spans()
  await opened('http', '2025-11-25')
  const span = sdk.spans().find(({ name }) => name === 'notifications/initialized')
  expect(span?.kind).toBe(SpanKind.SERVER)
  expect(span?.attributes).toMatchObject({ 'mcp.method.name': 'notifications/initialized' })
  expect(span?.attributes).not.toHaveProperty('jsonrpc.request.id')
})

test('a `subscriptions/listen` is one span, from its start to its end', async () => {
  const client = await connect(server)
  const listened = client.request('subscriptions/listen', { notifications: { toolsListChanged: true } })
  await vi.waitFor(() => expect(client.notifications).toHaveLength(1)) // acknowledged
  sdk.spans()
  await client.request('tools/list')
  expect(sdk.spans().map(({ name }) => name)).toEqual(['tools/list'])
  await client.close()
  await listened
  expect((await sdk.span('subscriptions/listen')).status.code).toBe(SpanStatusCode.UNSET)
})

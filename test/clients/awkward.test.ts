// Clients as they are in the field: mixed revisions, probes, headers that contradict the body.
import { get } from 'node:http'
import { describe, expect, test } from 'vitest'
import { initializeMessage, MODERN, modern, open, openSession, post, send } from './raw.ts'
import { withServer } from './with-server.ts'

/** Codes by which a client knows a server of 2026-07-28; any other 4xx sends it back to `initialize`. */
const MODERN_CODES = [-32020, -32021, -32022]
const call = { name: 'add', arguments: { a: 1, b: 2 } }

describe('a server as it comes', () => {
  const server = withServer()

  test('claude.ai: a 2025 header beside a 2026 body is refused, with the id of the request', async () => {
    const reply = await modern(server.url, 'tools/call', call, {
      id: 'x',
      headers: { 'mcp-protocol-version': '2025-11-25' },
    })
    expect(reply).toMatchObject({ status: 400, message: { id: 'x', error: { code: -32020 } } })
  })

  test('Claude Code: discovers, initializes all the same, and is served in either way', async () => {
    const discovered = await modern(server.url, 'server/discover', {}, { id: 'server-discover-probe-1' })
    expect(discovered).toMatchObject({
      status: 200,
      message: { id: 'server-discover-probe-1', result: { resultType: 'complete', supportedVersions: [MODERN] } },
    })
    const session = await openSession(server.url)
    expect(session.initialized).toMatchObject({ protocolVersion: '2025-11-25', serverInfo: { name: 'fixture' } })
    const old = await session.request('tools/call', call)
    expect(old).toMatchObject({ status: 200, message: { result: { structuredContent: { sum: 3 } } } })
    expect((await modern(server.url, 'tools/call', call)).message?.result).toMatchObject({ resultType: 'complete' })
    expect((await session.end()).status).toBe(204)
  })

  test('Claude Code, older: a GET without a session is answered 405 with Allow, at once', async () => {
    const reply = await send(server.url, { method: 'GET', headers: { accept: 'text/event-stream' } })
    expect(reply.status).toBe(405)
    expect(reply.headers.get('allow')).toContain('POST')
    expect(reply.headers.get('content-type') ?? '').not.toContain('event-stream')
  })

  test('VS Code: initialize, listen by GET, list, call, DELETE', async () => {
    const session = await openSession(server.url)
    await using stream = await session.listen()
    expect(stream.status).toBe(200)
    expect(stream.headers.get('content-type')).toMatch(/^text\/event-stream/)
    expect((await session.request('tools/list')).message?.result?.['tools']).not.toHaveLength(0)
    expect((await session.request('tools/call', call)).message?.result).toMatchObject({ content: [{ type: 'text' }] })
    expect((await session.end()).status).toBe(204)
    expect(await session.request('tools/list')).toMatchObject({ status: 404, message: { error: { code: -32600 } } })
    await using again = await session.listen()
    expect(again.status).toBe(404)
  })

  test('Inspector, legacy: initialize under the version header that it will use later', async () => {
    const reply = await post(server.url, initializeMessage('2025-11-25'), { 'mcp-protocol-version': '2025-11-25' })
    expect(reply).toMatchObject({ status: 200, message: { result: { protocolVersion: '2025-11-25' } } })
  })

  test('Inspector, auto and modern: any request may be the first', async () => {
    for (const method of ['server/discover', 'tools/list', 'resources/list', 'prompts/list'])
      expect(await modern(server.url, method)).toMatchObject({ status: 200, message: { id: 1 } })
  })

  test.each([undefined, '2025-06-18'])(
    'a probe without a claim and with header %s falls back to initialize',
    async (v) => {
      const probe = { jsonrpc: '2.0', id: 1, method: 'server/discover', params: {} }
      const reply = await post(server.url, probe, { 'mcp-protocol-version': v })
      expect(reply.status).toBe(400)
      expect(MODERN_CODES).not.toContain(reply.message?.error?.code)
    },
  )

  test('a probe under the modern header without a claim hears what `_meta` lacks', async () => {
    const probe = { jsonrpc: '2.0', id: 9, method: 'server/discover', params: {} }
    const reply = await post(server.url, probe, { 'mcp-protocol-version': MODERN, 'mcp-method': 'server/discover' })
    expect(reply).toMatchObject({ status: 400, message: { id: 9, error: { code: -32602 } } })
    expect(reply.message?.error?.message).toContain('io.modelcontextprotocol/protocolVersion')
  })

  test('a version that nobody knows is refused with the versions that are served', async () => {
    const reply = await modern(
      server.url,
      'tools/list',
      {},
      { meta: { protocolVersion: 'v999' }, headers: { 'mcp-protocol-version': 'v999' } },
    )
    expect(reply).toMatchObject({
      status: 400,
      message: { id: 1, error: { code: -32022, data: { supported: [MODERN], requested: 'v999' } } },
    })
  })

  test('a claim of a version that nobody knows, beside a good header, is a mismatch', async () => {
    const reply = await modern(server.url, 'tools/list', {}, { meta: { protocolVersion: 'v999' } })
    expect(reply).toMatchObject({ status: 400, message: { error: { code: -32020 } } })
  })

  test('a claim that is not a string is refused as malformed', async () => {
    const reply = await modern(server.url, 'tools/list', {}, { meta: { protocolVersion: 20260728 } })
    expect(reply).toMatchObject({ status: 400, message: { id: 1, error: { code: -32602 } } })
  })

  test('a header that nobody knows, without a claim, is refused, with a session and without', async () => {
    const session = await openSession(server.url)
    const list = { jsonrpc: '2.0', id: 3, method: 'tools/list' }
    for (const headers of [{}, { 'mcp-session-id': session.id }])
      expect(await post(server.url, list, { ...headers, 'mcp-protocol-version': '1999-01-01' })).toMatchObject({
        status: 400,
        message: { id: 3, error: { code: -32022, data: { requested: '1999-01-01' } } },
      })
  })

  test('initialize with a claim and the modern header is an unknown method', async () => {
    const reply = await modern(server.url, 'initialize', { protocolVersion: '2025-11-25' })
    expect(reply).toMatchObject({ status: 404, message: { id: 1, error: { code: -32601 } } })
  })

  test.each([undefined, MODERN, '2025-03-26', 'v999'])(
    'initialize without a claim is a handshake under header %s',
    async (v) => {
      const reply = await post(server.url, initializeMessage('2025-06-18'), { 'mcp-protocol-version': v })
      expect(reply).toMatchObject({ status: 200, message: { result: { protocolVersion: '2025-06-18' } } })
      expect(reply.headers.get('mcp-session-id')).toMatch(/^[\x21-\x7e]{1,2048}$/)
    },
  )

  test.each([
    ['2025-11-25', '2025-11-25'],
    ['2025-06-18', '2025-06-18'],
    ['2025-03-26', '2025-03-26'],
    ['2024-11-05', '2025-11-25'],
    [MODERN, '2025-11-25'],
    ['tomorrow', '2025-11-25'],
  ])('initialize that asks for %s is answered with %s', async (asked, answered) => {
    expect((await openSession(server.url, asked)).initialized['protocolVersion']).toBe(answered)
  })

  test('a request without header and claim is served at the revision of its session', async () => {
    const session = await openSession(server.url, '2025-06-18')
    const whoami = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'whoami' } }
    const reply = await post(server.url, whoami, { 'mcp-session-id': session.id })
    expect(reply.message?.result?.['content'][0].text).toContain('2025-06-18')
  })

  test('a claim of a 2025 revision without a session is a version that does not exist that way', async () => {
    const reply = await modern(
      server.url,
      'tools/list',
      {},
      { meta: { protocolVersion: '2025-11-25' }, headers: { 'mcp-protocol-version': '2025-11-25' } },
    )
    expect(reply).toMatchObject({
      status: 400,
      message: { error: { code: -32022, data: { supported: [MODERN], requested: '2025-11-25' } } },
    })
  })

  test('a claim of a 2025 revision inside a session is ignored', async () => {
    const session = await openSession(server.url)
    const params = { _meta: { 'io.modelcontextprotocol/protocolVersion': '2025-11-25' } }
    expect(await session.request('tools/list', params)).toMatchObject({ status: 200, message: { id: 1 } })
  })

  test('a 2026 request with a session id and a last event id is served as if it had neither', async () => {
    const reply = await modern(
      server.url,
      'tools/list',
      {},
      { headers: { 'mcp-session-id': 'stale', 'last-event-id': '7' } },
    )
    expect(reply).toMatchObject({ status: 200, message: { result: { resultType: 'complete' } } })
    expect(reply.headers.has('mcp-session-id')).toBe(false)
  })

  test('a request without session, header and claim is refused, so that the client initializes', async () => {
    const reply = await post(server.url, { jsonrpc: '2.0', id: 1, method: 'tools/list' })
    expect(reply).toMatchObject({ status: 400, message: { id: 1, error: { code: -32600 } } })
  })

  test('a session id that was never given out is answered 404, so that the client initializes again', async () => {
    const headers = { 'mcp-session-id': 'made-up', 'mcp-protocol-version': '2025-11-25' }
    const reply = await post(server.url, { jsonrpc: '2.0', id: 1, method: 'tools/list' }, headers)
    expect(reply).toMatchObject({ status: 404, message: { error: { code: -32600 } } })
    expect((await send(server.url, { method: 'DELETE', headers })).status).toBe(404)
    await using stream = await open(server.url, { method: 'GET', headers: { ...headers, accept: 'text/event-stream' } })
    expect(stream.status).toBe(404)
  })

  test.each(['PUT', 'PATCH'])('%s is answered 405 with Allow', async (method) => {
    const reply = await send(server.url, { method, headers: {}, body: '{}' })
    expect(reply.status).toBe(405)
    expect(reply.headers.get('allow')).toContain('POST')
  })

  test('DELETE without a session is refused, and is no method of 2026-07-28', async () => {
    expect((await send(server.url, { method: 'DELETE', headers: {} })).status).toBe(400)
    const headers = { 'mcp-protocol-version': MODERN }
    expect((await send(server.url, { method: 'DELETE', headers })).status).toBe(405)
    expect((await send(server.url, { method: 'GET', headers })).status).toBe(405)
  })

  test('a page that rebinds a name of its own to this machine reads nothing', async () => {
    const read = (path: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        const headers = { host: 'evil.example', accept: 'text/event-stream' }
        get(`${server.origin}${path}`, { headers }, (response) => {
          response.resume().on('end', () => resolve(response.statusCode))
        }).on('error', reject)
      })
    expect(await read('/mcp')).toBe(403)
    expect(await read('/metrics')).toBe(403)
  })

  test('a page of another origin is refused before its body is read', async () => {
    const reply = await post(server.url, 'not JSON', { origin: 'https://evil.example' })
    expect(reply.status).toBe(403)
    expect(reply.message ?? {}).not.toHaveProperty('id')
  })
})

describe('a server that is lenient with headers', () => {
  const server = withServer({ env: { HOLDFAST_LENIENT_HEADERS: 'true' } })
  const counted = async (): Promise<number> => {
    const metrics = await (await fetch(`${server.origin}/metrics`)).text()
    return [...metrics.matchAll(/^holdfast_\w*lenient\w*(?:\{.*\})? (\d+)$/gm)].reduce(
      (sum, m) => sum + Number(m[1]),
      0,
    )
  }

  test('claude.ai: a 2025 header beside a 2026 body is served, and counted', async () => {
    const before = await counted()
    const headers = { 'mcp-protocol-version': '2025-11-25', 'mcp-method': undefined, 'mcp-name': undefined }
    const reply = await modern(server.url, 'tools/call', call, { headers })
    expect(reply).toMatchObject({ status: 200, message: { result: { resultType: 'complete' } } })
    expect(await counted()).toBeGreaterThan(before)
  })

  test('a correct request is served, and not counted', async () => {
    const before = await counted()
    expect((await modern(server.url, 'tools/call', call)).status).toBe(200)
    expect(await counted()).toBe(before)
  })

  test.each([
    ['a method', { 'mcp-method': 'tools/list' }],
    ['a name', { 'mcp-name': 'crash' }],
    ['a version that nobody knows', { 'mcp-protocol-version': 'v999' }],
  ])('a header that names %s and is wrong is still refused', async (_what, headers) => {
    expect(await modern(server.url, 'tools/call', call, { headers })).toMatchObject({
      status: 400,
      message: { error: { code: -32020 } },
    })
  })
})

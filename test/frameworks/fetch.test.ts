import { serve, type ServerType } from '@hono/node-server'
import { Hono } from 'hono'
import { cors } from 'hono/cors'
import type { Server } from 'node:http'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Runtime } from '../../src/index.ts'
import type { RuntimeOptions } from '../../src/compose/options.ts'
import { createLogFile } from '../telemetry/log-file.ts'
import { KINDS } from '../clients/connect.ts'
import { aborted, INITIALIZE, legacy, modern, mountedOn, runtimeOf, waiting, type Mounted } from './mounted.ts'

const URL_ = 'http://localhost/mcp'

/** Reads an event stream by hand. */
class Events {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #decoder = new TextDecoder()
  #text = ''
  constructor(response: Response) {
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    this.#reader = response.body!.getReader()
  }
  /** The next message, or `undefined` at the end. */
  async next(): Promise<Record<string, any> | undefined> {
    for (;;) {
      const end = this.#text.indexOf('\n\n')
      if (end !== -1) {
        const event = this.#text.slice(0, end)
        this.#text = this.#text.slice(end + 2)
        const data = /^data: (.+)$/m.exec(event)?.[1]
        if (data !== undefined) return JSON.parse(data) as Record<string, any>
        continue
      }
      const { value, done } = await this.#reader.read()
      if (done) return undefined
      this.#text += this.#decoder.decode(value, { stream: true })
    }
  }
  cancel(): Promise<void> {
    return this.#reader.cancel()
  }
}

describe('runtime.fetch, called with a Request', () => {
  let runtime: Runtime
  beforeEach(async () => {
    runtime = await runtimeOf()
  })
  afterEach(() => runtime.close())
  const send = (init: RequestInit, url = URL_): Promise<Response> => runtime.fetch(new Request(url, init))
  async function reopen(options: RuntimeOptions): Promise<void> {
    await runtime.close()
    runtime = await runtimeOf(options)
  }

  test('answers a call that says nothing with one JSON body', async () => {
    const response = await send(modern('tools/call', { name: 'add', arguments: { a: 1, b: 2 } }))
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json'])
    expect(await response.json()).toMatchObject({ id: 1, result: { structuredContent: { sum: 3 } } })
  })

  test('answers a call that tells its progress with a stream', async () => {
    const params = { name: 'count', arguments: { to: 2 }, _meta: { progressToken: 'p' } }
    const response = await send(modern('tools/call', params))
    expect(response.headers.get('cache-control')).toContain('no-cache')
    expect(response.headers.get('x-accel-buffering')).toBe('no')
    const events = new Events(response)
    expect((await events.next())?.params).toEqual({ progressToken: 'p', progress: 1, total: 2 })
    expect((await events.next())?.params).toEqual({ progressToken: 'p', progress: 2, total: 2 })
    expect((await events.next())?.result?.content).toEqual([{ type: 'text', text: 'counted to 2' }])
    expect(await events.next()).toBeUndefined()
  })

  test('a stream says keep-alives while nothing else is said', async () => {
    await reopen({ quietMs: 1, keepAliveMs: 1 })
    const response = await send(modern('tools/call', { name: 'wait', arguments: { id: 'quiet' } }))
    const reader = response.body!.getReader()
    let text = ''
    while (!text.includes(': keep-alive\n\n')) text += new TextDecoder().decode((await reader.read()).value)
    await reader.cancel()
    await vi.waitFor(() => expect(aborted).toContain('quiet'))
  })

  test('the handler stops when the request is aborted before it is answered', async () => {
    const controller = new AbortController()
    const sent = send({
      ...modern('tools/call', { name: 'wait', arguments: { id: 'early' } }),
      signal: controller.signal,
    })
    await vi.waitFor(() => expect(waiting).toContain('early'))
    controller.abort()
    await vi.waitFor(() => expect(aborted).toContain('early'))
    await (await sent).text() // nobody reads it, but it is there: a framework must not be left waiting
  })

  test('the handler stops when the request is aborted while it streams', async () => {
    const controller = new AbortController()
    const params = { name: 'wait', arguments: { id: 'midway', loud: true }, _meta: { progressToken: 1 } }
    const response = await send({ ...modern('tools/call', params), signal: controller.signal })
    await new Events(response).next()
    expect(aborted).not.toContain('midway')
    controller.abort()
    await vi.waitFor(() => expect(aborted).toContain('midway'))
  })

  test('the handler stops when the reader of its stream goes', async () => {
    const params = { name: 'wait', arguments: { id: 'reader', loud: true }, _meta: { progressToken: 1 } }
    const events = new Events(await send(modern('tools/call', params)))
    await events.next()
    await events.cancel()
    await vi.waitFor(() => expect(aborted).toContain('reader'))
  })

  test('a request that was aborted before it came is not left without an answer', async () => {
    const signal = AbortSignal.abort()
    const response = await Promise.race([
      send({ ...modern('tools/call', { name: 'wait', arguments: { id: 'late' } }), signal }),
      new Promise<undefined>((resolve) => setTimeout(resolve, 500, undefined)),
    ])
    await vi.waitFor(() => expect(aborted).toContain('late'), { timeout: 500 })
    expect(response).toBeDefined()
  })

  test('a 2025 session goes from `initialize` over its GET stream to DELETE', async () => {
    const opened = await send(legacy('initialize', INITIALIZE))
    expect(await opened.json()).toMatchObject({ result: { protocolVersion: '2025-11-25' } })
    const session = opened.headers.get('mcp-session-id')!
    const headers = { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25', accept: 'text/event-stream' }
    expect((await send(legacy('notifications/initialized', {}, session))).status).toBe(202)
    await (await send(legacy('resources/subscribe', { uri: 'doc://guide' }, session))).text()
    const controller = new AbortController()
    const events = new Events(await send({ headers, signal: controller.signal }))
    runtime.notify.resourceUpdated('doc://guide')
    expect(await events.next()).toMatchObject({
      method: 'notifications/resources/updated',
      params: { uri: 'doc://guide' },
    })
    runtime.notify.toolsChanged()
    expect(await events.next()).toMatchObject({ method: 'notifications/tools/list_changed' })
    controller.abort()
    expect((await send({ method: 'DELETE', headers })).status).toBe(204)
    expect((await send(legacy('ping', {}, session))).status).toBe(404)
  })

  test('a `subscriptions/listen` follows changes until its reader goes', async () => {
    const { internalsOf } = await import('../../src/compose/runtime.ts')
    const { kernel } = internalsOf(runtime)
    const events = new Events(await send(modern('subscriptions/listen', { notifications: { toolsListChanged: true } })))
    expect(await events.next()).toMatchObject({ method: 'notifications/subscriptions/acknowledged' })
    expect(kernel.openStreamCount).toBe(1)
    runtime.notify.toolsChanged()
    expect(await events.next()).toMatchObject({ method: 'notifications/tools/list_changed' })
    await events.cancel()
    await vi.waitFor(() => expect(kernel.openStreamCount).toBe(0))
  })

  test('a stream whose reader reads nothing is cut, and its handler is stopped', async () => {
    await reopen({ maxBufferedBytes: 1000 })
    const params = { name: 'count', arguments: { to: 1000 }, _meta: { progressToken: 'x'.repeat(100) } }
    const response = await send(modern('tools/call', params))
    await vi.waitFor(async () => {
      const { internalsOf } = await import('../../src/compose/runtime.ts')
      expect(internalsOf(runtime).kernel.runningCount).toBe(0)
    })
    await expect(response.text()).rejects.toThrow('too slow')
  })

  test('preflight, and the headers that a browser needs', async () => {
    const origin = 'http://127.0.0.1:8080'
    const preflight = await send({
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type, mcp-method, x-tracking, mcp-param-region',
      },
    })
    expect(preflight.status).toBe(204)
    expect(Object.fromEntries(preflight.headers)).toMatchObject({
      'access-control-allow-origin': origin,
      'access-control-allow-methods': 'POST, GET, DELETE',
      'access-control-allow-headers': 'content-type, mcp-method, mcp-param-region',
      vary: 'Origin',
    })
    const answered = await send(modern('tools/list', {}, { origin }))
    expect(answered.headers.get('access-control-allow-origin')).toBe(origin)
    const params = { name: 'count', arguments: { to: 1 }, _meta: { progressToken: 1 } }
    const streamed = await send(modern('tools/call', params, { origin }))
    expect(streamed.headers.get('access-control-allow-origin')).toBe(origin)
    await streamed.text()
    const refused = await send({ ...modern('tools/list', {}, { origin }), body: '{' })
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([400, origin])
    const evil = await send(modern('tools/list', {}, { origin: 'https://evil.example' }))
    expect([evil.status, evil.headers.get('access-control-allow-origin')]).toEqual([403, null])
  })

  test.each([
    ['a host that is not allowed', modern('tools/list'), 403, 'forbidden_host', 'http://evil.example/mcp'],
    ['another method', { method: 'PUT', body: 'x' }, 405, 'method_not_allowed'],
    ['another content type', modern('tools/list', {}, { 'content-type': 'text/plain' }), 415, 'unsupported_media_type'],
    ['a client that reads neither', modern('tools/list', {}, { accept: 'text/html' }), 406, 'not_acceptable'],
    ['a body that is not JSON', { ...modern('tools/list'), body: '{' }, 400, 'parse_error'],
    ['no body', { ...modern('tools/list'), body: null }, 400, 'parse_error'],
    ['a GET without a session', { headers: { accept: 'text/event-stream' } }, 405, 'method_not_allowed'],
  ] as const)('refuses %s', async (_what, init, status, code, url: string = URL_) => {
    const response = await send(init as RequestInit, url)
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ error: { data: { code } } })
  })

  test('refuses a body over the bound, declared or not', async () => {
    await reopen({ maxBodyBytes: 1000 })
    const declared = await send({ ...modern('tools/list'), body: 'x'.repeat(2000) })
    expect(declared.status).toBe(413)
    const chunks = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(600).fill(0x20)),
    })
    const streamed = await send({ ...modern('tools/list'), body: chunks, duplex: 'half' })
    expect(streamed.status).toBe(413)
    expect(await streamed.json()).toMatchObject({ error: { data: { code: 'body_too_large' } } })
  })

  test('refuses a body that does not come', async () => {
    await reopen({ bodyTimeoutMs: 1 })
    const body = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(new Uint8Array([0x7b])) })
    const response = await send({ ...modern('tools/list'), body, duplex: 'half' })
    expect(response.status).toBe(408)
    expect(await response.json()).toMatchObject({ error: { data: { code: 'body_too_slow', retryable: true } } })
  })

  test('says what is wrong where something has read the body before', async () => {
    const request = new Request(URL_, modern('tools/list'))
    await request.json()
    const response = await runtime.fetch(request)
    expect(response.status).toBe(500)
    expect(await response.json()).toMatchObject({ error: { message: expect.stringMatching(/read the body before/i) } })
  })

  test('takes a body that breaks off for the client’s doing: no failure in the log', async () => {
    const log = createLogFile()
    await reopen({ logLevel: 'info', logFd: log.fd })
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.error(new TypeError('terminated'))
      },
    })
    const response = await send({ ...modern('tools/list'), body, duplex: 'half' })
    expect(response.status).toBe(400)
    await response.text()
    expect((await log.line(({ msg }) => msg === 'refused')).status).toBe(400)
    expect(log.lines().filter(({ level }) => level >= 50)).toEqual([])
  })

  test('answers after the runtime has closed, in words', async () => {
    await runtime.close()
    const response = await send(modern('tools/list'))
    expect([200, 503]).toContain(response.status)
    await response.text()
  })
})

describe.each(['as its own route', 'behind cors() and a middleware', 'in an app of its own'] as const)(
  'Hono, %s',
  (how) => {
    let mounted: Mounted
    let http: ServerType
    beforeAll(async () => {
      const runtime = await runtimeOf()
      const app = new Hono()
      if (how === 'behind cors() and a middleware')
        app.use(cors({ origin: 'http://localhost:6274' }), async (context, next) => {
          await next()
          context.header('x-served-by', 'hono')
        })
      if (how === 'in an app of its own') {
        const inner = new Hono()
        inner.all('/mcp', (context) => runtime.fetch(context.req.raw))
        app.route('/tools', inner)
      } else app.all('/tools/mcp', (context) => runtime.fetch(context.req.raw))
      http = await new Promise<ServerType>((resolve) => {
        const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, () => resolve(server))
      })
      mounted = mountedOn(http as Server, runtime, '/tools/mcp')
    })
    afterAll(() => mounted.close())

    describe.each(KINDS.filter(({ name }) => /held to|as it comes|sdk 1/.test(name)))(
      'with the official $name',
      (kind) => {
        test('lists, calls and hears of progress', async () => {
          await using session = await kind.connect({ transport: 'http', url: mounted.url })
          expect((await session.client.listTools()).tools).toHaveLength(4)
          expect((await session.call('add', { a: 2, b: 40 })).structuredContent).toEqual({ sum: 42 })
          const heard: number[] = []
          await session.call('count', { to: 3 }, { onprogress: ({ progress }) => heard.push(progress) })
          expect(heard).toEqual([1, 2, 3])
          await session.end()
        })

        test('a call that is cancelled stops its handler', async () => {
          await using session = await kind.connect({ transport: 'http', url: mounted.url })
          const controller = new AbortController()
          const id = `hono ${how} ${kind.name}`
          const called = session.call('wait', { id, loud: true }, { signal: controller.signal })
          await vi.waitFor(() => expect(waiting).toContain(id))
          controller.abort()
          await expect(called).rejects.toThrow()
          await vi.waitFor(() => expect(aborted).toContain(id), { timeout: 5000 })
          await session.end()
        })

        test('changes are heard', async () => {
          await using session = await kind.connect({ transport: 'http', url: mounted.url })
          await session.watchLists()
          await vi.waitFor(
            () => {
              mounted.runtime.notify.toolsChanged()
              expect(session.notifications.map(({ method }) => method)).toContain('notifications/tools/list_changed')
            },
            { interval: 50, timeout: 5000 },
          )
          await session.end()
        })
      },
    )

    test('a text of a megabyte comes through', async () => {
      const text = 'ä'.repeat(500_000)
      const response = await fetch(mounted.url, modern('tools/call', { name: 'length', arguments: { text } }))
      expect(await response.json()).toMatchObject({ result: { content: [{ text: '500000' }] } })
    })

    test('what is around it keeps its part', async () => {
      const origin = 'http://localhost:6274'
      const response = await fetch(mounted.url, modern('tools/list', {}, { origin }))
      expect(response.headers.get('x-served-by')).toBe(how === 'behind cors() and a middleware' ? 'hono' : null)
      expect(response.headers.get('access-control-allow-origin')).toBe(origin)
      await response.text()
    })
  },
)

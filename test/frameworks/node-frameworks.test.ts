import express, { type RequestHandler } from 'express'
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { KINDS } from '../clients/connect.ts'
import { aborted, INITIALIZE, legacy, listen, modern, mountedOn, runtimeOf, waiting, type Mounted } from './mounted.ts'

/** How people mount it, or may try to. */
const MOUNTS: Record<string, () => Promise<Mounted>> = {
  'Express, with app.all': async () => {
    const runtime = await runtimeOf()
    const app = express()
    app.all('/tools/mcp', runtime.nodeHandler)
    return listen(runtime, app, '/tools/mcp')
  },
  'Express, with app.use': async () => {
    const runtime = await runtimeOf()
    const app = express()
    app.use('/tools/mcp', runtime.nodeHandler)
    return listen(runtime, app, '/tools/mcp')
  },
  'Express, in a router, behind express.json()': async () => {
    const runtime = await runtimeOf()
    const app = express()
    app.use(express.json({ limit: '8mb' }))
    const router = express.Router()
    router.all('/mcp', runtime.nodeHandler)
    app.use('/tools', router)
    return listen(runtime, app, '/tools/mcp')
  },
  'Express, behind express.text()': async () => {
    const runtime = await runtimeOf()
    const app = express()
    app.use(express.text({ type: '*/*', limit: '8mb' }))
    app.all('/mcp', runtime.nodeHandler)
    return listen(runtime, app, '/mcp')
  },
  'Express, behind express.raw()': async () => {
    const runtime = await runtimeOf()
    const app = express()
    app.use(express.raw({ type: '*/*', limit: '8mb' }))
    app.all('/mcp', runtime.nodeHandler)
    return listen(runtime, app, '/mcp')
  },
  'Express, behind a middleware that waits': async () => {
    const runtime = await runtimeOf()
    const app = express()
    const wait: RequestHandler = (_request, _response, next) => void setTimeout(() => next(), 5)
    app.use(wait)
    app.all('/mcp', runtime.nodeHandler)
    return listen(runtime, app, '/mcp')
  },
  'Fastify, in a scope without parsers': async () => {
    const runtime = await runtimeOf()
    const app = fastify()
    await app.register(async (scope) => {
      scope.removeAllContentTypeParsers()
      scope.addContentTypeParser('*', (_request, _payload, done) => done(null))
      scope.all('/tools/mcp', (request, reply) => {
        reply.hijack()
        runtime.nodeHandler(request.raw, reply.raw)
      })
    })
    return fastifyMount(app, runtime, '/tools/mcp')
  },
  'Fastify, with its own parser, the body handed on': async () => {
    const runtime = await runtimeOf()
    const app = fastify({ bodyLimit: 8 * 1024 * 1024 })
    app.all('/mcp', (request, reply) => {
      reply.hijack()
      const handler = runtime.nodeHandler as (
        request: IncomingMessage,
        response: ServerResponse,
        body?: unknown,
      ) => void
      handler(request.raw, reply.raw, request.body)
    })
    return fastifyMount(app, runtime, '/mcp')
  },
  'Fastify, with its own parser, the body put where Express puts it': async () => {
    const runtime = await runtimeOf()
    const app = fastify({ bodyLimit: 8 * 1024 * 1024 })
    app.all('/mcp', (request, reply) => {
      reply.hijack()
      runtime.nodeHandler(Object.assign(request.raw, { body: request.body }), reply.raw)
    })
    return fastifyMount(app, runtime, '/mcp')
  },
}

async function fastifyMount(app: FastifyInstance, runtime: Mounted['runtime'], path: string): Promise<Mounted> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return mountedOn(app.server, runtime, path, () => app.close())
}

describe.each(Object.keys(MOUNTS))('%s', (name) => {
  let mounted: Mounted
  beforeAll(async () => {
    mounted = await MOUNTS[name]!()
  })
  afterAll(() => mounted.close())

  describe.each(KINDS.filter(({ name }) => /held to|as it comes|sdk 1/.test(name)))(
    'with the official $name',
    (kind) => {
      test('lists, calls and hears of progress', async () => {
        await using session = await kind.connect({ transport: 'http', url: mounted.url })
        const { tools } = await session.client.listTools()
        expect(tools.map((tool) => tool.name)).toEqual(['add', 'count', 'wait', 'length'])
        expect((await session.call('add', { a: 2, b: 40 })).structuredContent).toEqual({ sum: 42 })
        const heard: number[] = []
        const counted = await session.call('count', { to: 3 }, { onprogress: ({ progress }) => heard.push(progress) })
        expect(counted.content[0]?.text).toBe('counted to 3')
        expect(heard).toEqual([1, 2, 3])
        await session.end()
      })

      test('a call that is cancelled stops its handler', async () => {
        await using session = await kind.connect({ transport: 'http', url: mounted.url })
        const controller = new AbortController()
        const id = `${name} ${kind.name}`
        const called = session.call('wait', { id }, { signal: controller.signal })
        await vi.waitFor(() => expect(waiting).toContain(id))
        controller.abort()
        await expect(called).rejects.toThrow()
        await vi.waitFor(() => expect(aborted).toContain(id), { timeout: 5000 })
        await session.end()
      })
    },
  )

  test('a text of a megabyte comes through', async () => {
    const text = 'ä'.repeat(500_000)
    const response = await fetch(mounted.url, modern('tools/call', { name: 'length', arguments: { text } }))
    expect(await response.json()).toMatchObject({ result: { content: [{ text: '500000' }] } })
  })

  test('a 2025 session has its GET stream, and ends by DELETE', async () => {
    const opened = await fetch(mounted.url, legacy('initialize', INITIALIZE))
    await opened.text()
    const session = opened.headers.get('mcp-session-id')!
    await (await fetch(mounted.url, legacy('notifications/initialized', {}, session))).text()
    const controller = new AbortController()
    const headers = { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25', accept: 'text/event-stream' }
    const stream = await fetch(mounted.url, { headers, signal: controller.signal })
    expect([stream.status, stream.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
    const reader = stream.body!.getReader()
    const decoder = new TextDecoder()
    let text = ''
    const heard = (async () => {
      while (!text.includes('list_changed')) {
        const { value, done } = await reader.read()
        if (done) throw new Error(`The stream ended: ${text}`)
        text += decoder.decode(value, { stream: true })
      }
    })()
    mounted.runtime.notify.toolsChanged()
    await heard
    controller.abort()
    const ended = await fetch(mounted.url, { method: 'DELETE', headers })
    expect(ended.status).toBe(204)
    const after = await fetch(mounted.url, legacy('tools/list', {}, session))
    await after.text()
    expect(after.status).toBe(404)
  })

  test('what is refused, is refused in words, and the next request on the connection is served', async () => {
    const broken = await fetch(mounted.url, {
      ...modern('tools/list'),
      headers: { ...modern('tools/list').headers, 'mcp-method': 'x' },
    })
    expect(broken.status).toBe(400)
    expect(await broken.json()).toMatchObject({ error: { code: -32020, data: { code: 'header_mismatch' } } })
    const evil = await fetch(mounted.url, modern('tools/list', {}, { origin: 'https://evil.example' }))
    expect(evil.status).toBe(403)
    expect(await evil.json()).toMatchObject({ error: { data: { code: 'forbidden_origin' } } })
    const served = await fetch(mounted.url, modern('tools/list'))
    expect(served.status).toBe(200)
    await served.text()
  })

  test('a browser on an allowed origin is answered, preflight first', async () => {
    const origin = 'http://localhost:6274'
    const preflight = await fetch(mounted.url, {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type,mcp-method,mcp-protocol-version',
      },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-origin')).toBe(origin)
    expect(preflight.headers.get('access-control-allow-headers')).toBe('content-type, mcp-method, mcp-protocol-version')
    const answered = await fetch(mounted.url, modern('tools/list', {}, { origin }))
    expect(answered.headers.get('access-control-allow-origin')).toBe(origin)
    expect(answered.headers.get('access-control-expose-headers')).toContain('Mcp-Session-Id')
    await answered.text()
  })
})

describe('a body that something read before', () => {
  let mounted: Mounted
  afterAll(() => mounted.close())

  test('and left nowhere, is answered at once, with the remedy in the log and no hang', async () => {
    const runtime = await runtimeOf()
    const app = express()
    app.use((request, _response, next) => {
      request.resume()
      request.on('end', () => next())
    })
    app.all('/mcp', runtime.nodeHandler)
    mounted = await listen(runtime, app, '/mcp')
    const response = await fetch(mounted.url, modern('tools/list'))
    expect(response.status).toBe(500)
    expect(await response.json()).toMatchObject({
      error: { code: -32603, message: expect.stringMatching(/mount .*before .*parsers?.*third argument/is) },
    })
  })

  test.each([
    ['JSON that nests too deep', '['.repeat(100) + ']'.repeat(100), 'json_too_deep'],
    ['a body over the bound', JSON.stringify({ x: 'y'.repeat(3000) }), 'body_too_large'],
  ])('is held to the same bounds (%s)', async (_what, body, code) => {
    const runtime = await runtimeOf({ maxBodyBytes: 2000 })
    const app = express()
    app.use(express.json({ strict: false }))
    app.all('/mcp', runtime.nodeHandler)
    const here = await listen(runtime, app, '/mcp')
    const answer: unknown = await (await fetch(here.url, { ...modern('tools/list'), body })).json()
    await here.close()
    expect(answer).toMatchObject({ error: { data: { code } } })
  })
})

test('Fastify’s own hooks and routes go on beside it', async () => {
  const runtime = await runtimeOf()
  const app = fastify()
  const seen: string[] = []
  app.addHook('onRequest', async (request: FastifyRequest) => void seen.push(request.url))
  app.post('/echo', async (request) => request.body)
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null))
    scope.all('/mcp', (request, reply) => {
      reply.hijack()
      runtime.nodeHandler(request.raw, reply.raw)
    })
  })
  const mounted = await fastifyMount(app, runtime, '/mcp')
  const origin = new URL(mounted.url).origin
  const echoed = await fetch(`${origin}/echo`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"a":1}',
  })
  expect(await echoed.json()).toEqual({ a: 1 })
  await (await fetch(mounted.url, modern('tools/list'))).text()
  expect(seen).toEqual(['/echo', '/mcp'])
  await mounted.close()
})

test('HTTP/2 is served too, where a server of one’s own speaks it', async () => {
  const runtime = await runtimeOf()
  const server = createHttp2Server((request, response) =>
    runtime.nodeHandler(request as unknown as IncomingMessage, response as unknown as ServerResponse),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const { headers, body } = modern('tools/call', { name: 'count', arguments: { to: 2 }, _meta: { progressToken: 1 } })
  const stream = client.request({ ':method': 'POST', ':path': '/mcp', ...headers })
  stream.end(body)
  const [answered] = (await once(stream, 'response')) as [Record<string, unknown>]
  const text = Buffer.concat((await stream.toArray()) as Buffer[]).toString()
  client.close()
  server.close()
  await runtime.close()
  expect([answered[':status'], answered['content-type']]).toEqual([200, 'text/event-stream'])
  expect(text.match(/notifications\/progress/g)).toHaveLength(2)
  expect(text).toContain('counted to 2')
})

import { afterEach, describe, expect, it } from 'vitest'
import type { RuntimeOptions } from '../../src/index.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { internalsOf } from '../../src/compose/runtime.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { BASE_HEADERS, bodiless, legacy, modern, modernHeaders, post, type Json } from './support/messages.ts'
import { RawConnection } from './support/raw-connection.ts'
import { expectUnharmed, overHttp, type HttpTransport as Http } from './support/transports.ts'

const cleanUp: (() => Promise<void> | void)[] = []
/** Streams that must stay open: a response that nobody holds is collected, and its connection closed. */
const held: Response[] = []
const hold = (response: Response): Response => {
  held.push(response)
  return response
}
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
  held.length = 0
})
async function start(options: RuntimeOptions = {}): Promise<Http> {
  const http = await overHttp(options)
  cleanUp.push(() => http.runtime.close())
  return http
}
async function open(http: Http): Promise<RawConnection> {
  const connection = await RawConnection.open(http.port)
  cleanUp.push(() => connection.destroy())
  return connection
}
const call = (name: string, args: Json = {}, id: unknown = 1): Buffer => {
  const message = modern('tools/call', { name, arguments: args }, id)
  return post(JSON.stringify(message), modernHeaders(message))
}
const LISTEN = modern('subscriptions/listen', { notifications: { toolsListChanged: true } })
const listenTo = (http: Http, signal: AbortSignal): Promise<Response> =>
  fetch(http.url, {
    method: 'POST',
    headers: modernHeaders(LISTEN),
    body: JSON.stringify(LISTEN),
    signal,
  })
const errorOf = async (response: Response): Promise<Json> => ((await response.json()) as { error: Json }).error

/** A store whose next read can be held up: as slow as the network may be. */
class SlowStore extends MemoryStateStore {
  #held: { readonly asked: () => void; readonly answer: Promise<void> } | undefined
  constructor() {
    super(systemClock)
  }
  /** Resolves when the next read has come; the function lets it be answered. */
  holdNext(): [asked: Promise<void>, answer: () => void] {
    const asked = Promise.withResolvers<void>()
    const answer = Promise.withResolvers<void>()
    this.#held = { asked: asked.resolve, answer: answer.promise }
    return [asked.promise, answer.resolve]
  }
  override async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    const held = this.#held
    this.#held = undefined
    held?.asked()
    await held?.answer
    return super.getMany(keys)
  }
}

describe('a body that is refused early', () => {
  const huge = 8 * 1024 * 1024

  it('is answered although the client sends all of it before it reads', async () => {
    const http = await start()
    for (let round = 0; round < 20; round++) {
      const connection = await RawConnection.open(http.port)
      connection.write(post(Buffer.alloc(huge, 'x'), modernHeaders(LISTEN)))
      const { status, headers } = await connection.next()
      expect(status).toBe(413)
      expect(headers.get('connection')).toBe('close')
      await connection.closed()
      connection.destroy()
    }
    await expectUnharmed(http)
  })

  it('is answered to an ordinary client, not reset', async () => {
    const http = await start()
    for (let round = 0; round < 20; round++) {
      const response = await fetch(http.url, {
        method: 'POST',
        headers: modernHeaders(LISTEN),
        body: Buffer.alloc(huge, 'x'),
      })
      expect(response.status).toBe(413)
      expect(await errorOf(response)).toMatchObject({ code: -32600, data: { code: 'body_too_large' } })
    }
    await expectUnharmed(http)
  })
})

describe('requests in a row on one connection', () => {
  it('are answered in their order, the refused ones too', async () => {
    const http = await start()
    const connection = await open(http)
    connection.write(
      Buffer.concat([
        call('echo', { n: 1 }, 'first'),
        post('{', modernHeaders(LISTEN)),
        bodiless('GET', {}, '/livez'),
        call('add', { a: 1, b: 2 }, 'second'),
        post('x', { ...BASE_HEADERS, 'content-type': 'text/plain' }),
        call('chatty', {}, 'third'),
        call('add', { a: 2, b: 2 }, 'fourth'),
      ]),
    )
    const answers: [number, string][] = []
    for (let count = 0; count < 7; count++) {
      const { status, body } = await connection.next()
      answers.push([status, /"id":"(\w+)"|"code":"(\w+)"|ok/.exec(body)?.slice(1).find(Boolean) ?? body])
    }
    expect(answers).toEqual([
      [200, 'first'],
      [400, 'parse_error'],
      [200, 'ok\n'],
      [200, 'second'],
      [415, 'unsupported_media_type'],
      [200, 'third'],
      [200, 'fourth'],
    ])
  })

  it('end with the first that is rubbish: what was answered before it stays whole', async () => {
    const http = await start()
    const connection = await open(http)
    connection.write(call('add', { a: 1, b: 2 }))
    expect((await connection.next()).status).toBe(200)
    connection.write('rubbish\r\n\r\n')
    expect(await connection.next()).toMatchObject({ status: 400, body: expect.stringContaining('HTTP/1.1') })
    await connection.closed()
    await expectUnharmed(http)
  })

  it('end with rubbish behind an open stream, which is cut and not written into', async () => {
    const http = await start()
    const connection = await open(http)
    connection.write(post(JSON.stringify(LISTEN), modernHeaders(LISTEN)))
    await connection.saw('acknowledged')
    connection.write('rubbish\r\n\r\n')
    await connection.closed()
    expect(connection.unread.split('HTTP/1.1')).toHaveLength(2)
    await expectUnharmed(http)
  })
})

describe('open streams of one caller', () => {
  const opens = {
    'subscriptions/listen': listenTo,
    'GET of sessions': async (http: Http, signal: AbortSignal) => {
      // A session has one such stream; each caller may have many sessions.
      const initialize = legacy('initialize', { protocolVersion: '2025-11-25', capabilities: {} })
      const url = http.url
      const { headers } = await fetch(url, { method: 'POST', headers: BASE_HEADERS, body: JSON.stringify(initialize) })
      return fetch(url, {
        headers: { accept: 'text/event-stream', 'mcp-session-id': headers.get('mcp-session-id')! },
        signal,
      })
    },
  }

  it.each(Object.entries(opens))('by %s are limited, and their places are given back', async (_name, openStream) => {
    const http = await start({ maxStreamsPerPrincipal: 3, resumeTtlMs: 1 })
    const { kernel } = internalsOf(http.runtime)
    const clients = Array.from({ length: 3 }, () => new AbortController())
    cleanUp.push(() => clients.forEach((client) => client.abort()))
    for (const { signal } of clients) expect(hold(await openStream(http, signal)).status).toBe(200)

    const refused = await openStream(http, AbortSignal.timeout(5000))
    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toMatch(/^[1-9]\d*$/)
    expect(await errorOf(refused)).toMatchObject({
      code: 42900,
      data: { code: 'too_many_streams', retryable: true, retryAfterMs: expect.any(Number) },
    })
    await expectUnharmed(http)

    clients[0]!.abort()
    await expect.poll(() => kernel.openStreamCount, { timeout: 5000 }).toBe(2)
    clients[0] = new AbortController()
    expect(hold(await openStream(http, clients[0].signal)).status).toBe(200)
    expect((await openStream(http, AbortSignal.timeout(5000))).status).toBe(429)
  })

  it.each([
    ['a new stream', undefined],
    ['a stream to go on with', 'g.x.1.1'],
  ])('that leave while they are being opened (%s) take no place', async (_name, lastEventId) => {
    const state = new SlowStore()
    const http = await start({ maxStreamsPerPrincipal: 3, resumeTtlMs: 1, state })
    const { kernel } = internalsOf(http.runtime)
    const headers = {
      accept: 'text/event-stream',
      'mcp-session-id': await http.session('2025-11-25'),
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    }
    for (let round = 0; round < 5; round++) {
      const connection = await open(http)
      const [asked, answer] = state.holdNext()
      connection.write(bodiless('GET', headers))
      await asked
      connection.destroy()
      // The server hears of it from its socket, some turns later.
      await new Promise((resolve) => setTimeout(resolve, 20))
      answer()
    }
    await expect.poll(() => kernel.openStreamCount, { timeout: 5000 }).toBe(0)
    const client = new AbortController()
    cleanUp.push(() => client.abort())
    expect(hold(await listenTo(http, client.signal)).status).toBe(200)
  })

  it('that are refused, one after the other, take no place', async () => {
    const http = await start({ maxStreamsPerPrincipal: 2 })
    const bad = modern('subscriptions/listen', { notifications: { toolsListChanged: 'yes' } })
    const connection = await open(http)
    for (let round = 0; round < 10; round++) {
      connection.write(post(JSON.stringify(bad), modernHeaders(bad)))
      expect((await connection.next()).body).toContain('toolsListChanged')
    }
    const client = new AbortController()
    cleanUp.push(() => client.abort())
    expect(hold(await listenTo(http, client.signal)).status).toBe(200)
  })
})

describe('more requests at once than a node takes', () => {
  const holding = modern('tools/call', { name: 'hold', arguments: {} })
  const holdOn = async (http: Http, count: number): Promise<AbortController> => {
    const client = new AbortController()
    cleanUp.push(() => client.abort())
    for (let started = 0; started < count; started++)
      fetch(http.url, {
        method: 'POST',
        headers: modernHeaders(holding),
        body: JSON.stringify(holding),
        signal: client.signal,
      }).catch((error: unknown) => expect(error).toHaveProperty('name', 'AbortError'))
    await expect.poll(() => internalsOf(http.runtime).kernel.runningCount, { timeout: 5000 }).toBe(count)
    return client
  }

  it('wait, are refused with 503 and Retry-After after a while, and taken again once there is room', async () => {
    const http = await start({ maxConcurrentRequests: 3, maxQueueMs: 100 })
    const client = await holdOn(http, 3)
    const connection = await open(http)
    connection.write(call('add', { a: 1, b: 2 }))
    const { status, headers, body } = await connection.next()
    expect(status).toBe(503)
    expect(headers.get('retry-after')).toBe('1')
    const { retryAfterMs } = (JSON.parse(body) as { error: { data: { retryAfterMs: number } } }).error.data
    expect(retryAfterMs).toBeGreaterThanOrEqual(500)
    expect(retryAfterMs).toBeLessThanOrEqual(1000)
    expect(JSON.parse(body)).toEqual({
      jsonrpc: '2.0',
      id: 1,
      error: {
        code: 50300,
        message: 'The server is busy: the wait is longer than 100 ms.',
        data: { code: 'overloaded', retryable: true, retryAfterMs, requestId: expect.any(String) },
      },
    })
    client.abort()
    await expect.poll(() => internalsOf(http.runtime).kernel.runningCount, { timeout: 5000 }).toBe(0)
    connection.write(call('add', { a: 1, b: 2 }))
    expect((await connection.next()).status).toBe(200)
  })

  it('are refused one by one inside a batch, under 200', async () => {
    const http = await start({ maxConcurrentRequests: 2, maxQueueMs: 100 })
    const session = await http.session('2025-03-26')
    await holdOn(http, 2)
    const connection = await open(http)
    const add = (id: string): Json => legacy('tools/call', { name: 'add', arguments: { a: 1, b: 2 } }, id)
    const batch = [add('a'), { jsonrpc: '2.0', method: 'notifications/nope' }, add('b'), legacy('ping', {}, 'c')]
    connection.write(post(JSON.stringify(batch), { ...BASE_HEADERS, 'mcp-session-id': session }))
    const { status, body } = await connection.next()
    expect(status).toBe(200)
    expect(JSON.parse(body)).toMatchObject([
      { id: 'c', result: {} },
      { id: 'a', error: { code: 50300, data: { code: 'overloaded' } } },
      { id: 'b', error: { code: 50300, data: { code: 'overloaded' } } },
    ])
  })
})

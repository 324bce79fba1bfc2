import { getEventListeners, once } from 'node:events'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { defineDependency, ResponseError, type Dependency, type DependencyOptions } from '../../src/index.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { guardedFetch } from '../../src/resilience/fetch.ts'
import type { Guards } from '../../src/resilience/guards.ts'
import { outside } from './server.ts'
import { guardsAt, turn } from './support.ts'

const RETRY = { maxAttempts: 3, baseMs: 1, maxMs: 1 }
const api = <D = never>(options: Partial<DependencyOptions<D>> = {}): Dependency<D> =>
  defineDependency<D>({ name: 'api', retry: RETRY, ...options })

/** Guards in real time, and a `fetch` by them. */
function fetcher<D>(dependency: Dependency<D>): {
  guards: Guards
  get(input: string | URL | Request, init?: RequestInit, signal?: AbortSignal): Promise<Response>
} {
  const { guards } = guardsAt(undefined, { clock: systemClock, random: Math.random })
  return {
    guards,
    get: (input, init, signal) =>
      guardedFetch(guards.of(dependency), input, init, signal === undefined ? {} : { signal }),
  }
}

/** A server that answers with these statuses, one after the other, the last for ever; and what it was asked. */
function answering(...statuses: (number | 'reset')[]): {
  asked: { method: string; body: string }[]
  answer: (request: IncomingMessage, response: ServerResponse) => void
} {
  const asked: { method: string; body: string }[] = []
  return {
    asked,
    answer: (request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () => {
        const status = statuses[Math.min(asked.length, statuses.length - 1)]!
        asked.push({ method: request.method!, body })
        if (status === 'reset') request.socket.resetAndDestroy()
        else response.writeHead(status).end(`answer ${asked.length}`)
      })
    },
  }
}

describe('what a fetch repeats', () => {
  test.each([
    ['GET', 500, 3],
    ['HEAD', 502, 3],
    ['PUT', 503, 3],
    ['DELETE', 'reset', 3],
    ['POST', 500, 1],
    ['PATCH', 'reset', 1],
    ['POST', 429, 3],
    ['GET', 404, 1],
    ['GET', 501, 1],
  ] as const)('%s that is answered %s: %s attempts', async (method, status, attempts) => {
    const { asked, answer } = answering(status)
    await using server = await outside(answer)
    const { get } = fetcher(api({ breaker: false }))
    const outcome = await get(server.url, { method }).then(
      (response) => response.status,
      (error: Error) => (error.cause as NodeJS.ErrnoException).code,
    )
    expect(outcome).toBe(status === 'reset' ? 'ECONNRESET' : status)
    expect(asked).toHaveLength(attempts)
  })

  test('a POST with an idempotency key is repeated, with its body', async () => {
    const { asked, answer } = answering(500, 200)
    await using server = await outside(answer)
    const { get } = fetcher(api())
    const headers = { 'Idempotency-Key': 'k1' }
    const response = await get(server.url, { method: 'POST', headers, body: 'paid' })
    expect(await response.text()).toBe('answer 2')
    expect(asked).toEqual([
      { method: 'POST', body: 'paid' },
      { method: 'POST', body: 'paid' },
    ])
  })

  test('a body that is a stream is never sent twice, nor is that of a Request', async () => {
    const { asked, answer } = answering(503)
    await using server = await outside(answer)
    const { get } = fetcher(api({ idempotent: true, breaker: false }))
    const body = new Blob(['once']).stream()
    expect((await get(server.url, { method: 'PUT', body, duplex: 'half' })).status).toBe(503)
    expect((await get(new Request(server.url, { method: 'PUT', body: 'once' }))).status).toBe(503)
    expect(asked).toHaveLength(2)
  })

  test('nothing where nobody listens is repeated until somebody does', async () => {
    const { answer } = answering(200)
    const place = createTcpServer().listen(0, '127.0.0.1')
    await once(place, 'listening')
    const { port } = place.address() as AddressInfo
    await new Promise((resolve) => place.close(resolve))
    const { get } = fetcher(api({ breaker: false }))
    await expect(get(`http://127.0.0.1:${port}`, { method: 'POST', body: 'x' })).rejects.toMatchObject({
      cause: { code: 'ECONNREFUSED' },
    })
    await using server = await outside(answer)
    expect((await get(server.url)).status).toBe(200)
  })
})

test('an answer is what `fetch` would give: status, headers, url, redirects, json, clone', async () => {
  await using server = await outside((request, response) => {
    if (request.url === '/old') {
      response.writeHead(302, { location: '/new' }).end()
      return
    }
    response.writeHead(201, 'Made', { 'content-type': 'application/json', 'set-cookie': ['a=1', 'b=2'] })
    response.end('{"sum":42}')
  })
  const { get, guards } = fetcher(api())
  const guarded = await get(`${server.url}/old`)
  const bare = await fetch(`${server.url}/old`)
  expect([guarded.status, guarded.statusText, guarded.ok, guarded.url, guarded.redirected, guarded.type]).toEqual([
    bare.status,
    bare.statusText,
    bare.ok,
    bare.url,
    bare.redirected,
    bare.type,
  ])
  expect(guarded.headers.getSetCookie()).toEqual(['a=1', 'b=2'])
  expect(await guarded.clone().json()).toEqual({ sum: 42 })
  expect(await guarded.json()).toEqual({ sum: 42 })
  await bare.body?.cancel()
  expect(guards.list()).toMatchObject([{ running: 0 }])
})

test('a body can be read in pieces, into a buffer of the reader’s own, and not at all', async () => {
  await using server = await outside((_request, response) => {
    response.write('one')
    setImmediate(() => response.end('two'))
  })
  const { get, guards } = fetcher(api({ bulkhead: { maxConcurrent: 1, maxQueue: 0 } }))
  const pieces: string[] = []
  for await (const piece of (await get(server.url)).body!) pieces.push(Buffer.from(piece).toString())
  expect(pieces.join('')).toBe('onetwo')
  const reader = (await get(server.url)).body!.getReader({ mode: 'byob' })
  let text = ''
  for (;;) {
    const { done, value } = await reader.read(new Uint8Array(2))
    if (done) break
    text += Buffer.from(value).toString()
  }
  expect(text).toBe('onetwo')
  // Short answers are read ahead, so that an answer which nobody reads holds no place.
  const unread = await get(server.url)
  while (guards.list()[0]!.running > 0) await turn()
  expect(await unread.text()).toBe('onetwo')
})

test('bodies of answers that are not the last are let go, and their connections with them', async () => {
  let count = 0
  await using server = await outside((_request, response) => {
    // Too long to be read ahead.
    response.writeHead(++count < 3 ? 503 : 200)
    response.end(Buffer.alloc(count < 3 ? 1_000_000 : 5))
  })
  const { get, guards } = fetcher(api())
  expect((await (await get(server.url)).bytes()).length).toBe(5)
  expect(count).toBe(3)
  expect(guards.list()).toMatchObject([{ running: 0 }])
})

test('an answer that is not there in time ends the connection, and counts as a failure', async () => {
  let closed: Promise<unknown> | undefined
  await using server = await outside((request) => void (closed = once(request.socket, 'close')))
  const { get, guards } = fetcher(api({ timeoutMs: 300, retry: false, breaker: { consecutiveFailures: 1 } }))
  await expect(get(server.url)).rejects.toMatchObject({ code: 'dependency_timeout' })
  await closed
  expect(guards.list()).toMatchObject([{ breaker: 'open' }])
})

test('a stream may last longer than the time-out as long as its pieces come; one that stands still ends, and its connection too', async () => {
  let closed: Promise<unknown> | undefined
  await using server = await outside((request, response) => {
    closed = once(request.socket, 'close')
    let pieces = 0
    const timer = setInterval(() => {
      response.write(`${++pieces} `)
      if (pieces === 10) clearInterval(timer)
    }, 60)
  })
  const { get, guards } = fetcher(api({ timeoutMs: 500, retry: false, breaker: { consecutiveFailures: 1 } }))
  const begunMs = performance.now()
  const response = await get(server.url)
  let text = ''
  const read = async (): Promise<void> => {
    for await (const piece of response.body!) text += Buffer.from(piece).toString()
  }
  await expect(read()).rejects.toMatchObject({ code: 'dependency_timeout' })
  expect(text).toBe('1 2 3 4 5 6 7 8 9 10 ')
  expect(performance.now() - begunMs).toBeGreaterThan(600)
  await closed
  expect(guards.list()).toMatchObject([{ breaker: 'open', running: 0 }])
})

test('a body of which not even the first piece comes is ended in time', async () => {
  let closed: Promise<unknown> | undefined
  await using server = await outside((request, response) => {
    closed = once(request.socket, 'close')
    response.flushHeaders()
  })
  const { get, guards } = fetcher(api({ timeoutMs: 500, retry: false, breaker: { consecutiveFailures: 1 } }))
  const response = await get(server.url)
  await expect(response.text()).rejects.toMatchObject({ code: 'dependency_timeout' })
  await closed
  expect(guards.list()).toMatchObject([{ breaker: 'open', running: 0 }])
})

test('a reader that takes its time gives its place back, and is not cut', async () => {
  const length = 8_000_000
  await using server = await outside((_request, response) => response.end(Buffer.alloc(length)))
  const { get, guards } = fetcher(api({ timeoutMs: 500, retry: false, breaker: { consecutiveFailures: 1 } }))
  const reader = (await get(server.url)).body!.getReader()
  let read = (await reader.read()).value!.length
  expect(guards.list()).toMatchObject([{ running: 1 }])
  await systemClock.sleep(700)
  expect(guards.list()).toMatchObject([{ running: 0 }])
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) read += piece.value.length
  expect(read).toBe(length)
  expect(guards.list()).toMatchObject([{ breaker: 'closed', running: 0 }])
})

test('a body that breaks off counts as a failure of the dependency', async () => {
  await using server = await outside((request, response) => {
    response.writeHead(200, { 'content-length': '100' })
    response.write('half', () => setImmediate(() => request.socket.resetAndDestroy()))
  })
  const { get, guards } = fetcher(api({ retry: false, breaker: { consecutiveFailures: 1 } }))
  await expect(get(server.url).then((response) => response.text())).rejects.toThrow()
  expect(guards.list()).toMatchObject([{ breaker: 'open', running: 0 }])
})

test.each(['before its answer', 'while its body comes'])(
  'a caller that goes away %s closes the connection, and leaves no listener',
  async (when) => {
    const asked = Promise.withResolvers<void>()
    let closed: Promise<unknown> | undefined
    await using server = await outside((request, response) => {
      closed = once(request.socket, 'close')
      if (when !== 'before its answer') response.write('first')
      asked.resolve()
    })
    const { get, guards } = fetcher(api())
    const caller = new AbortController()
    const answer = get(server.url, {}, caller.signal)
    await asked.promise
    const text = when === 'before its answer' ? answer : answer.then((response) => response.text())
    if (when !== 'before its answer') await answer
    caller.abort(new Error('gone'))
    await expect(text).rejects.toThrow('gone')
    await closed
    expect(getEventListeners(caller.signal, 'abort')).toEqual([])
    expect(guards.list()).toMatchObject([{ breaker: 'closed', running: 0 }])
  },
)

test('the signal of `init` ends it too, as does that of a Request; listeners are gone when the body is read', async () => {
  await using server = await outside((request, response) => {
    if (request.url === '/slow') return
    response.end('fast')
  })
  const { get } = fetcher(api())
  const call = new AbortController()
  const own = new AbortController()
  const slow = get(`${server.url}/slow`, { signal: own.signal }, call.signal)
  own.abort(new Error('enough'))
  await expect(slow).rejects.toThrow('enough')
  const other = new AbortController()
  const request = get(new Request(`${server.url}/slow`, { signal: other.signal }), undefined, call.signal)
  other.abort(new Error('no more'))
  await expect(request).rejects.toThrow('no more')
  const fast = await get(`${server.url}/fast`, {}, call.signal)
  expect(await fast.text()).toBe('fast')
  expect(getEventListeners(call.signal, 'abort')).toEqual([])
})

test('a wait for a retry ends when the caller goes away', async () => {
  await using server = await outside((_request, response) => response.writeHead(429, { 'retry-after': '20' }).end())
  const { get, guards } = fetcher(api())
  const caller = new AbortController()
  const answer = get(server.url, {}, caller.signal)
  const refused = expect(answer).rejects.toThrow('gone')
  while (server.sockets.size === 0 || guards.list()[0]!.running > 0) await turn()
  caller.abort(new Error('gone'))
  await refused
  expect(getEventListeners(caller.signal, 'abort')).toEqual([])
})

test('`Retry-After` is kept to, and an answer whose wait would pass the deadline is given as it is', async () => {
  const times: number[] = []
  await using server = await outside((request, response) => {
    times.push(performance.now())
    const isLong = request.url === '/long'
    if (isLong || times.length === 1) response.writeHead(503, { 'retry-after': isLong ? '3600' : '1' }).end('busy')
    else response.end('ready')
  })
  const { get } = fetcher(api())
  const answer = await get(server.url, { method: 'POST', body: 'x' })
  expect(await answer.text()).toBe('ready')
  expect(times[1]! - times[0]!).toBeGreaterThanOrEqual(995)
  const busy = await get(`${server.url}/long`)
  expect([busy.status, await busy.text()]).toEqual([503, 'busy'])
})

test('a fallback stands in for an answer that is a failure, sees which, and must be a Response', async () => {
  const { answer } = answering(500)
  await using server = await outside(answer)
  const seen: unknown[] = []
  const { get } = fetcher(
    api({
      retry: false,
      breaker: false,
      fallback: (error) => {
        seen.push(error)
        return Response.json({ from: 'fallback' })
      },
    }),
  )
  expect(await (await get(server.url)).json()).toEqual({ from: 'fallback' })
  expect(seen[0]).toBeInstanceOf(ResponseError)
  expect(seen[0]).toMatchObject({ status: 500, message: 'api answered 500 Internal Server Error.' })
  const wrong = fetcher(api({ retry: false, fallback: () => 'text' }))
  await expect(wrong.get(server.url)).rejects.toMatchObject({ code: 'invalid_definition' })
})

test.each(['stands in for it', 'throws'])(
  'an answer that is too long to be read ahead is let go where a fallback %s',
  async (what) => {
    await using server = await outside((_request, response) => response.writeHead(500).end(Buffer.alloc(1_000_000)))
    const fallback = (): Response => {
      if (what === 'throws') throw new Error('nothing else to go on with')
      return Response.json([])
    }
    const { get, guards } = fetcher(api({ retry: false, fallback }))
    const answer = get(server.url)
    if (what === 'throws') await expect(answer).rejects.toThrow('nothing else')
    else expect(await (await answer).json()).toEqual([])
    expect(guards.list()).toMatchObject([{ running: 0 }])
  },
)

test('a fetch within a use of the same dependency is part of that use, and ends with it', async () => {
  let closed: Promise<unknown> | undefined
  await using server = await outside((request) => void (closed = once(request.socket, 'close')))
  const dependency = api({ timeoutMs: 300, retry: false, bulkhead: { maxConcurrent: 1, maxQueue: 0 } })
  const { get, guards } = fetcher(dependency)
  await expect(guards.use(dependency, () => get(server.url), {}, {})).rejects.toMatchObject({
    code: 'dependency_timeout',
  })
  await closed
})

test('calls of what is down fail within 5 ms', async () => {
  await using server = await outside(() => undefined)
  const { get, guards } = fetcher(api({ timeoutMs: 20, retry: false, breaker: { consecutiveFailures: 1 } }))
  await expect(get(server.url)).rejects.toMatchObject({ code: 'dependency_timeout' })
  expect(guards.list()).toMatchObject([{ breaker: 'open' }])
  const times: number[] = []
  for (let call = 0; call < 50; call++) {
    const begunMs = performance.now()
    await expect(get(server.url)).rejects.toMatchObject({ code: 'dependency_unavailable' })
    times.push(performance.now() - begunMs)
  }
  expect(times.toSorted((a, b) => a - b)[25]).toBeLessThan(5)
})

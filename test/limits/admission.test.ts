import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { internalsOf } from '../../src/compose/runtime.ts'
import { createRuntime, defineServer, defineTool, type Runtime, type RuntimeOptions } from '../../src/index.ts'
import { BASE_HEADERS, legacy, modern, modernHeaders, post as postBytes, type Json } from '../edges/support/messages.ts'
import { RawConnection } from '../edges/support/raw-connection.ts'
import { call, post, type Answered } from './call.ts'

/** Lets the calls of `wait` end, in the order in which they began. */
let running: { name: string; end: () => void }[]
let runtime: Runtime
let url: string
let port: number

const waitFor = (name: string): Promise<string> =>
  new Promise((resolve) => running.push({ name, end: () => resolve(name) }))
const server = defineServer({
  name: 'busy',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'wait',
      description: 'Waits until the test lets it end, whatever its signal says',
      input: { type: 'object', properties: { name: { type: 'string' } } },
      run: (args) => waitFor((args as { name?: string }).name ?? ''),
    }),
    defineTool({ name: 'two', description: 'The same, twice at once', concurrency: 2, run: () => waitFor('two') }),
    defineTool({ name: 'now', description: 'Returns at once', run: () => 'now' }),
  ],
})
async function start(options: RuntimeOptions): Promise<void> {
  runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent', ...options })
  ;({ url, port } = await runtime.listen({ port: 0 }))
}
beforeEach(() => {
  running = []
})
afterEach(async () => {
  const closed = runtime.close()
  const ending = setInterval(() => running.splice(0).forEach(({ end }) => end()), 5)
  await closed
  clearInterval(ending)
})

const admission = () => internalsOf(runtime).admission
const until = (state: { running: number; queued: number }): Promise<void> =>
  expect.poll(() => ({ running: admission().running, queued: admission().queued }), { timeout: 5000 }).toEqual(state)
const names = (): string[] => running.map(({ name }) => name)
const endFirst = (): void => running.shift()!.end()

describe('a node with all its slots taken', () => {
  test('lets a call wait, and serves it when a slot is given back', async () => {
    await start({ maxConcurrentRequests: 1 })
    const first = call(url, 'wait', { args: { name: 'first' } })
    await until({ running: 1, queued: 0 })
    const second = call(url, 'wait', { args: { name: 'second' } })
    await until({ running: 1, queued: 1 })
    expect(names()).toEqual(['first'])
    endFirst()
    expect((await first).message.result).toMatchObject({ content: [{ text: 'first' }] })
    await until({ running: 1, queued: 0 })
    endFirst()
    expect((await second).message.result).toMatchObject({ content: [{ text: 'second' }] })
    const { body } = await runtime.metrics()
    expect(body).toContain('holdfast_queue_wait_seconds_count 1')
  })

  test('sheds from the headers alone: the body is never asked for', async () => {
    await start({ maxConcurrentRequests: 1 })
    const calls = Array.from({ length: 9 }, () => call(url, 'wait'))
    await until({ running: 1, queued: 8 })
    const connection = await RawConnection.open(port)
    const message = modern('tools/call', { name: 'wait', arguments: {} })
    connection.write(postBytes('', { ...modernHeaders(message), 'content-length': '4000000' }))
    const { status, headers, body } = await connection.next()
    expect(status).toBe(503)
    expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
    expect(JSON.parse(body)).toEqual({
      jsonrpc: '2.0',
      error: {
        code: 50300,
        message: 'The server is busy: 1 requests run, and 8 wait.',
        data: {
          code: 'overloaded',
          retryable: true,
          retryAfterMs: expect.any(Number),
          requestId: expect.any(String),
        },
      },
    })
    connection.destroy()
    expect((await runtime.metrics()).body).toContain('holdfast_sheds_total{reason="queue_full"} 1')
    for (let served = 0; served < 9; served++) {
      await expect.poll(() => running.length).toBe(1)
      endFirst()
    }
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array.from({ length: 9 }, () => 200))
  })

  test('still answers what costs nothing or frees something', async () => {
    await start({ maxConcurrentRequests: 1, maxQueueMs: 60_000 })
    const opened = await post(url, legacy('initialize', INITIALIZE), { headers: BASE_HEADERS })
    const headers = { ...BASE_HEADERS, 'mcp-session-id': opened.headers['mcp-session-id']! }
    const held = post(url, legacy('tools/call', { name: 'wait', arguments: {} }, 'held'), { headers })
    await until({ running: 1, queued: 0 })
    const queued = post(url, legacy('tools/call', { name: 'wait', arguments: {} }, 'queued'), { headers })
    await until({ running: 1, queued: 1 })
    expect((await post(url, legacy('ping'), { headers })).message.result).toEqual({})
    expect((await post(url, legacy('tools/list'), { headers })).status).toBe(200)
    expect((await post(url, modern('server/discover'))).status).toBe(200)
    const answer = { jsonrpc: '2.0', id: 'a-question', result: {} }
    expect((await post(url, answer, { headers })).status).toBe(202)
    const cancelled = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'queued' } }
    expect((await post(url, cancelled, { headers })).status).toBe(202)
    await until({ running: 1, queued: 0 })
    endFirst()
    expect((await held).status).toBe(200)
    expect((await queued).message).toEqual({})
    expect(names()).toEqual([]) // the cancelled one never began
  })

  test.each(['2026', '2025'])('forgets a queued call of %s whose client goes away', async (era) => {
    await start({ maxConcurrentRequests: 1, maxQueueMs: 60_000 })
    const first = call(url, 'wait')
    await until({ running: 1, queued: 0 })
    const client = new AbortController()
    const { signal } = client
    let gone: Promise<Answered>
    if (era === '2026') gone = call(url, 'wait', { signal })
    else {
      const opened = await post(url, legacy('initialize', INITIALIZE), { headers: BASE_HEADERS })
      const headers = { ...BASE_HEADERS, 'mcp-session-id': opened.headers['mcp-session-id']! }
      gone = post(url, legacy('tools/call', { name: 'wait', arguments: {} }), { headers, signal })
    }
    await until({ running: 1, queued: 1 })
    client.abort()
    await expect(gone).rejects.toThrow('aborted')
    await until({ running: 1, queued: 0 })
    endFirst()
    expect((await first).status).toBe(200)
    await until({ running: 0, queued: 0 })
  })

  test('sheds who has waited for too long', async () => {
    await start({ maxConcurrentRequests: 1, maxQueueMs: 100 })
    const first = call(url, 'wait')
    await until({ running: 1, queued: 0 })
    const { status, message } = await call(url, 'wait')
    expect(status).toBe(503)
    expect(message.error).toMatchObject({ code: 50300, data: { code: 'overloaded', retryable: true } })
    endFirst()
    expect((await first).status).toBe(200)
    expect((await runtime.metrics()).body).toContain('holdfast_sheds_total{reason="wait_too_long"} 1')
  })

  test('counts a handler that ignores its abort until it returns', async () => {
    await start({ maxConcurrentRequests: 1, maxQueueMs: 50 })
    const client = new AbortController()
    const gone = call(url, 'wait', { signal: client.signal })
    await until({ running: 1, queued: 0 })
    client.abort()
    await expect(gone).rejects.toThrow('aborted')
    await expect.poll(() => internalsOf(runtime).kernel.runningCount).toBe(0)
    const { body } = await runtime.metrics()
    expect(body).toContain('holdfast_running_requests 1')
    expect(body).toContain('holdfast_abandoned_requests 1')
    expect((await call(url, 'wait')).status).toBe(503)
    endFirst()
    await until({ running: 0, queued: 0 })
    expect((await call(url, 'now')).status).toBe(200)
    expect((await runtime.metrics()).body).toContain('holdfast_abandoned_requests 0')
  })

  test('takes turns between callers: a greedy one does not shut out a polite one', async () => {
    await start({ maxConcurrentRequests: 1, maxQueueMs: 60_000 })
    const greedy = Array.from({ length: 12 }, () => call(url, 'wait', { args: { name: 'greedy' } }))
    await expect.poll(() => admission().queued).toBe(8) // the rest was shed
    const polite = call(url, 'wait', { from: '127.0.0.2', args: { name: 'polite' } })
    await until({ running: 1, queued: 9 })
    const order: string[] = []
    for (let served = 0; served < 10; served++) {
      await expect.poll(() => running.length).toBe(1)
      order.push(running[0]!.name)
      endFirst()
    }
    expect(order.indexOf('polite')).toBe(2) // after the one that ran, and one turn of the other's
    expect((await polite).status).toBe(200)
    expect((await Promise.all(greedy)).filter(({ status }) => status === 503)).toHaveLength(3)
  })
})

const INITIALIZE = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } }

describe('a tool with a concurrency of its own', () => {
  test('has its calls wait, and nobody else', async () => {
    await start({})
    const calls = Array.from({ length: 3 }, () => call(url, 'two'))
    await until({ running: 2, queued: 1 })
    const other = call(url, 'wait', { args: { name: 'other' } })
    await until({ running: 3, queued: 1 })
    expect((await call(url, 'now')).status).toBe(200)
    expect(names()).toEqual(['two', 'two', 'other'])
    endFirst()
    await expect.poll(names).toEqual(['two', 'other', 'two'])
    for (let index = 0; index < 3; index++) endFirst()
    expect((await Promise.all([...calls, other])).map(({ status }) => status)).toEqual([200, 200, 200, 200])
  })

  test('gives its slot back when a call that has one leaves the queue of the node', async () => {
    await start({ maxConcurrentRequests: 1, maxQueueMs: 60_000 })
    const first = call(url, 'wait')
    await until({ running: 1, queued: 0 })
    const client = new AbortController()
    const gone = [1, 2].map(() => call(url, 'two', { signal: client.signal }))
    await until({ running: 1, queued: 2 })
    client.abort()
    for (const one of gone) await expect(one).rejects.toThrow('aborted')
    await until({ running: 1, queued: 0 })
    endFirst()
    await first
    const again = call(url, 'two')
    await until({ running: 1, queued: 0 })
    endFirst()
    expect((await again).status).toBe(200)
  })

  test('is refused where it is no whole number', () => {
    for (const concurrency of [0, 1.5, '2' as never])
      expect(() => defineTool({ name: 'x', description: 'x', concurrency, run: () => '' })).toThrow(
        /`concurrency` is .* It must be a whole number, 1 or more\./,
      )
  })
})

describe('bodies that come slowly', () => {
  const head = (length: number): Buffer => {
    const message = modern('tools/call', { name: 'now', arguments: {} })
    return postBytes('', { ...modernHeaders(message), 'content-length': String(length) })
  }

  test('are bounded in their sum, and who holds the most goes first', async () => {
    await start({ maxPendingBodyBytes: 100_000 })
    const [greedy, second, third] = await Promise.all([1, 2, 3].map(() => RawConnection.open(port)))
    greedy!.write(Buffer.concat([head(90_000), Buffer.alloc(80_000, 'x')]))
    await expect.poll(() => admission().pending.bytes).toBeGreaterThan(80_000)
    second!.write(Buffer.concat([head(50_000), Buffer.alloc(30_000, 'x')]))
    const { status, headers, body } = await greedy!.next()
    expect([status, headers.get('connection')]).toEqual([503, 'close'])
    expect(JSON.parse(body)).toMatchObject({ error: { code: 50300, data: { code: 'overloaded', retryable: true } } })
    await expect.poll(() => admission().pending.bytes).toBeLessThan(40_000)
    expect((await call(url, 'now')).status).toBe(200)
    third!.destroy()
    second!.destroy()
    await expect.poll(() => admission().pending.bytes, { timeout: 3000 }).toBe(0)
    expect((await runtime.metrics()).body).toContain('holdfast_sheds_total{reason="pending_bytes"} 1')
    greedy!.destroy()
  })

  test('through fetch are bounded as well', async () => {
    await start({ maxPendingBodyBytes: 100_000 })
    const message = modern('tools/call', { name: 'now', arguments: {} })
    let feed!: ReadableStreamDefaultController<Uint8Array>
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (feed = controller) })
    const answer = runtime.fetch(
      new Request(url, { method: 'POST', headers: modernHeaders(message), body, duplex: 'half' } as RequestInit),
    )
    feed.enqueue(Buffer.alloc(60_000, 'x'))
    await expect.poll(() => admission().pending.bytes).toBeGreaterThan(60_000)
    feed.enqueue(Buffer.alloc(60_000, 'x'))
    expect((await answer).status).toBe(503)
    expect(admission().pending.bytes).toBe(0)
  })

  test('of single bytes count for what they cost', async () => {
    await start({ maxPendingBodyBytes: 10_000 })
    const connection = await RawConnection.open(port)
    connection.write(head(5000))
    const dripping = setInterval(() => connection.write('x'), 0)
    try {
      expect((await connection.next()).status).toBe(503)
    } finally {
      clearInterval(dripping)
      connection.destroy()
    }
  })

  test('of calls that wait in the queue count too', async () => {
    await start({ maxConcurrentRequests: 1, maxQueueMs: 60_000, maxPendingBodyBytes: 100_000 })
    const first = call(url, 'wait')
    await until({ running: 1, queued: 0 })
    const big: Json = { name: 'x'.repeat(60_000) }
    const queued = call(url, 'wait', { args: big })
    await until({ running: 1, queued: 1 })
    expect(admission().pending.bytes).toBeGreaterThan(60_000)
    const smaller = call(url, 'wait', { args: { name: 'x'.repeat(50_000) } })
    expect((await queued).message.error).toMatchObject({ data: { code: 'overloaded' } })
    await until({ running: 1, queued: 1 })
    endFirst()
    await first
    await until({ running: 1, queued: 0 })
    expect(admission().pending.bytes).toBe(0)
    endFirst()
    expect((await smaller).status).toBe(200)
  })
})

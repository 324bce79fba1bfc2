import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, describe, expect, test } from 'vitest'
import { runLoad } from '../../bench/lib/load/generator.ts'
import type { LoadJob } from '../../bench/lib/load/generator.ts'

interface Call {
  id: number
  method: string
  params: { arguments: { a: number; b: number } }
}

let server: Server | undefined

afterEach(async () => {
  server?.closeAllConnections()
  await new Promise((resolve) => server?.close(resolve))
  server = undefined
})

type Listener = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void

async function serve(listener: Listener): Promise<LoadJob> {
  server = createServer((request, response) => void listener(request, response)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    path: '/mcp',
    wire: { revision: '2026-07-28', mode: 'envelope' },
    operation: 'add',
    connections: 4,
    warmupMs: 20,
    durationMs: 100,
    listed: 0,
  }
}

async function callOf(request: IncomingMessage): Promise<Call> {
  return JSON.parse(await text(request)) as Call
}

function answer({ id, params: { arguments: operands } }: Call, off = 0): string {
  const sum = String(operands.a + operands.b + off)
  return JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: sum }] } })
}

describe('runLoad', () => {
  test('counts right answers and times them', async () => {
    const job = await serve(async (request, response) => {
      response.end(answer(await callOf(request)))
    })
    const result = await runLoad(job)
    expect(result).toMatchObject({ failures: 0, reconnects: 0 })
    expect(result.requests).toBeGreaterThan(0)
    expect(result.answered).toBeGreaterThanOrEqual(result.requests)
    expect(result.requestsPerSecond).toBeCloseTo(result.requests * 10)
    expect(result.p99Us).toBeGreaterThanOrEqual(result.p50Us)
  })

  test('counts wrong sums as failures and not as answers', async () => {
    const job = await serve(async (request, response) => {
      const call = await callOf(request)
      response.end(answer(call, call.id % 10 === 0 ? 1 : 0))
    })
    const result = await runLoad({ ...job, durationMs: 40 })
    expect(result.failures).toBeGreaterThan(0)
    expect(result.firstFailure).toMatch(/not the sum/)
    expect(result.answered).toBeGreaterThan(result.failures)
  })

  test('connects again where the server closes between two calls, and counts it', async () => {
    const job = await serve(async (request, response) => {
      response.writeHead(200, { connection: 'close' }).end(answer(await callOf(request)))
    })
    const result = await runLoad(job)
    expect(result.failures).toBe(0)
    expect(result.requests).toBeGreaterThan(0)
    expect(result.reconnects).toBeGreaterThan(0)
  })

  test('counts a connection that is cut before the answer as a failure', async () => {
    let calls = 0
    const job = await serve(async (request, response) => {
      const call = await callOf(request)
      calls += 1
      if (calls === 10) request.socket.destroy()
      else response.end(answer(call))
    })
    const result = await runLoad(job)
    expect(result.failures).toBe(1)
    expect(result.firstFailure).toMatch(/closed before the answer/)
  })

  test('opens a session of its own for each client, and calls under it', async () => {
    const opened = new Set<string>()
    const used = new Set<string>()
    const job = await serve(async (request, response) => {
      const call = await callOf(request)
      const sessionId = request.headers['mcp-session-id'] as string | undefined
      if (call.method === 'initialize') {
        opened.add(`session-${opened.size}`)
        response.setHeader('mcp-session-id', `session-${opened.size - 1}`).end('{}')
      } else if (call.method === 'notifications/initialized') response.writeHead(202).end()
      else {
        used.add(sessionId!)
        response.end(answer(call))
      }
    })
    const result = await runLoad({ ...job, wire: { revision: '2025-11-25', mode: 'session' } })
    expect(result.failures).toBe(0)
    expect(opened.size).toBe(4)
    expect(used).toEqual(opened)
  })

  test('gives up on a server that only errs', async () => {
    const job = await serve((request, response) => {
      request.resume()
      response.writeHead(500).end('no')
    })
    await expect(runLoad({ ...job, durationMs: 60_000 })).rejects.toThrow(
      /over 1000 wrong answers, the first: status 500: no/,
    )
  })

  test('says so when nobody listens', async () => {
    const job = await serve(() => undefined)
    await new Promise((resolve) => server!.close(resolve))
    await expect(runLoad(job)).rejects.toThrow(/ECONNREFUSED/)
  })
})

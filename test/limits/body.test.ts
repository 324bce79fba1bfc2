import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { createRuntime, defineServer, defineTool, type Runtime } from '../../src/index.ts'
import { generateKeys } from '../../src/kernel/key-ring.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { modern } from '../clients/raw.ts'

// Limits that a shared store is asked for: a small body is taken meanwhile.

let runtime: Runtime
let url: string
let calls: number
beforeEach(async () => {
  calls = 0
  const count = defineTool({ name: 'count', description: 'Counts', run: () => String(++calls) })
  runtime = await createRuntime(defineServer({ name: 'limited', version: '1.0.0', tools: [count] }), {
    dataDir: false,
    logLevel: 'silent',
    keys: generateKeys(),
    state: new MemoryStateStore(systemClock),
    bus: new MemoryEventBus(),
    limits: [{ per: 'principal', limit: 2, windowMs: 3_600_000 }],
    bodyTimeoutMs: 300,
  })
  ;({ url } = await runtime.listen({ port: 0 }))
})
afterEach(() => runtime.close())

const call = async (): Promise<number> => (await modern(url, 'tools/call', { name: 'count', arguments: {} })).status

/** Sends a head that declares a body, and no body; resolves to the first line of the answer. */
async function withoutBody(length: number): Promise<string> {
  const { port } = new URL(url)
  await using socket = connect(Number(port), '127.0.0.1')
  const head = [
    'POST /mcp HTTP/1.1',
    `Host: 127.0.0.1:${port}`,
    'Content-Type: application/json',
    'Accept: application/json, text/event-stream',
    'MCP-Protocol-Version: 2026-07-28',
    'Mcp-Method: tools/call',
    'Mcp-Name: count',
    `Content-Length: ${length}`,
  ]
  socket.write(`${head.join('\r\n')}\r\n\r\n`)
  const [chunk] = (await once(socket, 'data')) as [Buffer]
  return chunk.toString().split('\r\n', 1)[0]!
}

test('calls within the limit are served, the next one is refused and not run', async () => {
  expect([await call(), await call(), await call()]).toEqual([200, 200, 429])
  expect(calls).toBe(2)
})

test.each([100, 1_000_000])(
  'a request over the limit is refused although its body of %d bytes does not come',
  async (length) => {
    await call()
    await call()
    expect(await withoutBody(length)).toBe('HTTP/1.1 429 Too Many Requests')
  },
)

test('a request within the limit whose body does not come is refused for that, once', async () => {
  expect(await withoutBody(100)).toBe('HTTP/1.1 408 Request Timeout')
  expect(await call()).toBe(200)
})

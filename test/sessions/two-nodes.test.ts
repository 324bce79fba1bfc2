import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { createRuntime, defineResource, defineServer, defineTool } from '../../src/index.ts'
import { generateKeys } from '../../src/kernel/key-ring.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { Events, get, open, post, type Node } from './support.ts'

/** What the handler of `work` waits for, so that a test says when it goes on. */
let gate: PromiseWithResolvers<void>
let aborted: PromiseWithResolvers<void>

const work = defineTool({
  name: 'work',
  description: 'Reports progress, waits, reports again, and returns',
  async run(_args, { progress, signal }) {
    signal.addEventListener('abort', () => aborted.resolve())
    progress(1, 2)
    await gate.promise
    progress(2, 2)
    return 'done'
  },
})
const server = defineServer({
  name: 'two-nodes',
  version: '1.0.0',
  tools: [work],
  resources: [defineResource({ uri: 'note://one', name: 'one', read: () => 'text' })],
})

let clock: FakeClock
let one: Node
let two: Node
let close: (() => Promise<void>)[]

beforeEach(async () => {
  gate = Promise.withResolvers()
  aborted = Promise.withResolvers()
  clock = new FakeClock()
  const state = new MemoryStateStore(clock)
  const bus = new MemoryEventBus()
  const keys = generateKeys()
  close = []
  const start = async (): Promise<Node> => {
    const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent', keys, state, bus, clock })
    close.push(() => runtime.close())
    return { runtime, url: (await runtime.listen({ port: 0 })).url }
  }
  one = await start()
  two = await start()
})
afterEach(async () => {
  gate.resolve()
  // The clock stands still but for this: closing waits a little for streams to say their end.
  const ticking = setInterval(() => void clock.advance(100), 5)
  await Promise.all(close.map((end) => end()))
  clearInterval(ticking)
})

const ACCEPT = 'application/json, text/event-stream'
const call = { id: 7, method: 'tools/call', params: { name: 'work', _meta: { progressToken: 'p' } } }

describe('a 2025 session over two nodes', () => {
  test('is opened by one and served by the other, and ended for both', async () => {
    const session = await open(one)
    expect((await post(two, { id: 1, method: 'ping' }, session)).status).toBe(200)
    expect((await fetch(two.url, { method: 'DELETE', headers: { 'mcp-session-id': session } })).status).toBe(204)
    expect((await post(one, { id: 2, method: 'ping' }, session)).status).toBe(404)
  })

  test('a stream that broke on one node goes on at the other, without a gap or a repeat', async () => {
    const session = await open(one)
    const first = await new Events(await post(one, call, session)).until(1)
    await first.drop()
    const second = new Events(await get(two, session, first.lastId))
    gate.resolve()
    await second.end()
    expect(second.messages.map(({ method, id }) => method ?? id)).toEqual(['notifications/progress', 7])
    expect(second.messages[0]).toMatchObject({ params: { progress: 2 } })
    expect(second.messages[1]).toMatchObject({ result: { content: [{ text: 'done' }] } })
  })

  test('a stream whose call ended meanwhile is told to its end by any node, and then is over', async () => {
    const session = await open(one)
    const first = await new Events(await post(one, call, session)).until(1)
    await first.drop()
    gate.resolve()
    const second = await new Events(await get(two, session, first.lastId)).until(2)
    await second.end()
    expect((await get(one, session, second.lastId)).status).toBe(405)
    expect((await get(two, session, second.lastId)).status).toBe(405)
  })

  test('a call whose node is gone ends with an error that says to call again', async () => {
    const session = await open(one)
    const first = await new Events(await post(one, call, session)).until(1)
    const [node] = first.lastId.split('.').slice(1)
    await first.drop()
    // As if the node had been killed: its presence runs out, and nobody answers in its name.
    const gone = first.lastId.replace(node!, 'gonegone')
    const second = new Events(await get(two, session, gone))
    await second.end()
    expect(second.messages).toMatchObject([
      { id: 7, error: { code: -32603, data: { code: 'stream_interrupted', retryable: true } } },
    ])
  })

  test('a cancellation that arrives at the other node aborts the call', async () => {
    const session = await open(one)
    const events = await new Events(await post(one, call, session)).until(1)
    expect((await post(two, { method: 'notifications/cancelled', params: { requestId: 7 } }, session)).status).toBe(202)
    await aborted.promise
    await events.end()
    expect(events.messages).toHaveLength(1)
  })

  test('a change on one node reaches the stand-alone stream on the other, once', async () => {
    const session = await open(one)
    const stream = new Events(await get(two, session))
    await (await post(one, { id: 1, method: 'resources/subscribe', params: { uri: 'note://one' } }, session)).json()
    one.runtime.notify.resourceUpdated('note://one')
    one.runtime.notify.toolsChanged()
    await stream.until(2)
    expect(stream.messages.map(({ method }) => method)).toEqual([
      'notifications/resources/updated',
      'notifications/tools/list_changed',
    ])
    await stream.drop()
  })

  test('the newest stand-alone stream takes the place of the older, on whichever node', async () => {
    const session = await open(one)
    const older = new Events(await get(one, session))
    const newer = new Events(await get(two, session))
    await older.end()
    expect((await get(one, session, older.lastId)).status).toBe(405)
    two.runtime.notify.toolsChanged()
    await newer.until(1)
    await newer.drop()
  })

  test('a stand-alone stream whose node stops is taken up by the other, which tells its client to refetch', async () => {
    const session = await open(one)
    const stream = new Events(await get(one, session))
    const closed = one.runtime.close()
    const ticking = setInterval(() => void clock.advance(100), 5)
    await stream.end()
    await closed
    clearInterval(ticking)
    const again = await new Events(await get(two, session, stream.lastId)).until(2)
    expect(again.messages.map(({ method }) => method)).toEqual(
      ['tools', 'resources'].map((list) => `notifications/${list}/list_changed`),
    )
    await again.drop()
  })
})

describe('an idempotency key over two nodes', () => {
  const META = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
  }
  const keyed = (node: Node, key: string, args: object = {}): Promise<Response> =>
    fetch(node.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: ACCEPT,
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': 'work',
      },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: 'work', arguments: args, _meta: { ...META, 'dev.holdfast/idempotencyKey': key } },
      }),
    })

  test('a repeat on the other node waits for the first outcome, and gets it', async () => {
    const key = 'a-key-that-is-hard-to-guess'
    const first = keyed(one, key)
    const second = keyed(two, key)
    gate.resolve()
    expect(await (await first).json()).toMatchObject({ result: { content: [{ text: 'done' }] } })
    expect(await (await second).json()).toMatchObject({ result: { content: [{ text: 'done' }] } })
    const metrics = (await one.runtime.metrics()).body + (await two.runtime.metrics()).body
    expect(metrics).toContain('holdfast_idempotent_replays_total{kind="idempotency_key"} 1')
  })

  test('the same key with other arguments is refused, and a short key too', async () => {
    const key = 'another-key-that-is-hard-to-guess'
    gate.resolve()
    await (await keyed(one, key)).json()
    expect(await (await keyed(two, key, { other: 1 })).json()).toMatchObject({
      error: { code: -32602, data: { code: 'idempotency_key_reused' } },
    })
    expect(await (await keyed(two, 'short')).json()).toMatchObject({
      error: { code: -32602, data: { code: 'invalid_params' } },
    })
  })
})

import { afterEach, describe, expect, test } from 'vitest'
import { createApiKey } from '../../src/auth/api-keys.ts'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { createRuntime, defineResource, defineServer, defineTool, type RuntimeOptions } from '../../src/index.ts'
import { generateKeys } from '../../src/kernel/key-ring.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { sharedServer } from '../servers/shared.ts'
import { Events, get, open, post, type Node } from './support.ts'

const server = defineServer({
  name: 'shared-store',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'count',
      description: 'Reports progress from 1 to `to`',
      input: { type: 'object', properties: { to: { type: 'number' } } },
      async run(args, { progress }) {
        const { to } = args as { to: number }
        for (let step = 1; step <= to; step++) {
          progress(step, to)
          if (step % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5))
        }
        return 'counted'
      },
    }),
  ],
  resources: [defineResource({ uriTemplate: 'note://{name}', name: 'note', read: () => 'text' })],
})

const redis = await sharedServer('redis')
let runs = 0
/** What nodes share: each call makes the options of all the nodes of one test. */
const BACKENDS: Record<string, () => RuntimeOptions> = {
  memory: () => ({ state: new MemoryStateStore(systemClock), bus: new MemoryEventBus() }),
  redis: () => ({ state: `${redis.url}?prefix=shared-store-${process.pid}-${++runs}:` }),
}

const nodes: Node[] = []
afterEach(async () => {
  await Promise.all(nodes.splice(0).map(({ runtime }) => runtime.close()))
})
async function start(options: RuntimeOptions): Promise<Node> {
  const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent', ...options })
  const { url } = await runtime.listen({ port: 0 })
  const node = { runtime, url }
  nodes.push(node)
  return node
}
const threeNodes = async (options: RuntimeOptions): Promise<[Node, Node, Node]> => {
  const shared = { keys: generateKeys(), ...options }
  return [await start(shared), await start(shared), await start(shared)]
}
const count = (id: number, to: number): object => ({
  id,
  method: 'tools/call',
  params: { name: 'count', arguments: { to }, _meta: { progressToken: id } },
})
const statusOf = async (answer: Promise<Response>): Promise<number> => {
  const response = await answer
  await response.body?.cancel()
  return response.status
}

describe.each(Object.keys(BACKENDS))('sessions of three nodes on %s', (backend) => {
  const shared = (): RuntimeOptions => BACKENDS[backend]!()

  test('streams of calls that break again and again are gone on with on any node, without a gap or a repeat', async () => {
    const all = await threeNodes(shared())
    const session = await open(all[0])
    const follow = async (id: number): Promise<void> => {
      const seen: number[] = []
      let events = new Events(await post(all[id % 3]!, count(id, 200), session))
      for (let hop = 1; ; hop++) {
        const wanted = 1 + ((id * 7 + hop * 13) % 30)
        await events.untilOrEnd(wanted)
        seen.push(...events.messages.flatMap(({ params }) => (params === undefined ? [] : [params.progress!])))
        const result = events.messages.find((message) => message.result !== undefined)
        if (result !== undefined) {
          expect(result).toMatchObject({ id, result: { content: [{ text: 'counted' }] } })
          break
        }
        await events.drop()
        events = new Events(await get(all[(id + hop) % 3]!, session, events.lastId))
      }
      await events.drop()
      expect(seen).toEqual(Array.from({ length: 200 }, (_, index) => index + 1))
    }
    await Promise.all(Array.from({ length: 8 }, (_, index) => follow(index + 1)))
  })

  test('a stand-alone stream that moves from node to node under load misses nothing, and repeats no event', async () => {
    const all = await threeNodes(shared())
    const session = await open(all[0])
    const uris = Array.from({ length: 60 }, (_, index) => `note://${index}`)
    let events = new Events(await get(all[0], session))
    for (const uri of uris)
      expect(await statusOf(post(all[1], { id: 1, method: 'resources/subscribe', params: { uri } }, session))).toBe(200)
    const told = new Set<string>()
    const ids: string[] = []
    let lastId = events.lastId
    for (const [index, uri] of uris.entries()) {
      all[index % 3]!.runtime.notify.resourceUpdated(uri)
      if (index % 10 !== 9) continue
      // While changes are under way, the client goes elsewhere.
      await events.until(1)
      await events.drop()
      for (const change of events.changes) told.add(change)
      ids.push(...events.ids)
      lastId = events.lastId === '' ? lastId : events.lastId
      events = new Events(await get(all[((index / 10) % 3) | 0]!, session, lastId))
    }
    const deadline = performance.now() + 10_000
    while (!uris.every((uri) => told.has(uri) || events.changes.includes(uri))) {
      expect(
        performance.now(),
        `missed ${uris.filter((uri) => !told.has(uri) && !events.changes.includes(uri)).join()}`,
      ).toBeLessThan(deadline)
      await events.until(events.messages.length + 1)
    }
    await events.drop()
    ids.push(...events.ids)
    expect(new Set(ids).size).toBe(ids.length)
  })

  test('of what a client missed, the newest thousand messages are kept, the answer among them', async () => {
    const [one, two] = await threeNodes(shared())
    const session = await open(one)
    const first = new Events(await post(one, count(1, 1500), session))
    const { lastId } = await first.until(1)
    await first.drop()
    const id = lastId.slice(0, lastId.lastIndexOf('.'))
    // Only once the call is over: until then the log still grows.
    let events = new Events(await get(two, session, lastId))
    await events.end()
    events = new Events(await get(two, session, `${id}.0`))
    await events.end()
    expect(events.messages).toHaveLength(1000)
    expect(events.messages.at(-1)).toMatchObject({ id: 1, result: { content: [{ text: 'counted' }] } })
    expect(events.messages[0]!.params!.progress).toBe(1500 - 999 + 1)
  })

  test('a session that was ended is unknown to every node, and its stream ends', async () => {
    const all = await threeNodes(shared())
    const session = await open(all[0])
    const stream = new Events(await get(all[1], session))
    const ended = fetch(all[2].url, { method: 'DELETE', headers: { 'mcp-session-id': session } })
    expect(await statusOf(ended)).toBe(204)
    await stream.end()
    for (const node of all) {
      expect(await statusOf(post(node, { id: 1, method: 'ping' }, session))).toBe(404)
      expect(await statusOf(post(node, { method: 'notifications/initialized' }, session))).toBe(404)
      expect(await statusOf(get(node, session))).toBe(404)
      expect(await statusOf(get(node, session, stream.lastId))).toBe(404)
      expect(await statusOf(fetch(node.url, { method: 'DELETE', headers: { 'mcp-session-id': session } }))).toBe(404)
    }
  })

  test('rotating the keys strands nobody, with old and new nodes side by side', async () => {
    const options = shared()
    const [before, after] = ['before', 'after'].map((id) => generateKeys().replace(/^\w+/, id)) as [string, string]
    const rings = [before, `${before},${after}`, `${after},${before}`]
    // As a deploy goes: first all know the new key, then all seal with it.
    for (const [first, second] of [
      [rings[0]!, rings[1]!],
      [rings[1]!, rings[2]!],
    ] as const) {
      const one = await start({ ...options, keys: first })
      const two = await start({ ...options, keys: second })
      for (const [opener, other] of [
        [one, two],
        [two, one],
      ] as const) {
        const session = await open(opener)
        for (const node of [opener, other])
          expect(await statusOf(post(node, { id: 1, method: 'ping' }, session))).toBe(200)
        const stream = new Events(await get(other, session))
        opener.runtime.notify.toolsChanged()
        expect((await stream.until(1)).changes).toEqual(['tools'])
        await stream.drop()
      }
    }
    // Once the old key is gone, its sessions are unknown, and clients begin anew.
    const last = await start({ ...options, keys: after })
    const old = await open(nodes[0]!)
    expect(await statusOf(post(last, { id: 1, method: 'ping' }, old))).toBe(404)
  })

  test("another principal's session id reads like one that was never given", async () => {
    const [mine, theirs] = [createApiKey({ subject: 'me' }), createApiKey({ subject: 'them' })]
    const all = await threeNodes({ ...shared(), auth: { apiKeys: [mine.entry, theirs.entry] } })
    const [me, them] = [{ 'x-api-key': mine.key }, { 'x-api-key': theirs.key }]
    const session = await open(all[0], me)
    const made = `${session.slice(0, -4)}AAAA`
    const refusal = async (answer: Promise<Response>): Promise<object> => {
      const response = await answer
      const { error } = (await response.json()) as { error: { message: string; data: { requestId: string } } }
      return { status: response.status, ...error, data: { ...error.data, requestId: '' } }
    }
    for (const node of all) {
      expect(await statusOf(post(node, { id: 1, method: 'ping' }, session, me))).toBe(200)
      const ask = { id: 1, method: 'tools/list' }
      const unknown = await refusal(post(node, ask, made, them))
      expect(unknown).toMatchObject({ status: 404, data: { code: 'session_not_found' } })
      expect(await refusal(post(node, ask, session, them))).toEqual(unknown)
      expect(await refusal(get(node, session, undefined, them))).toEqual(unknown)
      const ending = fetch(node.url, { method: 'DELETE', headers: { 'mcp-session-id': session, ...them } })
      expect(await refusal(ending)).toEqual(unknown)
    }
    expect(await statusOf(post(all[2], { id: 1, method: 'ping' }, session, me))).toBe(200)
  })
})

test('the log of a stream on Redis goes by itself', async () => {
  const prefix = `shared-store-${process.pid}-ttl:`
  const options = { state: `${redis.url}?prefix=${prefix}`, keys: generateKeys(), resumeTtlMs: 1000 }
  const [one, two] = [await start(options), await start(options)]
  const session = await open(one)
  const events = new Events(await post(one, count(1, 5), session))
  await events.end()
  const id = events.lastId.slice(0, events.lastId.lastIndexOf('.'))
  const again = new Events(await get(two, session, `${id}.0`))
  expect((await again.end()).messages).toHaveLength(6)
  await new Promise((resolve) => setTimeout(resolve, 1500))
  const { messages } = await new Events(await get(two, session, `${id}.0`)).end()
  expect(messages).toMatchObject([{ error: { data: { code: 'stream_interrupted', retryable: true } } }])
})

import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import {
  createRuntime,
  definePrompt,
  defineResource,
  defineServer,
  defineTool,
  type RuntimeOptions,
} from '../../src/index.ts'
import { generateKeys } from '../../src/kernel/key-ring.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { sharedServer } from '../servers/shared.ts'
import { Events, get, listen, open, post, type Node } from './support.ts'

const server = defineServer({
  name: 'three-nodes',
  version: '1.0.0',
  tools: [defineTool({ name: 'nothing', description: 'Does nothing', run: () => '' })],
  prompts: [definePrompt({ name: 'nothing', get: () => '' })],
  resources: [defineResource({ uriTemplate: 'note://{name}', name: 'note', read: () => 'text' })],
})
const EVERYTHING = {
  toolsListChanged: true,
  promptsListChanged: true,
  resourcesListChanged: true,
  resourceSubscriptions: ['note://a', 'note://b'],
}

const redis = await sharedServer('redis')
let runs = 0
/** What nodes share: each call makes the options of all the nodes of one test. */
const BACKENDS: Record<string, () => RuntimeOptions> = {
  memory: () => ({ state: new MemoryStateStore(systemClock), bus: new MemoryEventBus() }),
  redis: () => ({ state: `${redis.url}?prefix=fan-out-${process.pid}-${++runs}:` }),
}

let nodes: Node[]
let streams: Events[]
async function start(options: RuntimeOptions): Promise<Node> {
  const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent', ...options })
  const { url } = await runtime.listen({ port: 0 })
  return { runtime, url }
}
const follow = (response: Response): Events => {
  const events = new Events(response)
  streams.push(events)
  return events
}
/** A 2025 session with a GET stream on one node that follows both notes, asked for at another. */
async function legacyStream(at: Node, askedAt: Node): Promise<Events> {
  const session = await open(askedAt)
  const events = follow(await get(at, session))
  for (const uri of ['note://a', 'note://b'])
    expect((await post(askedAt, { id: 1, method: 'resources/subscribe', params: { uri } }, session)).status).toBe(200)
  return events
}
/** A 2025 client on standard input and output of a node; the lines that it gets after its handshake. */
async function stdioClient(runtime: Node['runtime']): Promise<{ lines: string[]; end(): Promise<void> }> {
  const input = new PassThrough()
  const output = new PassThrough()
  const served = runtime.serveStdio({ input, output })
  const lines: string[] = []
  output.on('data', (chunk: Buffer) => lines.push(...chunk.toString().trimEnd().split('\n')))
  const send = (message: object): boolean => input.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
  send({ id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {} } })
  for (const uri of ['note://a', 'note://b']) send({ id: uri, method: 'resources/subscribe', params: { uri } })
  await expect.poll(() => lines.length).toBe(3)
  lines.length = 0
  return {
    lines,
    async end() {
      input.end()
      await served
    },
  }
}

describe.each(Object.keys(BACKENDS))('changes on three nodes over %s', (backend) => {
  beforeEach(async () => {
    streams = []
    const options = { ...BACKENDS[backend]!(), keys: generateKeys() }
    nodes = await Promise.all([start(options), start(options), start(options)])
  })
  afterEach(async () => {
    await Promise.all(streams.map((events) => events.drop()))
    await Promise.all(nodes.map(({ runtime }) => runtime.close()))
  })

  test('made on any node, reach each stream of every kind on all nodes once, in order', async () => {
    const [one, two, three] = nodes as [Node, Node, Node]
    const modern = await Promise.all(nodes.map(async (node) => follow(await listen(node, EVERYTHING)).until(1)))
    const legacy = await Promise.all([legacyStream(one, two), legacyStream(two, three), legacyStream(three, three)])
    const stdio = await stdioClient(two.runtime)
    const expected: string[] = []
    for (let round = 0; round < 10; round++)
      // One publisher at a time: only then is there one order.
      for (const { runtime } of nodes) {
        runtime.notify.toolsChanged()
        runtime.notify.resourceUpdated('note://a')
        runtime.notify.resourceUpdated('note://nobody')
        runtime.notify.promptsChanged()
        runtime.notify.resourceUpdated('note://b')
        runtime.notify.resourcesChanged()
        expected.push('tools', 'note://a', 'prompts', 'note://b', 'resources')
        for (const events of legacy) await events.until(expected.length)
      }
    for (const events of modern) {
      await events.until(1 + expected.length)
      expect(events.changes.slice(1)).toEqual(expected)
    }
    for (const events of legacy) expect(events.changes).toEqual(expected)
    await expect.poll(() => stdio.lines.length).toBe(expected.length)
    const methods = stdio.lines.map((line) => JSON.parse(line) as { method: string; params?: { uri: string } })
    expect(methods.map(({ method, params }) => params?.uri ?? method.split('/')[1])).toEqual(expected)
    await stdio.end()
  })

  test('from all nodes at once reach each stream once, and those of one node in its order', async () => {
    const events = await follow(await listen(nodes[0]!, { resourceSubscriptions: urisOf() })).until(1)
    for (let index = 0; index < 30; index++)
      nodes.forEach(({ runtime }, node) => runtime.notify.resourceUpdated(`note://${node}-${index}`))
    await events.until(1 + 90)
    for (const node of [0, 1, 2])
      expect(events.changes.filter((uri) => uri.startsWith(`note://${node}-`))).toEqual(
        Array.from({ length: 30 }, (_, index) => `note://${node}-${index}`),
      )
  })

  test('of what a session no longer follows are not told, and of what it follows anew they are', async () => {
    const [one, two] = nodes as [Node, Node]
    const session = await open(one)
    const events = follow(await get(two, session))
    const ask = async (method: string, uri: string): Promise<void> =>
      expect((await post(one, { id: 1, method, params: { uri } }, session)).status).toBe(200)
    await ask('resources/subscribe', 'note://a')
    one.runtime.notify.resourceUpdated('note://a')
    await events.until(1)
    await ask('resources/unsubscribe', 'note://a')
    await ask('resources/subscribe', 'note://b')
    one.runtime.notify.resourceUpdated('note://a')
    one.runtime.notify.resourceUpdated('note://b')
    one.runtime.notify.toolsChanged()
    await events.until(3)
    expect(events.changes).toEqual(['note://a', 'note://b', 'tools'])
  })

  test('go on to the same stream at another node, once, although its first node still lives', async () => {
    const [one, two, three] = nodes as [Node, Node, Node]
    const session = await open(one)
    const first = follow(await get(one, session))
    three.runtime.notify.toolsChanged()
    await first.until(1)
    await first.drop()
    three.runtime.notify.promptsChanged() // while nobody is connected
    const second = follow(await get(two, session, first.lastId))
    await second.until(4) // what was missed, and, since a node took over: all lists
    expect(second.changes.slice(0, 4).toSorted()).toEqual(['prompts', 'prompts', 'resources', 'tools'])
    for (let index = 0; index < 5; index++) {
      three.runtime.notify.toolsChanged()
      three.runtime.notify.resourcesChanged()
    }
    await second.until(14)
    expect(second.changes.slice(4)).toEqual(Array.from({ length: 5 }, () => ['tools', 'resources']).flat())
  })
})

const urisOf = (): string[] =>
  [0, 1, 2].flatMap((node) => Array.from({ length: 30 }, (_, index) => `note://${node}-${index}`))

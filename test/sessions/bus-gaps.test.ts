import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { createRuntime, definePrompt, defineResource, defineServer, defineTool } from '../../src/index.ts'
import { generateKeys } from '../../src/kernel/key-ring.ts'
import { startRedis } from '../servers/redis.ts'
import { needs } from '../servers/shared.ts'
import { startToxiproxy } from '../servers/toxiproxy.ts'
import { Events, get, listen, open, post, type Node } from './support.ts'

await needs('redis', 'toxiproxy')

const server = defineServer({
  name: 'gaps',
  version: '1.0.0',
  tools: [defineTool({ name: 'nothing', description: 'Does nothing', run: () => '' })],
  prompts: [definePrompt({ name: 'nothing', get: () => '' })],
  resources: [defineResource({ uriTemplate: 'note://{name}', name: 'note', read: () => 'text' })],
})
const FOLLOWED = ['note://a', 'note://b']
const ALL = [...FOLLOWED, 'prompts', 'resources', 'tools']

let redis: Awaited<ReturnType<typeof startRedis>>
let toxiproxy: Awaited<ReturnType<typeof startToxiproxy>>
let link: Awaited<ReturnType<typeof toxiproxy.proxy>>
beforeAll(async () => {
  redis = await startRedis()
  toxiproxy = await startToxiproxy()
  link = await toxiproxy.proxy('redis', { host: redis.host, port: redis.port })
})
afterAll(async () => {
  await toxiproxy[Symbol.asyncDispose]()
  await redis[Symbol.asyncDispose]()
})

/** Near the store; and behind a link that breaks. */
let near: Node
let far: Node
let streams: Events[]
beforeEach(async () => {
  streams = []
  const keys = generateKeys()
  const start = async (port: number): Promise<Node> => {
    const state = `redis://127.0.0.1:${port}`
    const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent', keys, state })
    return { runtime, url: (await runtime.listen({ port: 0 })).url }
  }
  near = await start(redis.port)
  far = await start(link.port)
})
afterEach(async () => {
  await link.enable()
  await Promise.all(streams.map((events) => events.drop()))
  await Promise.all([near, far].map(({ runtime }) => runtime.close()))
})

/** A stream of each era at a node, that follows everything. */
async function followAt(node: Node): Promise<Events[]> {
  const lists = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true }
  const modern = await new Events(await listen(node, { ...lists, resourceSubscriptions: FOLLOWED })).until(1)
  modern.messages.length = 0
  const session = await open(node)
  const legacy = new Events(await get(node, session))
  for (const uri of FOLLOWED)
    await (await post(node, { id: 1, method: 'resources/subscribe', params: { uri } }, session)).json()
  streams.push(modern, legacy)
  return [modern, legacy]
}

test('a node that lost the bus tells its clients to fetch again all that they follow, once it is back', async () => {
  const followers = await followAt(far)
  await link.disable()
  near.runtime.notify.toolsChanged()
  near.runtime.notify.resourceUpdated('note://a')
  await link.enable()
  for (const events of followers) {
    await events.until(5)
    expect([...new Set(events.changes)].toSorted()).toEqual(ALL)
  }
})

test('what a node could not publish is told to the clients of other nodes, once it is back', async () => {
  const followers = await followAt(near)
  await link.disable()
  far.runtime.notify.toolsChanged()
  far.runtime.notify.resourceUpdated('note://b')
  await link.enable()
  for (const events of followers) {
    // The lists share a channel: whoever missed one may have missed the others.
    await events.until(4)
    expect(events.changes.toSorted()).toEqual(['note://b', 'prompts', 'resources', 'tools'])
  }
})

test('a session that subscribes while the bus is away is told of changes once it is back', async () => {
  const session = await open(near)
  const events = new Events(await get(far, session))
  streams.push(events)
  await link.disable()
  await (await post(near, { id: 1, method: 'resources/subscribe', params: { uri: 'note://a' } }, session)).json()
  await link.enable()
  await expect
    .poll(
      async () => {
        near.runtime.notify.resourceUpdated('note://a')
        await Promise.race([events.until(4), new Promise((resolve) => setTimeout(resolve, 50))])
        return events.changes.includes('note://a')
      },
      { timeout: 10_000, interval: 100 },
    )
    .toBe(true)
})

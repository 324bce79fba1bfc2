import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openThrowaway, type Throwaway } from '../../src/backends/postgres/open.ts'
import { clusterEnv, startNode, type ClusterNode } from '../cluster/nodes.ts'
import { sharedServer } from '../servers/shared.ts'
import { Events, get, post } from '../sessions/support.ts'
import { overHttp, TasksClient } from '../support/tasks-client.ts'
import { overHttp as wireOverHttp } from './wires.ts'

// Real processes on Postgres and Redis: three nodes that serve, and one that works. None of them is asked to stop.

const redis = await sharedServer('redis')
const postgres = await sharedServer('postgres')
const definition = join(import.meta.dirname, 'long-tools.ts')

let schema: Throwaway
let nodes: ClusterNode[]
let worker: ClusterNode
beforeAll(async () => {
  schema = await openThrowaway(postgres.url, `wire_${process.pid}`)
  const env = clusterEnv({
    HOLDFAST_STATE_URL: `${redis.url}?prefix=wire-${process.pid}:`,
    HOLDFAST_TASKS_URL: schema.url,
  })
  const start = (role: string): Promise<ClusterNode> => startNode({ definition, env: { ...env, TEST_ROLE: role } })
  ;[worker, ...nodes] = (await Promise.all([start('worker'), start('node'), start('node'), start('node')])) as [
    ClusterNode,
    ...ClusterNode[],
  ]
}, 60_000)
afterAll(async () => {
  await Promise.all([worker, ...(nodes ?? [])].map((node) => node?.[Symbol.asyncDispose]()))
  await schema?.[Symbol.asyncDispose]()
}, 30_000)

async function open(node: ClusterNode): Promise<string> {
  const params = {
    protocolVersion: '2025-11-25',
    capabilities: { elicitation: {} },
    clientInfo: { name: 'test', version: '1' },
  }
  const response = await post(node, { id: 0, method: 'initialize', params })
  await response.arrayBuffer()
  return response.headers.get('mcp-session-id')!
}
const call = (name: string, args: object): object => ({
  id: 7,
  method: 'tools/call',
  params: { name, arguments: args, _meta: { progressToken: 'p' } },
})

test('a long tool runs on a worker while a node waits and streams progress, for a client that knows no tasks', async () => {
  const session = await open(nodes[0]!)
  const stream = new Events(await post(nodes[1]!, call('count', { to: 5, everyMs: 50 }), session))
  await stream.end()
  const progress = stream.messages.flatMap(({ params }) => params?.progress ?? [])
  expect(progress.length).toBeGreaterThan(0)
  expect(progress).toEqual(progress.toSorted((a, b) => a - b))
  const text = `counted by ${worker.process.pid}`
  expect(stream.messages.at(-1)).toMatchObject({ id: 7, result: { content: [{ text }] } })
})

test('a task is told of on every node, to the end, by nodes that did not start it', async () => {
  const client = new TasksClient(overHttp(nodes[0]!.url))
  const listener = wireOverHttp(nodes[1]!.url)
  const taskId = await client.start('color')
  const stream = await listener.listen({ taskIds: [taskId] })
  await client.wait(taskId, 'input_required')
  await new TasksClient(overHttp(nodes[2]!.url)).update(taskId, {
    color: { action: 'accept', content: { color: 'red' } },
  })
  const told: string[] = []
  for (let count = 2; told.at(-1) !== 'completed'; count++)
    told.push((await stream.until(count))[count - 1]!['params'].status as string)
  await listener.close()
  expect(told.filter((status, index) => status !== told[index - 1])).toEqual(
    expect.arrayContaining(['input_required', 'completed']),
  )
  expect(stream.messages.at(-1)!['params'].result.content[0].text).toBe('red')
})

test('a 2026 client that disconnects has the work cancelled that it has no handle of', async () => {
  const away = new AbortController()
  const client = new TasksClient(overHttp(nodes[0]!.url, {}))
  const request = fetch(nodes[0]!.url, {
    method: 'POST',
    signal: away.signal,
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'count',
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: {
        name: 'count',
        arguments: { to: 100_000, everyMs: 20 },
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientCapabilities': {},
          progressToken: 'p',
        },
      },
    }),
  })
  const reader = (await request).body!.getReader()
  await reader.read() // its progress: it runs
  const store = await schema.open()
  const running = async (): Promise<number> =>
    (await store.list({ limit: 100 })).tasks.filter(({ tool, state }) => tool === 'count' && state === 'leased').length
  expect(await running()).toBe(1)
  away.abort()
  await expect.poll(running, { timeout: 10_000 }).toBe(0)
  await store.close()
  expect((await client.request('tools/list'))['tools']).toHaveLength(2)
})

test('a killed node strands no call that waits for a task: another goes on, and delivers the result', async () => {
  const session = await open(nodes[1]!)
  const [first, second] = nodes as [ClusterNode, ClusterNode]
  const stream = new Events(await post(first, call('count', { to: 240, everyMs: 100 }), session))
  await stream.until(3)
  const asking = new Events(await post(first, { ...call('color', {}), id: 8 }, session))
  await asking.until(1)
  const killedMs = performance.now()
  await first.process.kill()
  await expect(stream.end()).rejects.toThrow()
  await expect(asking.end()).rejects.toThrow()

  const resumed = new Events(await get(second, session, stream.lastId))
  const asked = new Events(await get(second, session, asking.lastId))
  await asked.until(1)
  expect(asked.messages[0]).toMatchObject({ method: 'elicitation/create', params: { message: 'Which color?' } })
  // The answer goes to a node that has nothing to do with it.
  const answer = { id: asked.messages[0]!.id, result: { action: 'accept', content: { color: 'blue' } } }
  expect((await post(nodes[2]!, answer, session)).status).toBe(202)
  await asked.end()
  expect(asked.messages.at(-1)).toMatchObject({ id: 8, result: { content: [{ text: 'blue' }] } })
  expect(performance.now() - killedMs).toBeLessThan(30_000)

  await resumed.end()
  const before = stream.messages.at(-1)!.params!.progress!
  const progress = resumed.messages.flatMap(({ params }) => params?.progress ?? [])
  expect(progress.length).toBeGreaterThan(0)
  expect(progress.every((step, index) => step > (progress[index - 1] ?? before))).toBe(true)
  const text = `counted by ${worker.process.pid}`
  expect(resumed.messages.filter(({ id }) => id === 7)).toMatchObject([{ result: { content: [{ text }] } }])
  await first.process.start()
}, 90_000)

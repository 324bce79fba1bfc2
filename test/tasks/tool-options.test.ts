import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { MemoryTaskQueue } from '../../src/backends/memory/task-queue.ts'
import { createRuntime, defineServer, defineTool, type TaskOptions, type WorkerOptions } from '../../src/index.ts'
import { generateKeys } from '../../src/kernel/key-ring.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { connect, FakeClock, type TestClient } from '../../src/testing/index.ts'
import { ReferenceTaskStore } from '../../src/testing/reference-task-store.ts'
import { postTasks } from '../support/tasks-client.ts'

// What a tool says of its tasks, from the definition to what becomes of them.

const CAPABILITIES = { extensions: { 'io.modelcontextprotocol/tasks': {} } }
const LEASE_MS = 30_000
let clock: FakeClock
let store: ReferenceTaskStore
const clients: TestClient[] = []
const ran: string[] = []
beforeEach(() => {
  clock = new FakeClock()
  store = new ReferenceTaskStore(clock)
  ran.length = 0
})
afterEach(async () => {
  const closing = Promise.all(clients.splice(0).map((client) => client.close()))
  let isOver = false
  void closing.finally(() => (isOver = true))
  await pass(() => isOver)
})

async function pass(isOver: () => boolean | Promise<boolean>): Promise<void> {
  for (let step = 0; step < 20_000; step++) {
    if (await isOver()) return
    await clock.advance(100)
  }
  expect.unreachable('what was waited for did not come')
}

const tool = (name: string, task: TaskOptions | true = true) =>
  defineTool({ name, description: 'Works', task, run: () => void ran.push(name) })
const keys = generateKeys()
/** A process: a node that runs no tasks, or one with a worker. */
async function start(tools: readonly ReturnType<typeof tool>[], worker: boolean | WorkerOptions): Promise<TestClient> {
  const client = await connect(defineServer({ name: 'options', version: '1', tools: [...tools] }), {
    capabilities: CAPABILITIES,
    runtime: { clock, tasks: store, queue: new MemoryTaskQueue(() => undefined), keys, worker },
  })
  clients.push(client)
  return client
}
const create = async (client: TestClient, name: string): Promise<string> =>
  (await client.request('tools/call', { name, arguments: {} })).taskId as string

describe('a task whose worker is lost', () => {
  test.each([
    ['runs again, unless the tool says otherwise', {}, 'completed', undefined, 1],
    ['fails, where the tool says so', { onWorkerLost: 'fail' }, 'failed', 'lost', 0],
    ['fails, where the tool allows no crash', { maxCrashes: 0 }, 'failed', 'crashes', 0],
  ] as const)('%s', async (_what, options, status, dead, runs) => {
    const tools = [tool('charge', options)]
    const node = await start(tools, false)
    const taskId = await create(node, 'charge')
    // A worker that takes it, and is never heard of again.
    const [held] = await store.claim({
      worker: 'lost',
      token: 'lost',
      queue: 'default',
      tools: ['charge'],
      handlerRevisions: [],
      limit: 1,
      leaseMs: LEASE_MS,
    })
    expect(held?.id).toBe(taskId)
    await start(tools, true)
    let task: Record<string, unknown> = {}
    await pass(async () => (task = await node.request('tasks/get', { taskId })).status === status)
    expect(ran).toHaveLength(runs)
    expect((await store.list({ limit: 1 })).tasks[0]?.dead).toBe(dead)
    if (status === 'failed') expect(task['error']).toMatchObject({ code: -32603 })
  })
})

test('of two tools of one queue the one with more priority goes before what its caller has waiting', async () => {
  const tools = [tool('bulk'), tool('urgent', { priority: 100 })]
  const node = await start(tools, false)
  for (let index = 0; index < 4; index++) await create(node, 'bulk')
  await create(node, 'urgent')
  await start(tools, { concurrency: 1 })
  await pass(() => ran.length === 5)
  expect(ran).toEqual(['bulk', 'urgent', 'bulk', 'bulk', 'bulk'])
})

test('a task that has not ended within its tool’s ttlMs fails, and one within it does not', async () => {
  const tools = [tool('brief', { ttlMs: 60_000 }), tool('patient')]
  const node = await start(tools, false)
  const [brief, patient] = [await create(node, 'brief'), await create(node, 'patient')]
  await clock.advance(61_000)
  await start(tools, true)
  const statusOf = async (taskId: string) => (await node.request('tasks/get', { taskId })).status
  await pass(async () => (await statusOf(brief)) === 'failed' && (await statusOf(patient)) === 'completed')
  expect(ran).toEqual(['patient'])
})

test('where too many tasks wait new ones are refused until workers have caught up; waiting calls are, too', async () => {
  const slow = [tool('slow', { queue: 'slow' }), tool('other')]
  const definition = defineServer({ name: 'options', version: '1', tools: slow })
  const own = {
    tasks: new ReferenceTaskStore(systemClock),
    queue: new MemoryTaskQueue(() => undefined),
    keys,
    logLevel: 'silent',
  } as const
  const runtime = await createRuntime(definition, { ...own, dataDir: false, worker: false, maxTaskBacklog: 2 })
  try {
    const { url } = await runtime.listen({ port: 0 })
    const ask = (name: string, capabilities?: object): Promise<Response> =>
      postTasks(url, 'tools/call', { name, arguments: {} }, capabilities)
    await vi.waitUntil(async () => (await ask('slow')).status === 503, { timeout: 10_000, interval: 100 })
    const refused = await ask('slow')
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(await refused.json()).toMatchObject({
      error: { message: expect.stringContaining('"slow"'), data: { code: 'overloaded', retryable: true } },
    })
    expect((await ask('slow', {})).status).toBe(503) // without the extension the node would wait
    expect((await ask('other')).status).toBe(200) // another queue has a bound of its own
    const before = (await own.tasks.list({ limit: 100 })).tasks.length
    const worker = await createRuntime(definition, { ...own, dataDir: false, worker: true })
    try {
      await vi.waitUntil(async () => (await ask('slow')).status === 200, { timeout: 10_000, interval: 100 })
    } finally {
      await worker.close()
    }
    expect((await own.tasks.list({ limit: 100 })).tasks.length).toBe(before + 1)
  } finally {
    await runtime.close()
  }
})

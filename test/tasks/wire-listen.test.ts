import { afterEach, describe, expect, test } from 'vitest'
import { internalsOf } from '../../src/compose/runtime.ts'
import { createRuntime, defineServer, defineTool, type Principal, type Runtime } from '../../src/index.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { eventually } from '../clients/eventually.ts'
import type { Json } from '../support/tasks-client.ts'
import { FakeEngine } from './fake-engine.ts'
import { WIRES, type Wire } from './wires.ts'

const OTHER: Principal = { issuer: 'https://issuer.test', subject: 'other', scopes: [] }
const NAMES = ['http', 'stdio', 'memory'] as const
const EXTENSION = { extensions: { 'io.modelcontextprotocol/tasks': {} } }
const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId'
const RESULT = { members: '"content":[{"type":"text","text":"done"}]' }

const job = defineTool({ name: 'job', description: 'A job', task: true, run: () => 'done' })
const secret = defineTool({
  name: 'secret',
  description: 'A job for some',
  scopes: ['jobs:secret'],
  task: true,
  run: () => 'done',
})
const plain = defineServer({ name: 'jobs', version: '1.0.0', tools: [job] })

let closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.toReversed()) await close()
  closers = []
})

async function start(
  name: keyof typeof WIRES,
  options: object = {},
  server = plain,
): Promise<{ wire: Wire; engine: FakeEngine; runtime: Runtime }> {
  const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent', ...options })
  closers.push(() => runtime.close())
  const engine = new FakeEngine()
  Object.assign(internalsOf(runtime).services, { tasks: engine })
  const wire = await WIRES[name](runtime)
  closers.push(() => wire.close())
  return { wire, engine, runtime }
}

const statuses = (messages: readonly Json[]): unknown[] =>
  messages.filter(({ method }) => method === 'notifications/tasks').map(({ params }) => params.status)

describe.each(NAMES)('over %s', (name) => {
  test('own and known ids alone are acknowledged, and their present state comes right after', async () => {
    const { wire, engine } = await start(name)
    const [one, two] = [engine.put(wire.principal), engine.put(wire.principal, { status: 'completed', result: RESULT })]
    const theirs = engine.put(OTHER)
    const stream = await wire.listen({ taskIds: [one, 'unknown', theirs, two, one] })
    const messages = await stream.until(3)
    expect(messages[0]).toMatchObject({
      method: 'notifications/subscriptions/acknowledged',
      params: { notifications: { taskIds: [one, two] } },
    })
    const id: unknown = messages[0]!['params']._meta[SUBSCRIPTION]
    expect(messages[1]).toEqual({
      jsonrpc: '2.0',
      method: 'notifications/tasks',
      params: {
        taskId: one,
        status: 'working',
        createdAt: '2026-01-02T03:04:05.000Z',
        lastUpdatedAt: '2026-01-02T03:04:06.000Z',
        ttlMs: 60_000,
        pollIntervalMs: 1000,
        _meta: { [SUBSCRIPTION]: id },
      },
    })
    expect(messages[2]!['params']).toMatchObject({
      taskId: two,
      status: 'completed',
      result: { content: [{ type: 'text', text: 'done' }] },
    })
    expect(messages).toHaveLength(3)
  })

  test('each change is told whole, as tasks/get tells it, and once, however often there is word of it', async () => {
    const { wire, engine } = await start(name)
    const id = engine.put(wire.principal)
    const stream = await wire.listen({ taskIds: [id] })
    await stream.until(2)
    const request = { method: 'elicitation/create', params: { message: 'Sure?' } } as const
    engine.change(id, { status: 'input_required', requests: new Map([['sure', request]]) }, 5)
    await stream.until(3)
    engine.tell(id)
    engine.change(id, { status: 'completed', requests: new Map(), result: RESULT }, 3)
    const messages = await stream.until(4)
    expect(statuses(messages)).toEqual(['working', 'input_required', 'completed'])
    expect(messages[2]!['params'].inputRequests).toEqual({ sure: request })
    const { _meta: _1, ...told } = messages[3]!['params'] as Json
    const { _meta: _2, resultType, ...got } = (await wire.ask('tasks/get', { taskId: id })).result as Json
    expect(told).toEqual(got)
    expect(resultType).toBe('complete')
  })

  test('without the extension a client that asks for tasks is refused, before any stream', async () => {
    const { wire, engine } = await start(name)
    for (const taskIds of [[engine.put(wire.principal)], []]) {
      const [answer] = await (await wire.listen({ taskIds, toolsListChanged: true }, { elicitation: {} })).until(1)
      expect(answer!['error']).toMatchObject({ code: -32021, data: { requiredCapabilities: EXTENSION } })
      if (name === 'http') expect(answer!['status']).toBe(400)
    }
    expect(engine.looked).toEqual([])
  })

  test('ids that are none are refused, and more than a stream may follow, without a look at one of them', async () => {
    const { wire, engine } = await start(name)
    const tooMany = Array.from({ length: 10_000 }, (_, index) => `id-${index}`)
    for (const taskIds of ['one', 1, null, {}, [1], [null], [['x']], tooMany]) {
      const [answer] = await (await wire.listen({ taskIds })).until(1)
      expect(answer!['error']).toMatchObject({ code: -32602, message: expect.stringMatching(/taskIds|tasks/) })
    }
    expect(engine.looked).toEqual([])
  })

  test('after its end a task is not watched any more, and the stream stays', async () => {
    const { wire, engine } = await start(name)
    const [one, two] = [engine.put(wire.principal), engine.put(wire.principal)]
    const stream = await wire.listen({ taskIds: [one, two] })
    await stream.until(3)
    expect([engine.watched(one), engine.watched(two)]).toEqual([1, 1])
    engine.change(one, { status: 'cancelled' })
    await stream.until(4)
    expect([engine.watched(one), engine.watched(two)]).toEqual([0, 1])
    engine.change(two, { status: 'completed', result: RESULT })
    expect(statuses(await stream.until(5))).toEqual(['working', 'working', 'cancelled', 'completed'])
  })

  test('a client that goes leaves nothing watched', async () => {
    const { wire, engine } = await start(name)
    const ids = Array.from({ length: 20 }, () => engine.put(wire.principal))
    const stream = await wire.listen({ taskIds: ids })
    await stream.until(21)
    stream.close()
    await eventually(() => ids.filter((id) => engine.watched(id) > 0)).toEqual([])
  })

  test('questions that need more than the client declared are kept back; the rest is told', async () => {
    const { wire, engine } = await start(name)
    const id = engine.put(wire.principal)
    const stream = await wire.listen({ taskIds: [id] }, EXTENSION)
    await stream.until(2)
    const request = { method: 'sampling/createMessage', params: {} } as const
    engine.change(id, { status: 'input_required', requests: new Map([['q', request]]) })
    const { error } = await wire.ask('tasks/get', { taskId: id }, EXTENSION)
    expect(error.code).toBe(-32021)
    engine.change(id, { status: 'completed', requests: new Map(), result: RESULT })
    expect(statuses(await stream.until(3))).toEqual(['working', 'completed'])
  })

  test('a stream follows as many tasks as it may, and reads a few at a time', async () => {
    const { wire, engine } = await start(name)
    const ids = Array.from({ length: 1000 }, () => engine.put(wire.principal))
    const stream = await wire.listen({ taskIds: ids })
    await stream.until(1001)
    for (const id of ids) engine.change(id, { status: 'cancelled' })
    const messages = await stream.until(2001)
    expect(statuses(messages).filter((status) => status === 'cancelled')).toHaveLength(1000)
    expect(engine.peak).toBeLessThanOrEqual(8)
  })

  test('a task that is no longer kept is passed over', async () => {
    const { wire, engine } = await start(name)
    const [one, two] = [engine.put(wire.principal), engine.put(wire.principal)]
    const stream = await wire.listen({ taskIds: [one, two] })
    await stream.until(3)
    engine.forget(one)
    engine.tell(one)
    engine.change(two, { status: 'cancelled' })
    expect(statuses(await stream.until(4))).toEqual(['working', 'working', 'cancelled'])
    expect(engine.watched(one)).toBe(0)
  })
})

test('the other things that a stream may follow go on beside its tasks', async () => {
  const { wire, engine, runtime } = await start('memory')
  const id = engine.put(wire.principal)
  const stream = await wire.listen({ taskIds: [id], toolsListChanged: true })
  expect((await stream.until(2))[0]!['params'].notifications).toEqual({ toolsListChanged: true, taskIds: [id] })
  runtime.notify.toolsChanged()
  expect((await stream.until(3))[2]!['method']).toBe('notifications/tools/list_changed')
})

test("a token that lacks the tool's scope does not reach its tasks", async () => {
  const { wire, engine } = await start(
    'memory',
    {},
    defineServer({ name: 'jobs', version: '1.0.0', tools: [job, secret] }),
  )
  const id = engine.put(wire.principal, { tool: 'secret' })
  const [answer] = await (await wire.listen({ taskIds: [id] })).until(1)
  expect(answer!['params'].notifications).toEqual({})
  for (const method of ['tasks/get', 'tasks/update', 'tasks/cancel']) {
    const { error } = await wire.ask(method, { taskId: id, inputResponses: {} })
    expect(error.data.code).toBe('insufficient_scope')
  }
  expect(engine.answered).toEqual([])
  expect(engine.watched(id)).toBe(0)
})

test('a stream is not opened while the store of tasks is down: the client is told to try again', async () => {
  const { wire, engine } = await start('http')
  const id = engine.put(wire.principal)
  engine.isDown = true
  const [answer] = await (await wire.listen({ taskIds: [id] })).until(1)
  expect(answer).toMatchObject({ status: 503, error: { data: { code: 'state_unavailable', retryable: true } } })
})

test('what could not be read is read again when the store is back, without another word', async () => {
  const clock = new FakeClock()
  const { wire, engine } = await start('memory', { clock })
  const id = engine.put(wire.principal)
  const stream = await wire.listen({ taskIds: [id] })
  await stream.until(2)
  engine.isDown = true
  const before = engine.looked.length
  engine.change(id, { status: 'completed', result: RESULT })
  await eventually(() => engine.looked.length).toBe(before + 1)
  engine.isDown = false
  for (let step = 0; step < 10 && stream.messages.length < 3; step++) {
    await clock.advance(500)
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(statuses(await stream.until(3))).toEqual(['working', 'completed'])
})

test('a client that had notifications dropped is told all present states again', async () => {
  const { wire, engine } = await start('memory')
  const [one, two] = [engine.put(wire.principal), engine.put(wire.principal, { status: 'cancelled' })]
  const stream = await wire.listen({ taskIds: [one, two] })
  await stream.until(3)
  wire.drop!()
  expect(statuses(await stream.until(5)).toSorted()).toEqual(['cancelled', 'cancelled', 'working', 'working'])
})

test('the server that stops ends the stream with its result', async () => {
  const { wire, engine, runtime } = await start('memory')
  const stream = await wire.listen({ taskIds: [engine.put(wire.principal)] })
  await stream.until(2)
  await runtime.close()
  const last = stream.messages.find(({ result }) => result !== undefined)
  expect(last).toMatchObject({ result: { resultType: 'complete' } })
})

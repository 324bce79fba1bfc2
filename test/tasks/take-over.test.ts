import { afterEach, beforeEach, expect, test } from 'vitest'
import { internalsOf } from '../../src/compose/runtime.ts'
import { defineServer, defineTool } from '../../src/index.ts'
import { eventually } from '../clients/eventually.ts'
import { Nodes, type Json, type Node } from '../questions/nodes.ts'
import { Events, get, post } from '../sessions/support.ts'
import { FakeEngine } from './fake-engine.ts'

// A 2025 client whose call waits for a task, and whose node goes away. The engine is the test's, so that it says when the task
// ends; the stores and the bus are shared, and a node that is gone is one that reaches neither.

const RESULT = { members: '"content":[{"type":"text","text":"done"}]' }
const server = defineServer({
  name: 'jobs',
  version: '1.0.0',
  tools: [defineTool({ name: 'job', description: 'A job', task: true, run: () => 'never here' })],
})

let nodes: Nodes
let engine: FakeEngine
let one: Node
let two: Node
let three: Node
let session: string

beforeEach(async () => {
  nodes = new Nodes(server, { worker: false })
  engine = new FakeEngine()
  const start = async (): Promise<Node> => {
    const node = await nodes.start()
    Object.assign(internalsOf(node.runtime).services, { tasks: engine })
    return node
  }
  one = await start()
  two = await start()
  three = await start()
  const params = {
    protocolVersion: '2025-11-25',
    capabilities: { elicitation: {} },
    clientInfo: { name: 't', version: '1' },
  }
  const response = await post(one, { id: 0, method: 'initialize', params })
  await response.arrayBuffer()
  session = response.headers.get('mcp-session-id')!
})
afterEach(() => nodes.close())

const call = (at: Node, id: unknown = 7, headers: object = {}): Promise<Response> =>
  post(
    at,
    { id, method: 'tools/call', params: { name: 'job', arguments: {}, _meta: { progressToken: 'p' } } },
    session,
    headers,
  )

/** The call's stream, and the task that it waits for. */
async function begin(): Promise<{ stream: Events; task: string }> {
  const stream = await new Events(await call(one)).start()
  await eventually(() => engine.started.length).toBe(1)
  return { stream, task: 'task-1' }
}
/** The node is gone, as if killed: it says nothing more, and its connections break. */
async function lose(node: Node, stream: Events): Promise<void> {
  Object.assign(node.faults, { isStoreDown: true, losesMessages: true, cannotSubscribe: true })
  await stream.drop()
}
const resume = async (at: Node, lastId: string): Promise<Events> => new Events(await get(at, session, lastId))
/** Time passes until the others see that a node is gone. */
const untilTakenOver = (task: string, watchers = 2): Promise<void> =>
  nodes.pass(() => engine.watched(task) >= watchers, 500)
const answersIn = (stream: Events): unknown[] =>
  stream.messages.filter(({ id, method }) => id === 7 && method === undefined)

test('the answer is a stream at once, which says from where it can be resumed', async () => {
  const { stream, task } = await begin()
  expect(stream.lastId).not.toBe('')
  expect(engine.started[0]).toMatchObject({ isAttended: true })
  engine.change(task, { status: 'completed', result: RESULT })
  await stream.end()
  expect(answersIn(stream)).toMatchObject([{ id: 7, result: { content: [{ type: 'text', text: 'done' }] } }])
})

test('a client that takes no stream gets one body', async () => {
  const response = call(one, 7, { accept: 'application/json' })
  await eventually(() => engine.started.length).toBe(1)
  engine.change('task-1', { status: 'completed', result: RESULT })
  expect(await (await response).json()).toMatchObject({ id: 7, result: { content: [{ text: 'done' }] } })
})

test('another node goes on with the waiting when the first is gone, and delivers the result on the resumed stream', async () => {
  const { stream, task } = await begin()
  await lose(one, stream)
  const resumed = await resume(two, stream.lastId)
  await untilTakenOver(task)
  engine.change(task, { status: 'completed', result: RESULT })
  await nodes.settled(resumed.end())
  expect(answersIn(resumed)).toMatchObject([{ id: 7, result: { content: [{ type: 'text', text: 'done' }] } }])
  expect(resumed.messages.filter(({ error }) => error !== undefined)).toEqual([])
  expect(engine.cancelled).toEqual([])
  await eventually(async () => (await nodes.kept()).filter((key) => key.startsWith('waiting:'))).toEqual([])
})

test('a result that came while nobody listened is there for who resumes', async () => {
  const { stream, task } = await begin()
  await lose(one, stream)
  engine.change(task, { status: 'completed', result: RESULT })
  const resumed = await resume(two, stream.lastId)
  await nodes.settled(resumed.end())
  expect(answersIn(resumed)).toMatchObject([{ result: { content: [{ text: 'done' }] } }])
})

test('who resumes keeps the task alive from then on', async () => {
  const { stream, task } = await begin()
  await lose(one, stream)
  expect(engine.attended.get(task)).toBe(1)
  const resumed = await resume(two, stream.lastId)
  await eventually(() => engine.attended.get(task)).toBe(2)
  await untilTakenOver(task)
  expect(engine.attended.get(task)).toBe(2)
  await resumed.drop()
})

test('after a second loss a third node goes on', async () => {
  const { stream, task } = await begin()
  await lose(one, stream)
  const second = await resume(two, stream.lastId)
  await untilTakenOver(task)
  engine.progress(task, 3)
  await second.until(1)
  await lose(two, second)
  const last = await resume(three, second.lastId)
  await untilTakenOver(task, 3)
  engine.change(task, { status: 'completed', result: RESULT })
  await nodes.settled(last.end())
  expect(answersIn(last)).toHaveLength(1)
})

test('a client that moves on again finds its stream at the node that took it over', async () => {
  const { stream, task } = await begin()
  await lose(one, stream)
  const second = await resume(two, stream.lastId)
  await untilTakenOver(task)
  await second.drop()
  const last = await resume(three, stream.lastId)
  await nodes.clock.advance(100)
  engine.change(task, { status: 'completed', result: RESULT })
  await nodes.settled(last.end())
  expect(answersIn(last)).toHaveLength(1)
})

test('of two nodes that are asked at once one takes over, and both deliver the same end', async () => {
  const { stream, task } = await begin()
  await lose(one, stream)
  const both = await Promise.all([resume(two, stream.lastId), resume(three, stream.lastId)])
  await untilTakenOver(task)
  await nodes.clock.advance(1000)
  expect(engine.watched(task)).toBe(2)
  engine.change(task, { status: 'completed', result: RESULT })
  await nodes.settled(Promise.all(both.map((one) => one.end())))
  expect(both.flatMap(answersIn).length).toBeGreaterThanOrEqual(1)
})

test('a node that was only slow finds itself replaced: the answer is there once', async () => {
  const { stream, task } = await begin()
  await lose(one, stream)
  const resumed = await resume(two, stream.lastId)
  await untilTakenOver(task)
  Object.assign(one.faults, { isStoreDown: false, losesMessages: false, cannotSubscribe: false })
  await nodes.clock.advance(120_000)
  engine.change(task, { status: 'completed', result: RESULT })
  await nodes.settled(resumed.end())
  expect(answersIn(resumed)).toHaveLength(1)
  expect(resumed.messages).toHaveLength(1)
})

test('what the client was told of progress does not fall', async () => {
  const { stream, task } = await begin()
  engine.progress(task, 5)
  await stream.until(1)
  await lose(one, stream)
  const resumed = await resume(two, stream.lastId)
  await untilTakenOver(task)
  engine.progress(task, 4)
  engine.progress(task, 6)
  await resumed.until(1)
  expect(resumed.messages.map(({ params }) => params?.progress)).toEqual([6])
  await resumed.drop()
})

test('an open question is asked again on the resumed stream, and its answer counts', async () => {
  engine.goesOn = true
  const { stream, task } = await begin()
  const request = { method: 'elicitation/create', params: { message: 'Sure?', requestedSchema: {} } } as const
  engine.change(task, { status: 'input_required', requests: new Map([['sure', request]]) })
  await stream.until(1)
  await lose(one, stream)
  const resumed = await resume(two, stream.lastId)
  await untilTakenOver(task)
  await resumed.until(1)
  const { method, id } = resumed.messages[0]!
  expect(method).toBe('elicitation/create')
  const answer = { action: 'accept', content: {} }
  expect((await post(three, { id, result: answer } as Json, session)).status).toBe(202)
  await eventually(() => engine.answered).toEqual([{ id: task, answers: { sure: answer } }])
  engine.change(task, { status: 'completed', result: RESULT })
  await nodes.settled(resumed.end())
  expect(answersIn(resumed)).toHaveLength(1)
})

test('a cancellation that comes after reaches the task, whichever node hears it', async () => {
  const { stream, task } = await begin()
  await lose(one, stream)
  const resumed = await resume(two, stream.lastId)
  await untilTakenOver(task)
  const cancelled = { method: 'notifications/cancelled', params: { requestId: 7 } }
  expect((await post(three, cancelled, session)).status).toBe(202)
  await nodes.settled(resumed.end())
  expect(answersIn(resumed)).toEqual([])
  await eventually(() => engine.cancelled).toContain(task)
})

test('a node that drains hands the call over: nobody waits for its end, and the next node goes on at once', async () => {
  const { stream, task } = await begin()
  const closed = one.runtime.close()
  await nodes.settled(stream.end())
  await nodes.settled(closed)
  expect(answersIn(stream)).toEqual([])
  const before = nodes.clock.now()
  const resumed = await resume(two, stream.lastId)
  await eventually(() => engine.watched(task)).toBe(1)
  expect(nodes.clock.now()).toBe(before)
  engine.change(task, { status: 'completed', result: RESULT })
  await nodes.settled(resumed.end())
  expect(answersIn(resumed)).toMatchObject([{ result: { content: [{ text: 'done' }] } }])
  expect(engine.cancelled).toEqual([])
})

test('a task that is no longer kept ends the call with an error that says to call again', async () => {
  const { stream, task } = await begin()
  await lose(one, stream)
  engine.forget(task)
  const resumed = await resume(two, stream.lastId)
  await nodes.settled(resumed.end())
  expect(resumed.messages).toMatchObject([{ id: 7, error: { code: -32602 } }])
})

test('with the store down when the call begins to wait it is served, and lost with its node', async () => {
  one.faults.isStoreDown = true
  const direct = call(one)
  await eventually(() => engine.started.length).toBe(1)
  const stream = await new Events(await direct).start()
  one.faults.isStoreDown = false
  engine.change('task-1', { status: 'completed', result: RESULT })
  await nodes.settled(stream.end())
  expect(answersIn(stream)).toHaveLength(1)
})

import { afterEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { internalsOf } from '../../src/compose/runtime.ts'
import { ANONYMOUS } from '../../src/define/context.ts'
import { createRuntime, defineServer, defineTool, type Principal, type Runtime } from '../../src/index.ts'
import type { ClientRequest } from '../../src/kernel/question.ts'
import { post, openSession, modern } from '../clients/raw.ts'
import { postTasks, type Json } from '../support/tasks-client.ts'
import { FakeEngine } from './fake-engine.ts'
import { WIRES, type Wire } from './wires.ts'

const OTHER: Principal = { issuer: 'https://issuer.test', subject: 'other', scopes: [] }
const QUIET = { dataDir: false, logLevel: 'silent' } as const
const NAMES = ['http', 'stdio', 'memory'] as const

const server = defineServer({
  name: 'jobs',
  version: '1.0.0',
  tools: [
    defineTool({ name: 'job', description: 'A job', input: z.object({}), task: true, run: () => 'done' }),
    defineTool({ name: 'plain', description: 'No job', input: z.object({}), run: () => 'done' }),
  ],
})

let closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.toReversed()) await close()
  closers = []
})

async function start(
  name: keyof typeof WIRES,
  options: object = {},
): Promise<{ wire: Wire; engine: FakeEngine; runtime: Runtime }> {
  const runtime = await createRuntime(server, { ...QUIET, ...options })
  closers.push(() => runtime.close())
  const engine = new FakeEngine()
  Object.assign(internalsOf(runtime).services, { tasks: engine })
  const wire = await WIRES[name](runtime)
  closers.push(() => wire.close())
  return { wire, engine, runtime }
}

const form: ClientRequest = {
  method: 'elicitation/create',
  params: { mode: 'form', message: 'Sure?', requestedSchema: { type: 'object', properties: {} } },
}
const page: ClientRequest = {
  method: 'elicitation/create',
  params: { mode: 'url', message: 'Pay', url: 'https://pay.test/1' },
}
const sample: ClientRequest = { method: 'sampling/createMessage', params: { messages: [], maxTokens: 5 } }
const roots: ClientRequest = { method: 'roots/list', params: {} }

const EXTENSION = { extensions: { 'io.modelcontextprotocol/tasks': {} } }
const base = {
  createdAt: '2026-01-02T03:04:05.000Z',
  lastUpdatedAt: '2026-01-02T03:04:06.000Z',
  ttlMs: 60_000,
  pollIntervalMs: 1000,
}
const META = { 'io.modelcontextprotocol/serverInfo': { name: 'jobs', version: '1.0.0' } }

describe.each(NAMES)('over %s', (name) => {
  test('a server with tools that run as tasks advertises the extension, and no capability of 2025', async () => {
    const { wire } = await start(name)
    const { result } = await wire.ask('server/discover', {}, {})
    expect(result.capabilities.extensions).toEqual({ 'io.modelcontextprotocol/tasks': {} })
    expect(result.capabilities).not.toHaveProperty('tasks')
  })

  test('tasks/get tells a working task as it is', async () => {
    const { wire, engine } = await start(name)
    const id = engine.put(wire.principal, { statusMessage: 'half done' })
    const { result } = await wire.ask('tasks/get', { taskId: id })
    expect(result).toEqual({
      resultType: 'complete',
      taskId: id,
      status: 'working',
      statusMessage: 'half done',
      ...base,
      _meta: META,
    })
  })

  test('tasks/get brings the open questions, in the order asked', async () => {
    const { wire, engine } = await start(name)
    const requests = new Map([
      ['sure', form],
      ['0-really', form],
    ])
    const id = engine.put(wire.principal, { status: 'input_required', requests })
    const { result } = await wire.ask('tasks/get', { taskId: id })
    expect(result).toMatchObject({ resultType: 'complete', status: 'input_required' })
    expect(Object.entries(result.inputRequests)).toEqual([...requests])
  })

  test('tasks/get brings the result that the call would have had, its failure and its `_meta` included', async () => {
    const { wire, engine } = await start(name)
    const members = '"content":[{"type":"text","text":"no"}],"isError":true'
    const id = engine.put(wire.principal, {
      status: 'completed',
      result: { members: Buffer.from(members), meta: { 'app/trace': 1 }, isError: true },
    })
    const { result } = await wire.ask('tasks/get', { taskId: id })
    expect(result).toEqual({
      resultType: 'complete',
      taskId: id,
      status: 'completed',
      ...base,
      result: {
        resultType: 'complete',
        content: [{ type: 'text', text: 'no' }],
        isError: true,
        _meta: { 'app/trace': 1 },
      },
      _meta: META,
    })
  })

  test('tasks/get brings the error of a failed task, and says why in words', async () => {
    const { wire, engine } = await start(name)
    const error = { code: -32603, message: 'The worker was lost.', data: { attempt: 3 } }
    const id = engine.put(wire.principal, { status: 'failed', error })
    const { result } = await wire.ask('tasks/get', { taskId: id })
    expect(result).toMatchObject({ status: 'failed', error, statusMessage: 'The worker was lost.' })
    expect(result).not.toHaveProperty('result')
  })

  test('a cancelled task has neither result nor error', async () => {
    const { wire, engine } = await start(name)
    const id = engine.put(wire.principal, { status: 'cancelled' })
    const { result } = await wire.ask('tasks/get', { taskId: id })
    expect(result).toEqual({ resultType: 'complete', taskId: id, status: 'cancelled', ...base, _meta: META })
  })

  test('tasks/update hands the answers on, and its acknowledgement carries nothing of the task', async () => {
    const { wire, engine } = await start(name)
    const id = engine.put(wire.principal, { status: 'input_required', requests: new Map([['sure', form]]) })
    const answers = { sure: { action: 'accept', content: {} }, unknown: { action: 'cancel' } }
    const { result } = await wire.ask('tasks/update', { taskId: id, inputResponses: answers })
    expect(result).toEqual({ resultType: 'complete', _meta: META })
    expect(engine.answered).toEqual([{ id, answers }])
  })

  test('tasks/cancel is acknowledged, and again when the task has ended', async () => {
    const { wire, engine } = await start(name)
    const id = engine.put(wire.principal)
    for (let time = 0; time < 2; time++)
      expect((await wire.ask('tasks/cancel', { taskId: id })).result).toEqual({ resultType: 'complete', _meta: META })
    expect((await wire.ask('tasks/get', { taskId: id })).result.status).toBe('cancelled')
  })

  test.each(['tasks/get', 'tasks/update', 'tasks/cancel'])(
    "%s of an unknown id, and of another caller's, is -32602 in the same words",
    async (method) => {
      const { wire, engine } = await start(name)
      const theirs = engine.put(OTHER, { id: 'x1' })
      const ask = async (taskId: string): Promise<Json> =>
        (await wire.ask(method, { taskId, inputResponses: {} }))['error']
      const [unknown, foreign] = [await ask('x0'), await ask(theirs)]
      expect(unknown).toMatchObject({ code: -32602, data: { code: 'task_not_found', retryable: false } })
      expect(foreign['message'].replace('x1', 'x0')).toBe(unknown['message'])
      expect(foreign['code']).toBe(-32602)
    },
  )

  test.each(['tasks/get', 'tasks/update', 'tasks/cancel'])(
    '%s without the extension in this very request is -32021, before anything is looked up',
    async (method) => {
      const { wire, engine } = await start(name)
      const id = engine.put(wire.principal)
      const wild = [{}, { extensions: {} }, { extensions: { 'io.modelcontextprotocol/tasks': true } }, { tasks: {} }]
      for (const capabilities of wild) {
        const { error, status } = await wire.ask(method, { taskId: id, inputResponses: {} }, capabilities)
        expect(error).toMatchObject({ code: -32021, data: { requiredCapabilities: EXTENSION } })
        if (name === 'http') expect(status).toBe(400)
      }
      expect(engine.looked).toEqual([])
    },
  )

  test.each(['tasks/result', 'tasks/list', 'tasks/start'])('%s does not exist', async (method) => {
    const { wire, engine } = await start(name)
    const { error, status } = await wire.ask(method, { taskId: engine.put(wire.principal) })
    expect(error.code).toBe(-32601)
    if (name === 'http') expect(status).toBe(404)
  })

  test('a tasks/get that declares less than an open question needs is told what is missing', async () => {
    const { wire, engine } = await start(name)
    const withTools = { ...sample, params: { ...sample.params, tools: [] } }
    const cases: [ClientRequest, Json, Json][] = [
      [form, {}, { elicitation: { form: {} } }],
      [page, { elicitation: {} }, { elicitation: { url: {} } }],
      [sample, { elicitation: {} }, { sampling: {} }],
      [withTools, { sampling: {} }, { sampling: { tools: {} } }],
      [roots, { sampling: {} }, { roots: {} }],
    ]
    for (const [request, declared, requiredCapabilities] of cases) {
      const id = engine.put(wire.principal, { status: 'input_required', requests: new Map([['q', request]]) })
      const { error } = await wire.ask('tasks/get', { taskId: id }, { ...EXTENSION, ...declared })
      expect(error).toMatchObject({ code: -32021, data: { requiredCapabilities } })
      const enough = { ...EXTENSION, elicitation: { form: {}, url: {} }, sampling: { tools: {} }, roots: {} }
      expect((await wire.ask('tasks/get', { taskId: id }, enough)).result.inputRequests).toEqual({ q: request })
    }
  })

  test('parameters of the wrong kind are refused by name, and nothing is looked up', async () => {
    const { wire, engine } = await start(name)
    for (const taskId of [undefined, null, 1, true, [], {}, ['task-1']]) {
      const { error } = await wire.ask('tasks/get', { taskId })
      expect(error).toMatchObject({ code: -32602, message: expect.stringContaining('taskId') })
    }
    for (const inputResponses of [undefined, null, 'yes', 7, []]) {
      const { error } = await wire.ask('tasks/update', { taskId: 'task-1', inputResponses })
      expect(error).toMatchObject({ code: -32602, message: expect.stringContaining('inputResponses') })
    }
    expect(engine.looked).toEqual([])
  })

  test('hostile ids are ids like any other, and the answer does not repeat them at length', async () => {
    const { wire } = await start(name)
    for (const taskId of ['', '__proto__', '../../etc', "'; drop table hf_task", 'é\u0000', 'x'.repeat(4000)]) {
      if (name === 'http' && !/^[\x20-\x7e]*$/.test(taskId)) continue // no header can say it; see below
      const { error } = await wire.ask('tasks/get', { taskId })
      expect(error).toMatchObject({ code: -32602, data: { code: 'task_not_found' } })
      expect(error.message.length).toBeLessThan(300)
    }
  })

  test('with the store of tasks down the answer is retryable, and says nothing of the store', async () => {
    const { wire, engine } = await start(name)
    const id = engine.put(wire.principal)
    engine.isDown = true
    for (const method of ['tasks/get', 'tasks/update', 'tasks/cancel']) {
      const { error } = await wire.ask(method, { taskId: id, inputResponses: {} })
      expect(error).toMatchObject({ code: 50300, data: { retryable: true } })
      expect(JSON.stringify(error)).not.toContain('ECONNREFUSED')
    }
  })
})

test('Mcp-Name must be there, and say the id: proxies route by it', async () => {
  const { engine, runtime } = await start('memory')
  const { url } = await runtime.listen({ port: 0 })
  const id = engine.put(ANONYMOUS)
  for (const method of ['tasks/get', 'tasks/update', 'tasks/cancel'])
    for (const header of ['other', undefined]) {
      const params = { taskId: id, inputResponses: {} }
      const meta = { clientCapabilities: EXTENSION }
      const reply = await modern(url, method, params, { headers: { 'mcp-name': header }, meta })
      expect(reply.status).toBe(400)
      expect(reply.message?.error?.code).toBe(-32020)
    }
  expect(engine.looked).toEqual([])
  const encoded = `=?base64?${Buffer.from(id).toString('base64')}?=`
  const response = await postTasks(url, 'tasks/get', { taskId: id }, EXTENSION, { 'mcp-name': encoded })
  expect(response.status).toBe(200)
  const odd = 'é\u0000'
  const name = `=?base64?${Buffer.from(odd).toString('base64')}?=`
  const reply = await postTasks(url, 'tasks/get', { taskId: odd }, EXTENSION, { 'mcp-name': name })
  expect((await reply.json()) as Json).toMatchObject({ error: { code: -32602 } })
})

test('a server without such tools does not know the methods, whatever the client declares', async () => {
  const { wire, runtime } = await start('memory')
  Object.assign(internalsOf(runtime).services, { tasks: undefined })
  expect((await wire.ask('server/discover')).result.capabilities).not.toHaveProperty('extensions')
  for (const method of ['tasks/get', 'tasks/update', 'tasks/cancel'])
    expect((await wire.ask(method, { taskId: 'x', inputResponses: {} }))['error'].code).toBe(-32601)
  const stream = await wire.listen({ taskIds: ['x'], toolsListChanged: true })
  const [first] = await stream.until(1)
  expect(first!['params'].notifications).toEqual({ toolsListChanged: true })
})

test('in a session of 2025 the methods do not exist, whatever its client lists', async () => {
  const { engine, runtime } = await start('memory')
  const { url } = await runtime.listen({ port: 0 })
  const id = engine.put(ANONYMOUS)
  const session = await openSession(url)
  for (const method of ['tasks/get', 'tasks/update', 'tasks/cancel', 'tasks/result', 'tasks/list']) {
    const reply = await session.request(method, { taskId: id, inputResponses: {} })
    expect(reply.status).toBe(200)
    expect(reply.message?.error?.code).toBe(-32601)
  }
  const initialized = await post(url, {
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: { protocolVersion: '2025-11-25', capabilities: EXTENSION, clientInfo: { name: 'x', version: '1' } },
  })
  expect(initialized.message?.result?.['capabilities']).not.toHaveProperty('tasks')
  expect(initialized.message?.result?.['capabilities']).not.toHaveProperty('extensions')
})

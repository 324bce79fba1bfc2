import { once } from 'node:events'
import * as z from 'zod'
import { expect, test } from 'vitest'
import {
  defineDependency,
  definePrompt,
  defineResource,
  defineServer,
  defineTool,
  type Context,
  type ServerDefinition,
} from '../../src/index.ts'
import { connect } from '../../src/testing/index.ts'
import { outside } from './server.ts'

const NO_WAIT = { baseMs: 1, maxMs: 1 }

/** A server with one tool. */
const withTool = (run: (ctx: Context) => Promise<string>): ServerDefinition =>
  defineServer({
    name: 'guarded',
    version: '1.0.0',
    tools: [defineTool({ name: 'go', description: 'Goes', input: z.object({}), run: (_args, ctx) => run(ctx) })],
  })

test('a handler uses a dependency by `ctx.use`, and gets what the work gives', async () => {
  const crm = defineDependency({ name: 'crm' })
  await using client = await connect(withTool((ctx) => ctx.use(crm, async (_signal, attempt) => `attempt ${attempt}`)))
  expect((await client.callTool('go')).text).toBe('attempt 1')
  expect(client.runtime.dependencies.list()).toEqual([
    { name: 'crm', breaker: 'closed', running: 0, queued: 0, hints: 0 },
  ])
})

test('`use` and `fetch` of a dependency find the runtime of the call that they are made in, in tools, resources, prompts and completions', async () => {
  await using api = await outside((_request, response) => response.end('hello'))
  const crm = defineDependency({ name: 'crm' })
  const hello = async (): Promise<string> => (await crm.fetch(api.url)).text()
  const server = defineServer({
    name: 'guarded',
    version: '1.0.0',
    tools: [defineTool({ name: 'go', description: 'Goes', input: z.object({}), run: hello })],
    resources: [defineResource({ name: 'r', uri: 'r://1', description: 'A resource', read: hello })],
    prompts: [
      definePrompt({
        name: 'p',
        description: 'A prompt',
        arguments: z.object({ word: z.string() }),
        complete: { word: async () => [await hello()] },
        get: hello,
      }),
    ],
  })
  await using client = await connect(server)
  expect((await client.callTool('go')).text).toBe('hello')
  expect(await client.readResource('r://1')).toMatchObject([{ text: 'hello' }])
  expect((await client.getPrompt('p', { word: 'x' })).messages).toMatchObject([{ content: { text: 'hello' } }])
  expect(await client.complete({ prompt: 'p' }, 'word', 'h')).toEqual(['hello'])
  const { body } = await client.runtime.metrics()
  expect(body).toContain('holdfast_dependency_duration_seconds_count{dependency="crm",outcome="ok"} 4')
})

test('what a guard has learnt belongs to a runtime: another one starts clean', async () => {
  const crm = defineDependency({ name: 'crm', retry: false, breaker: { consecutiveFailures: 1 } })
  const server = withTool((ctx) =>
    ctx.use(crm, () => Promise.reject(Object.assign(new Error(), { code: 'ECONNRESET' }))),
  )
  await using first = await connect(server)
  await first.callTool('go')
  expect(first.runtime.dependencies.list()).toMatchObject([{ breaker: 'open' }])
  await using second = await connect(server)
  expect(second.runtime.dependencies.list()).toEqual([])
})

test('the model reads that a dependency is not available, and when to try again', async () => {
  const crm = defineDependency({ name: 'crm', retry: false, breaker: { consecutiveFailures: 1 } })
  await using client = await connect(
    withTool((ctx) => ctx.use(crm, () => Promise.reject(Object.assign(new Error(), { code: 'ECONNREFUSED' })))),
  )
  expect((await client.callTool('go')).text).toContain('failed unexpectedly')
  const refused = await client.callTool('go')
  expect(refused.isError).toBe(true)
  expect(refused.text).toMatch(
    /^crm is not available now: too many calls of it have failed\. Try again in [45] s\. \(request /,
  )
})

test('a task whose dependency is not asked is tried again once it may be asked; one whose time was up is not, since it may have been done', async () => {
  const crm = defineDependency({
    name: 'crm',
    timeoutMs: 50,
    retry: false,
    breaker: { consecutiveFailures: 1, openMs: 2000 },
  })
  const attempts: string[] = []
  const task = { maxAttempts: 2, retryable: (error: unknown) => (error as { code?: string }).code === 'ECONNREFUSED' }
  const run = async (name: string, work: () => Promise<string>, ctx: Context): Promise<string> => {
    attempts.push(name)
    return ctx.use(crm, work)
  }
  const server = defineServer({
    name: 'guarded',
    version: '1.0.0',
    tools: [
      defineTool({
        name: 'refused',
        description: 'Comes while the breaker is open',
        task,
        run: (_args, ctx) => run('refused', async () => 'done', ctx),
      }),
      defineTool({
        name: 'slow',
        description: 'Gets no answer',
        task,
        run: (_args, ctx) => run('slow', () => new Promise(() => undefined), ctx),
      }),
    ],
  })
  await using client = await connect(server, { runtime: { worker: { pollMs: 50, triggers: false } } })
  const slow = await client.callTool('slow')
  expect([slow.isError, slow.text]).toEqual([true, expect.stringContaining('crm did not answer within 50 ms.')])
  expect((await client.callTool('refused')).text).toBe('done')
  expect(attempts).toEqual(['slow', 'refused', 'refused'])
})

test('a client that reads a resource is told the same by an error, with 200: the node is well', async () => {
  const down = (): Promise<never> => Promise.reject(Object.assign(new Error(), { code: 'ECONNREFUSED' }))
  const crm = defineDependency({ name: 'crm', retry: false, timeoutMs: 20, breaker: { consecutiveFailures: 2 } })
  let work: () => Promise<string> = () => new Promise(() => undefined)
  const server = defineServer({
    name: 'guarded',
    version: '1.0.0',
    resources: [
      defineResource({
        name: 'r',
        uri: 'r://1',
        description: 'A resource',
        read: (_uri, ctx) => ctx.use(crm, () => work()),
      }),
    ],
  })
  await using client = await connect(server)
  await expect(client.readResource('r://1')).rejects.toMatchObject({
    code: 50400,
    data: { code: 'dependency_timeout', retryable: false, dependency: 'crm' },
  })
  work = down
  await expect(client.readResource('r://1')).rejects.toMatchObject({ code: -32603 })
  await expect(client.readResource('r://1')).rejects.toMatchObject({
    code: 50300,
    data: {
      code: 'dependency_unavailable',
      retryable: true,
      dependency: 'crm',
      retryAfterMs: expect.any(Number) as number,
    },
  })
  const request = {
    jsonrpc: '2.0',
    id: 1,
    method: 'resources/read',
    params: {
      uri: 'r://1',
      _meta: {
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientCapabilities': {},
      },
    },
  }
  const headers = {
    host: '127.0.0.1',
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'resources/read',
    'mcp-name': 'r://1',
  }
  const answer = await client.runtime.fetch(
    new Request('http://127.0.0.1/mcp', { method: 'POST', headers, body: JSON.stringify(request) }),
  )
  expect(answer.status).toBe(200)
  expect(answer.headers.get('retry-after')).toMatch(/^[1-5]$/)
  expect(await answer.json()).toMatchObject({ error: { code: 50300 } })
})

test('a call that its client cancels closes the connection to the dependency', async () => {
  let closed: Promise<unknown> | undefined
  const asked = Promise.withResolvers<void>()
  await using api = await outside((request) => {
    closed = once(request.socket, 'close')
    asked.resolve()
  })
  const crm = defineDependency({ name: 'crm' })
  await using client = await connect(withTool(async () => (await crm.fetch(api.url)).text()))
  const cancel = new AbortController()
  const call = client.callTool('go', {}, { signal: cancel.signal })
  await asked.promise
  cancel.abort(new Error('enough'))
  await expect(call).rejects.toThrow('enough')
  await closed
  expect(client.runtime.dependencies.list()).toMatchObject([{ breaker: 'closed', running: 0 }])
})

test('background code uses a dependency by the runtime', async () => {
  const crm = defineDependency({ name: 'crm', retry: NO_WAIT })
  await using client = await connect(withTool(async () => ''))
  let attempts = 0
  const value = await client.runtime.use(
    crm,
    () => {
      if (++attempts === 1) throw Object.assign(new Error(), { code: 'ECONNREFUSED' })
      return 7
    },
    {},
  )
  expect([value, attempts]).toEqual([7, 2])
  expect((await client.runtime.metrics()).body).toContain('holdfast_dependency_retries_total{dependency="crm"} 1')
})

test('outside any call a dependency is guarded by the process', async () => {
  const alone = defineDependency({ name: 'alone', timeoutMs: 20, retry: false })
  await expect(alone.use(() => new Promise(() => undefined))).rejects.toMatchObject({
    code: 'dependency_timeout',
    message: 'alone did not answer within 20 ms.',
  })
})

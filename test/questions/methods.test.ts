import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { definePrompt, defineResource, defineServer, defineTool } from '../../src/index.ts'
import { createLogFile } from '../telemetry/log-file.ts'
import {
  accept,
  callModern,
  EventStream,
  LegacyClient,
  modern,
  Nodes,
  type Json,
  type ModernCall,
  type Node,
} from './nodes.ts'

// Prompts and resources ask as tools do; lists and completions can't. And what is seen of it: logs, progress, telemetry.

const NAME = z.object({ name: z.string() })
const question = { message: 'Who?', schema: NAME }
let steps = 0

const server = defineServer({
  name: 'methods',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'talk',
      description: 'Logs and reports progress around questions',
      async run(_args, ctx) {
        ctx.log.info('began')
        ctx.progress(1, 4, 'began')
        await ctx.step('step', () => ctx.log.info('in the step'))
        ctx.log.info('after the step')
        const first = await ctx.elicit('first', question)
        ctx.log.info(`first: ${first.content?.name}`)
        ctx.progress(2, 4, 'first')
        const second = await ctx.elicit('second', question)
        ctx.log.info(`second: ${second.content?.name}`)
        ctx.progress(3, 4, 'second')
        return 'done'
      },
    }),
  ],
  prompts: [
    definePrompt({
      name: 'greeting',
      description: 'Asks whom to greet',
      arguments: z.object({ lang: z.string() }),
      async get({ lang }, ctx) {
        await ctx.step('step', () => ++steps)
        const { content } = await ctx.elicit('who', question)
        return `${lang}: ${content?.name ?? 'nobody'}`
      },
      complete: { lang: async (_value, _chosen, ctx) => [(await ctx.elicit('who', question)).action] },
    }),
  ],
  resources: [
    defineResource({
      uri: 'note://one',
      name: 'one',
      ttlMs: 60_000,
      cacheScope: 'public',
      async read(_uri, ctx) {
        const { content } = await ctx.elicit('who', question)
        return `for ${content?.name ?? 'nobody'}`
      },
    }),
    defineResource({
      uriTemplate: 'list://{name}',
      name: 'lists',
      list: async (ctx) => [{ uri: 'list://a', name: (await ctx.elicit('who', question)).action }],
      read: () => 'x',
    }),
  ],
})

let nodes: Nodes
let one: Node
let two: Node
const log = createLogFile()
beforeAll(async () => {
  nodes = new Nodes(server, { logLevel: 'info', logFd: log.fd })
  one = await nodes.start()
  two = await nodes.start()
})
afterAll(() => nodes.close())
beforeEach(() => {
  steps = 0
})

const ANN = { inputResponses: { who: accept({ name: 'Ann' }) } }

describe('a prompt that asks', () => {
  const call: ModernCall = { method: 'prompts/get', params: { name: 'greeting', arguments: { lang: 'en' } } }

  test('goes on at another node', async () => {
    const first = await modern(one, call)
    expect(first.result).toMatchObject({ resultType: 'input_required', inputRequests: { who: {} } })
    expect(first.result).not.toHaveProperty('ttlMs')
    const leg = { ...call.params, ...ANN, requestState: first.result!.requestState }
    const second = await modern(two, { ...call, params: leg })
    expect(second.result).toMatchObject({ resultType: 'complete', messages: [{ content: { text: 'en: Ann' } }] })
    expect((await modern(one, { ...call, params: leg })).result).toEqual(second.result)
    expect(steps).toBe(1)
    const other = await modern(one, { ...call, params: { ...leg, arguments: { lang: 'et' } } })
    expect(other.error).toMatchObject({ data: { code: 'request_state_mismatch' } })
  })

  test('waits for its answer in a 2025 session', async () => {
    const client = await LegacyClient.open(two)
    const { params } = call
    const stream = new EventStream(await client.request(one, 'prompts/get', params))
    await client.answer(two, (await stream.question()).id, { result: accept({ name: 'Ann' }) })
    expect((await stream.answer()).result).toMatchObject({ messages: [{ content: { text: 'en: Ann' } }] })
  })

  test('tells a client that can not be asked what it lacks', async () => {
    expect(await modern(one, { ...call, capabilities: {} })).toMatchObject({
      status: 400,
      error: {
        code: -32021,
        data: { code: 'client_capability_missing', requiredCapabilities: { elicitation: { form: {} } } },
      },
    })
    const client = await LegacyClient.open(two, '2025-11-25', { capabilities: {} })
    const response = await client.request(one, 'prompts/get', call.params)
    expect(await response.json()).toMatchObject({
      error: { code: -32603, data: { code: 'client_capability_missing' } },
    })
  })
})

describe('a resource that asks', () => {
  const call: ModernCall = { method: 'resources/read', params: { uri: 'note://one' } }

  test('is for this caller and this time alone, whatever it says of itself', async () => {
    const first = await modern(one, call)
    expect(first.result).toMatchObject({ resultType: 'input_required' })
    const leg = { ...call.params, ...ANN, requestState: first.result!.requestState }
    expect((await modern(two, { ...call, params: leg })).result).toMatchObject({
      contents: [{ text: 'for Ann' }],
      ttlMs: 0,
      cacheScope: 'private',
    })
  })

  test('also where the answer came without being asked for', async () => {
    expect((await modern(two, { ...call, params: { ...call.params, ...ANN } })).result).toMatchObject({
      ttlMs: 0,
      cacheScope: 'private',
    })
  })
})

test.each([
  ['resources/list', {}],
  ['completion/complete', { ref: { type: 'ref/prompt', name: 'greeting' }, argument: { name: 'lang', value: 'e' } }],
] as const)('%s can not ask, and the log says so', async (method, params) => {
  const { error } = await modern(one, { method, params: params as Json })
  expect(error).toMatchObject({ code: -32603, data: { code: 'internal_error' } })
  await log.line((line) => JSON.stringify(line).includes(`not within ${method}`))
})

describe('what is seen of a call that asks', () => {
  test('is said once: the part that runs again is silent, in logs and in progress', async () => {
    const meta = { progressToken: 'p', 'io.modelcontextprotocol/logLevel': 'info' }
    const said: unknown[] = []
    const take = (messages: Json[]): number =>
      said.push(
        ...messages.flatMap(({ method, params }) =>
          method === undefined ? [] : [(params as Json).data ?? (params as Json).progress],
        ),
      )
    const first = await callModern(one, 'talk', {}, {}, { meta })
    take(first.messages)
    expect(said).toEqual(['began', 1, 'in the step', 'after the step'])
    const requestState = (answer: { result?: Json }): Json => ({ requestState: answer.result!.requestState })
    const second = await callModern(
      two,
      'talk',
      {},
      { ...requestState(first), inputResponses: { first: accept({ name: 'Ann' }) } },
      { meta },
    )
    take(second.messages)
    const third = await callModern(
      one,
      'talk',
      {},
      { ...requestState(second), inputResponses: { second: accept({ name: 'Bob' }) } },
      { meta },
    )
    take(third.messages)
    expect(said).toEqual(['began', 1, 'in the step', 'after the step', 'first: Ann', 2, 'second: Bob', 3])
  })

  test('is no error: legs that end in a question are ordinary operations, in metrics and in the log', async () => {
    const logged = createLogFile()
    const node = await nodes.start({ logFd: logged.fd })
    const first = await callModern(node, 'talk')
    const line = await logged.line(({ msg }) => msg === 'request')
    expect(line).toMatchObject({ level: 30, method: 'tools/call', target: 'talk', status: 200 })
    expect(line).not.toHaveProperty('error')
    const { body } = await node.runtime.metrics()
    expect(body).toContain('holdfast_questions_total{method="elicitation/create"}')
    expect(
      body
        .match(/^mcp_server_operation_duration_seconds_count\{.*talk.*$/gm)!
        .every((line) => !/error_type="[^"]/.test(line)),
    ).toBe(true)
    expect(first.result!.isError).toBeUndefined()
  })
})

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { defineServer, defineTool, type RuntimeOptions } from '../../src/index.ts'
import { accept, LegacyClient, Nodes, type Message, type Node } from './nodes.ts'

// Sessions of the 2025 revisions: the node that waits for an answer is not the one that the answer reaches.

let outcomes: string[]

const NAME = z.object({ name: z.string().min(2) })
const server = defineServer({
  name: 'sessions',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'greet',
      description: 'Asks for a name',
      async run(_args, ctx) {
        try {
          const { action, content } = await ctx.elicit('who', { message: 'Who?', schema: NAME })
          outcomes.push(action)
          return action === 'accept' ? `Hello ${content.name}` : `Nobody (${action})`
        } catch (error) {
          outcomes.push((error as { code?: string }).code ?? String(error))
          throw error
        }
      },
    }),
    defineTool({
      name: 'sample',
      description: 'Asks the model',
      run: async (_args, ctx) => (await ctx.sample('text', { messages: 'Hi', maxTokens: 5 })).text,
    }),
    defineTool({
      name: 'folders',
      description: 'Asks for folders',
      run: async (_args, ctx) => (await ctx.roots('folders')).map(({ uri }) => uri).join(),
    }),
    defineTool({
      name: 'demanding',
      description: 'Needs forms',
      needs: ['elicitation'],
      run: () => 'never',
    }),
  ],
})

let nodes: Nodes
let one: Node
let two: Node
const start = async (options: RuntimeOptions = {}): Promise<void> => {
  nodes = new Nodes(server, options)
  one = await nodes.start()
  two = await nodes.start()
}
beforeEach(() => {
  outcomes = []
})
afterEach(() => nodes.close())

const ANN = { result: accept({ name: 'Ann' }) }
const textIn = (message: Message): string => message.result!.content![0]!.text
const metrics = async (node: Node): Promise<string> => (await node.runtime.metrics()).body

describe('an answer that reaches another node', () => {
  beforeEach(() => start())

  test('finds the handler that waits', async () => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet', {}, 7)
    const { id, method, params } = await stream.question()
    expect(method).toBe('elicitation/create')
    expect(params).toMatchObject({ mode: 'form', message: 'Who?' })
    expect(await client.answer(two, id, ANN)).toBe(202)
    const answer = await stream.answer()
    expect(answer.id).toBe(7)
    expect(textIn(answer)).toBe('Hello Ann')
  })

  test('is taken once, where both nodes get one', async () => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    const { id } = await stream.question()
    const both = await Promise.all([
      client.answer(two, id, ANN),
      client.answer(one, id, { result: accept({ name: 'Bob' }) }),
      client.answer(two, id, { result: accept({ name: 'Cid' }) }),
    ])
    expect(both).toEqual([202, 202, 202])
    expect(textIn(await stream.answer())).toMatch(/^Hello (Ann|Bob|Cid)$/)
    expect(outcomes).toEqual(['accept'])
    expect(await client.answer(one, id, ANN)).toBe(202)
    expect(await metrics(one)).toMatch(/holdfast_late_answers_total\{reason="late"\} [1-9]/)
    expect(outcomes).toEqual(['accept'])
  })

  test('in another session is none', async () => {
    const client = await LegacyClient.open(two)
    const other = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    const { id } = await stream.question()
    for (const node of [one, two]) expect(await other.answer(node, id, { result: accept({ name: 'Eve' }) })).toBe(202)
    await nodes.clock.advance(5000)
    expect(outcomes).toEqual([])
    await client.answer(two, id, ANN)
    expect(textIn(await stream.answer())).toBe('Hello Ann')
  })

  test('with a made-up id is dropped, and leaves nothing in the store', async () => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    const { id } = await stream.question()
    let writes = 0
    const set = nodes.memory.set.bind(nodes.memory)
    nodes.memory.set = (...args) => {
      writes++
      return set(...args)
    }
    const text = id as string
    const made = [
      `h.${'a'.repeat(8)}.1.${'b'.repeat(12)}`,
      `${text}x`,
      text.slice(0, -1),
      text.toUpperCase(),
      '',
      7,
      null,
      { id },
      [text],
    ]
    for (const one of made) expect(await client.answer(two, one, ANN), JSON.stringify(one)).toBe(202)
    expect(writes).toBe(0)
    expect(outcomes).toEqual([])
    expect(await metrics(two)).toMatch(/holdfast_late_answers_total\{reason="unknown"\} [1-9]/)
    await client.answer(two, id, ANN)
    expect(textIn(await stream.answer())).toBe('Hello Ann')
    expect(writes).toBe(1)
  })

  test('of an error is what the handler hears', async () => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    const { id } = await stream.question()
    await client.answer(two, id, { error: { code: -1, message: 'The user is away' } })
    expect(textIn(await stream.answer())).toMatch(/answered elicitation\/create with an error: "The user is away"/)
    expect(outcomes).toEqual(['client_refused'])
  })

  test('that does not fit is asked again, three times at most', async () => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    for (const content of [{ name: 'A' }, { nam: 'Ann' }]) {
      const { id } = await stream.question()
      await client.answer(two, id, { result: accept(content) })
    }
    const { id } = await stream.question()
    await client.answer(two, id, { result: { action: 'perhaps' } })
    expect(textIn(await stream.answer())).toMatch(/answer to "who" does not fit: `action` must be/)
    const asked = stream.messages.filter(({ method }) => method === 'elicitation/create').map((message) => message.id)
    expect(new Set(asked).size).toBe(3)
  })

  test('that fits at the second asking is taken', async () => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    await client.answer(two, (await stream.question()).id, { result: accept({}) })
    await client.answer(one, (await stream.question()).id, ANN)
    expect(textIn(await stream.answer())).toBe('Hello Ann')
  })

  test.each([
    ['sample', { role: 'assistant', content: { type: 'text', text: 'Ho' }, model: 'm' }, 'Ho'],
    ['folders', { roots: [{ uri: 'file:///a' }] }, 'file:///a'],
  ])('finds the handler of %s', async (tool, result, text) => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, tool)
    await client.answer(two, (await stream.question()).id, { result })
    expect(textIn(await stream.answer())).toBe(text)
  })

  test('in a batch of 2025-03-26 is taken like any other', async () => {
    const client = await LegacyClient.open(two, '2025-03-26')
    const stream = await client.call(one, 'folders')
    const { id } = await stream.question()
    const response = await client.send(two, [
      { jsonrpc: '2.0', id, result: { roots: [{ uri: 'file:///b' }] } },
      { jsonrpc: '2.0', id: 'p', method: 'ping' },
    ])
    expect(await response.json()).toEqual([{ jsonrpc: '2.0', id: 'p', result: {} }])
    expect(textIn(await stream.answer())).toBe('file:///b')
  })
})

describe('with something broken between the nodes', () => {
  beforeEach(() => start())

  test('an answer whose word is lost is found by looking, within two seconds', async () => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    const { id } = await stream.question()
    two.faults.losesMessages = true
    await client.answer(two, id, ANN)
    expect(outcomes).toEqual([])
    const sinceMs = nodes.clock.monotonic()
    await nodes.pass(() => outcomes.length > 0)
    expect(nodes.clock.monotonic() - sinceMs).toBeLessThanOrEqual(2500)
    expect(textIn(await stream.answer())).toBe('Hello Ann')
  })

  test('also where words of other answers keep coming', async () => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    const { id } = await stream.question()
    two.faults.losesMessages = true
    await client.answer(two, id, ANN)
    two.faults.losesMessages = false
    const sinceMs = nodes.clock.monotonic()
    for (let call = 0; call < 8 && !outcomes.includes('accept'); call++) {
      const other = await client.call(one, 'greet')
      await client.answer(two, (await other.question()).id, { result: { action: 'decline' } })
      await other.answer()
      await nodes.clock.advance(600)
    }
    expect(outcomes).toContain('accept')
    expect(nodes.clock.monotonic() - sinceMs).toBeLessThanOrEqual(3000)
    await stream.answer()
  })

  test('a bus that can not be subscribed to delays the answer, and is counted', async () => {
    one.faults.cannotSubscribe = true
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    const { id } = await stream.question()
    await client.answer(two, id, ANN)
    await nodes.pass(() => outcomes.length > 0)
    expect(textIn(await stream.answer())).toBe('Hello Ann')
    expect(await metrics(one)).toContain('holdfast_degraded_total{feature="inbox"} 1')
    one.faults.cannotSubscribe = false
    const again = await client.call(one, 'greet')
    await client.answer(two, (await again.question()).id, ANN)
    expect(textIn(await again.answer())).toBe('Hello Ann')
  })

  test('an answer that can not be stored is refused for now, and taken when it is sent again', async () => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    const { id } = await stream.question()
    const failing = nodes.memory.set.bind(nodes.memory)
    nodes.memory.set = () => Promise.reject(Object.assign(new Error('It is down.'), { code: 'backend_failed' }))
    expect(await client.answer(two, id, ANN)).toBe(503)
    nodes.memory.set = failing
    expect(await client.answer(two, id, ANN)).toBe(202)
    expect(textIn(await stream.answer())).toBe('Hello Ann')
  })

  test('a batch of answers that can not be stored is refused for now too', async () => {
    const client = await LegacyClient.open(two, '2025-03-26')
    const stream = await client.call(one, 'folders')
    const { id } = await stream.question()
    const batch = [{ jsonrpc: '2.0', id, result: { roots: [] } }]
    const failing = nodes.memory.set.bind(nodes.memory)
    nodes.memory.set = () => Promise.reject(new Error('It is down.'))
    expect((await client.send(two, batch)).status).toBe(503)
    nodes.memory.set = failing
    expect((await client.send(two, batch)).status).toBe(202)
    expect(textIn(await stream.answer())).toBe('')
  })

  test('a node that reads no answers because the store is down goes on looking', async () => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    const { id } = await stream.question()
    one.faults.isStoreDown = true
    await client.answer(two, id, ANN)
    await nodes.clock.advance(5000)
    expect(outcomes).toEqual([])
    one.faults.isStoreDown = false
    await nodes.pass(() => outcomes.length > 0)
    expect(textIn(await stream.answer())).toBe('Hello Ann')
  })
})

describe('an answer', () => {
  test('that could not be read is looked for again at once, and not when it would have been anyway', async () => {
    await start()
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    const { id } = await stream.question()
    two.faults.losesMessages = one.faults.isStoreDown = true
    await client.answer(two, id, ANN)
    const isFailed = async (): Promise<boolean> => (await metrics(one)).includes('{feature="answer"}')
    while (!(await isFailed())) await nodes.clock.advance(100)
    one.faults.isStoreDown = false
    await nodes.clock.advance(600)
    await expect.poll(() => outcomes).toHaveLength(1)
    expect(textIn(await stream.answer())).toBe('Hello Ann')
  })
})

describe('a question', () => {
  test('of a node that died ends, for who resumes its stream, with an error that says to call again', async () => {
    await start()
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet', {}, 7)
    const { id } = await stream.question()
    await stream.drop()
    one.faults.isStoreDown = one.faults.losesMessages = true // nothing of it reaches the others any more
    expect(await client.answer(two, id, ANN)).toBe(202)
    await nodes.settled(nodes.clock.advance(120_000))
    const resumed = await client.resume(two, stream.lastId)
    const answer = await resumed.answer()
    expect(answer).toMatchObject({
      id: 7,
      error: { code: -32603, data: { code: 'stream_interrupted', retryable: true } },
    })
    await nodes.settled(nodes.clock.advance(16 * 60_000), 1000)
    expect([...nodes.written].some((key) => key.startsWith('answer:'))).toBe(true)
    expect((await nodes.kept()).filter((key) => !key.startsWith('node:'))).toEqual([])
  })

  test('goes with the call that is cancelled, and its answer then is too late', async () => {
    await start()
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet', {}, 7)
    const { id } = await stream.question()
    await client.send(two, { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 7 } })
    await nodes.pass(() => outcomes.length > 0)
    expect(outcomes).toEqual(['handler_aborted'])
    expect(await client.answer(one, id, ANN)).toBe(202)
    expect(await metrics(one)).toContain('holdfast_late_answers_total{reason="late"} 1')
    expect(await metrics(one)).toContain('holdfast_running_requests 0')
  })

  test('goes with its session, whichever node is told that the session is over', async () => {
    await start()
    const client = await LegacyClient.open(two)
    const others = await LegacyClient.open(two)
    const stream = await others.call(one, 'greet')
    const { id } = await stream.question()
    const ended = await client.call(one, 'greet')
    await ended.question()
    const response = await fetch(two.url, { method: 'DELETE', headers: { 'mcp-session-id': client.session } })
    expect(response.status).toBe(204)
    await nodes.pass(() => outcomes.length > 0)
    expect(nodes.clock.monotonic()).toBeLessThan(4000)
    expect(outcomes).toEqual(['handler_aborted'])
    await others.answer(two, id, ANN)
    expect(textIn(await stream.answer())).toBe('Hello Ann')
  })

  test('that nobody answers in time counts as cancelled, and the client is told to take it away', async () => {
    await start({ questionTtlMs: 60_000 })
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    const { id } = await stream.question()
    await nodes.pass(() => outcomes.length > 0, 1000)
    expect(nodes.clock.monotonic()).toBeGreaterThan(60_000)
    const cancelled = await stream.next(({ method }) => method === 'notifications/cancelled')
    expect(cancelled.params).toMatchObject({ requestId: id })
    expect(textIn(await stream.answer())).toBe('Nobody (cancel)')
  })

  test('to the model that nobody answers in time is a failure that the tool tells', async () => {
    await start({ questionTtlMs: 60_000 })
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'sample')
    await stream.question()
    const answer = await nodes.settled(stream.answer(), 1000)
    expect(answer.result).toMatchObject({ isError: true })
    expect(textIn(answer)).toMatch(/did not answer sampling\/createMessage in time/)
  })

  test.each([
    ['2025-11-25', true],
    ['2025-06-18', true],
    ['2025-03-26', false],
  ])('in the words of %s', async (revision, canAsk) => {
    await start()
    const client = await LegacyClient.open(two, revision)
    const stream = await client.call(one, 'greet')
    if (!canAsk) return expect(textIn(await stream.answer())).toMatch(/needs a client with `elicitation`/)
    const { id, params } = await stream.question()
    expect(params!.mode).toBe(revision === '2025-11-25' ? 'form' : undefined)
    expect(params!.requestedSchema).toMatchObject({ type: 'object', required: ['name'] })
    await client.answer(two, id, ANN)
    expect(textIn(await stream.answer())).toBe('Hello Ann')
  })

  test('that a tool needs, and its client can not be asked, is an error result before anything runs', async () => {
    await start()
    const client = await LegacyClient.open(two, '2025-11-25', { capabilities: {} })
    const stream = await client.call(one, 'demanding')
    const answer = await stream.answer()
    expect(answer.result!.isError).toBe(true)
    expect(textIn(answer)).toMatch(/needs a client with `elicitation`; yours, at revision 2025-11-25/)
  })
})

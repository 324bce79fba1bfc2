// What 2026-07-28 asks of a server over HTTP, where the conformance suite does not look.
import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { eventually } from './eventually.ts'
import { modern, modernInit, open, post, type Stream } from './raw.ts'
import { withServer } from './with-server.ts'

const server = withServer()
const call = { name: 'add', arguments: { a: 1, b: 2 } }
const SERVER_INFO = 'io.modelcontextprotocol/serverInfo'
const SUBSCRIPTION_ID = 'io.modelcontextprotocol/subscriptionId'

describe('results', () => {
  test.each([
    ['server/discover', {}],
    ['tools/list', {}],
    ['prompts/list', {}],
    ['resources/list', {}],
    ['resources/templates/list', {}],
    ['resources/read', { uri: 'doc://guide' }],
  ])('%s says how long and for whom it may be kept', async (method, params) => {
    const { message } = await modern(server.url, method, params)
    expect(message?.result).toMatchObject({ resultType: 'complete', ttlMs: expect.any(Number) })
    expect(Number.isInteger(message!.result!['ttlMs'])).toBe(true)
    expect(message!.result!['ttlMs']).toBeGreaterThanOrEqual(0)
    expect(['public', 'private']).toContain(message!.result!['cacheScope'])
    expect(message!.result!['_meta'][SERVER_INFO]).toMatchObject({ name: 'fixture', version: '1.2.3' })
  })

  test.each([
    ['tools/call', call],
    ['prompts/get', { name: 'greet', arguments: { name: 'Ada' } }],
    ['completion/complete', { ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'name', value: '' } }],
  ])('%s says that it is complete, who answered, and nothing of keeping', async (method, params) => {
    const { message } = await modern(server.url, method, params)
    expect(message?.result).toMatchObject({ resultType: 'complete', _meta: { [SERVER_INFO]: { name: 'fixture' } } })
    expect(message!.result).not.toHaveProperty('ttlMs')
    expect(message!.result).not.toHaveProperty('cacheScope')
  })

  test('an answer carries no session id', async () => {
    expect((await modern(server.url, 'server/discover')).headers.has('mcp-session-id')).toBe(false)
  })
})

describe('ids', () => {
  test.each([0, -7, 2 ** 53 - 1, '', 'a string', '1'])('the id %j comes back as it was sent', async (id) => {
    expect((await modern(server.url, 'tools/call', call, { id })).message?.id).toBe(id)
  })

  test.each([null, 1.5, {}, [1], true])('the id %j is no id: 400 -32600 without an id', async (id) => {
    const reply = await modern(server.url, 'tools/list', {}, { id })
    expect(reply).toMatchObject({ status: 400, message: { error: { code: -32600 } } })
    expect(reply.message).not.toHaveProperty('id')
  })
})

describe('bodies', () => {
  const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/list' }

  test.each([
    ['text', 'hello', -32700],
    ['half an object', '{"jsonrpc":', -32700],
    ['nothing', '', -32700],
    ['a number', '7', -32600],
    ['another version of JSON-RPC', '{"jsonrpc":"1.0","id":1,"method":"tools/list"}', -32600],
    ['a request without a method', '{"jsonrpc":"2.0","id":1}', -32600],
    ['a response', '{"jsonrpc":"2.0","id":1,"result":{}}', -32600],
    ['a batch', JSON.stringify([JSON.parse(modernInit('tools/list').body as string)]), -32600],
  ])('%s is refused with 400', async (_what, body, code) => {
    const reply = await post(server.url, body, headers)
    expect(reply).toMatchObject({ status: 400, message: { jsonrpc: '2.0', error: { code } } })
    expect(reply.message?.id).not.toBeNull()
  })

  test('bytes that are not UTF-8 are refused as unparsable', async () => {
    const response = await fetch(server.url, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: new Uint8Array([0x22, 0xff, 0xfe, 0x22]),
    })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { code: -32700 } })
  })

  test('another content type is refused with 415; parameters of the right one are not', async () => {
    const type = (value: string) => modern(server.url, 'tools/list', {}, { headers: { 'content-type': value } })
    expect((await type('text/plain')).status).toBe(415)
    expect((await type('application/json; charset=utf-8')).status).toBe(200)
    expect((await type('Application/JSON')).status).toBe(200)
  })

  test.each(['notifications/cancelled', 'notifications/anything'])(
    '%s is answered 202 without a body',
    async (method) => {
      const params = { requestId: 1, _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' } }
      const message = { jsonrpc: '2.0', method, params }
      const reply = await post(server.url, message, { ...headers, 'mcp-method': method })
      expect(reply).toMatchObject({ status: 202, text: '' })
    },
  )
})

describe('request metadata', () => {
  test.each([
    ['no capabilities', { clientCapabilities: undefined }],
    ['capabilities that are no object', { clientCapabilities: [] }],
  ])('%s: 400 -32602', async (_what, meta) => {
    const reply = await modern(server.url, 'tools/list', {}, { id: 5, meta })
    expect(reply).toMatchObject({ status: 400, message: { id: 5, error: { code: -32602 } } })
  })

  test('a client need not say who it is', async () => {
    expect((await modern(server.url, 'tools/call', call, { meta: { clientInfo: undefined } })).status).toBe(200)
  })

  test('a log level that does not exist is refused', async () => {
    const reply = await modern(server.url, 'tools/call', { name: 'chat' }, { meta: { logLevel: 'loud' } })
    expect(reply.message?.error?.code).toBe(-32602)
  })

  test.each([
    ['no version', { 'mcp-protocol-version': undefined }],
    ['no method', { 'mcp-method': undefined }],
    ['no name', { 'mcp-name': undefined }],
    ['another name', { 'mcp-name': 'crash' }],
    ['a name in other letters', { 'mcp-name': 'ADD' }],
    ['a name in base64 with bad padding', { 'mcp-name': '=?base64?YWRk=?=' }],
    ['a name in base64 that says something else', { 'mcp-name': '=?base64?c3Vi?=' }],
    ['a name that looks like base64 and is not meant so', { 'mcp-name': '=?base64??=' }],
  ])('headers with %s: 400 -32020, with the id', async (_what, headers) => {
    const reply = await modern(server.url, 'tools/call', call, { id: 'h', headers })
    expect(reply).toMatchObject({ status: 400, message: { id: 'h', error: { code: -32020 } } })
  })

  test.each(['=?base64?YWRk?=', '  add '])('the name may come as %j', async (name) => {
    expect((await modern(server.url, 'tools/call', call, { headers: { 'mcp-name': name } })).status).toBe(200)
  })

  test('a name is compared as what it stands for, not as it is spelt', async () => {
    const name = '=?base64?YWRk?=' // stands for "add": a proxy would see another tool than the one in the body
    const reply = await modern(server.url, 'tools/call', { name, arguments: {} }, { headers: { 'mcp-name': name } })
    expect(reply).toMatchObject({ status: 400, message: { error: { code: -32020 } } })
  })

  test('a header with characters that headers may not hold is refused', async () => {
    const headers = { 'mcp-param-region': 'Zürich' }
    const params = { name: 'routed', arguments: { region: 'Zürich' } }
    const reply = await modern(server.url, 'tools/call', params, { headers })
    expect(reply).toMatchObject({ status: 400, message: { error: { code: -32020 } } })
  })

  test("a resource's name is its URI", async () => {
    const read = (name: string) =>
      modern(server.url, 'resources/read', { uri: 'doc://guide' }, { headers: { 'mcp-name': name } })
    expect((await read('doc://guide')).status).toBe(200)
    expect((await read('guide')).message?.error?.code).toBe(-32020)
  })

  test('a header for an argument that is null or missing is not asked for', async () => {
    const reply = await modern(server.url, 'tools/call', { name: 'routed', arguments: {} })
    expect(reply.status).toBe(200)
    expect(reply.message?.error?.code).not.toBe(-32020)
  })
})

describe('methods', () => {
  const removed = [
    'ping',
    'logging/setLevel',
    'resources/subscribe',
    'resources/unsubscribe',
    'tasks/result',
    'tasks/list',
  ]
  test.each([...removed, 'initialize', 'made/up', 'constructor'])('%s is not found: 404 -32601', async (method) => {
    const reply = await modern(server.url, method, { level: 'info', uri: 'doc://guide' }, { id: 6 })
    expect(reply).toMatchObject({ status: 404, message: { id: 6, error: { code: -32601 } } })
  })

  test.each([
    ['tools/list', { cursor: 'made-up' }],
    ['tools/list', { cursor: 7 }],
    ['tools/call', { arguments: {} }],
    ['tools/call', { name: 'add', arguments: [1, 2] }],
    ['prompts/get', { name: 'greet', arguments: { name: 7 } }],
    ['completion/complete', { ref: { type: 'ref/nothing' }, argument: { name: 'name', value: '' } }],
    ['completion/complete', { ref: { type: 'ref/prompt', name: 'greet' } }],
    [
      'completion/complete',
      {
        ref: { type: 'ref/prompt', name: 'greet' },
        argument: { name: 'tone', value: '' },
        context: { arguments: { name: 7 } },
      },
    ],
    ['subscriptions/listen', {}],
    ['subscriptions/listen', { notifications: { resourceSubscriptions: 'doc://guide' } }],
  ])('%s with %j: -32602', async (method, params) => {
    expect((await modern(server.url, method, params)).message?.error?.code).toBe(-32602)
  })
})

describe('streams', () => {
  const progressing = modernInit('tools/call', { name: 'work' }, { meta: { progressToken: 'p' } })

  test('a call that reports progress is answered by a stream: progress, the response, the end', async () => {
    await using stream = await open(server.url, progressing)
    expect(stream.headers.get('content-type')).toMatch(/^text\/event-stream/)
    expect(stream.headers.get('x-accel-buffering')).toBe('no')
    for (let progress = 1; progress <= 3; progress++) {
      const event = await stream.next()
      expect(event?.json).toMatchObject({
        method: 'notifications/progress',
        params: { progressToken: 'p', progress, total: 3, message: `step ${progress}` },
      })
      expect(event?.json).not.toHaveProperty('id')
    }
    expect((await stream.next())?.json).toMatchObject({ id: 1, result: { resultType: 'complete' } })
    expect(await stream.next()).toBeUndefined()
  })

  test('nothing on it can be resumed: no event has an id, a retry time, or no data', async () => {
    await using stream = await open(server.url, progressing)
    for (let event = await stream.next(); event; event = await stream.next()) {
      expect(event).not.toHaveProperty('id')
      expect(event).not.toHaveProperty('retry')
      expect(event.data).not.toBe('')
    }
  })

  test('a client that takes no streams gets none', async () => {
    const reply = await modern(
      server.url,
      'tools/call',
      { name: 'work' },
      {
        meta: { progressToken: 1 },
        headers: { accept: 'application/json' },
      },
    )
    expect(reply).toMatchObject({ status: 200, message: { result: { content: [{ text: 'done' }] } } })
    expect(reply.events).toBeUndefined()
  })

  test('a client that takes neither kind of answer is refused with 406', async () => {
    expect((await modern(server.url, 'tools/list', {}, { headers: { accept: 'text/html' } })).status).toBe(406)
    expect((await modern(server.url, 'tools/list', {}, { headers: { accept: '*/*' } })).status).toBe(200)
  })

  test.each([true, false])('a client that disconnects cancels its call (already streaming: %s)', async (progress) => {
    const key = randomUUID()
    const state = async () =>
      (await modern(server.url, 'tools/call', { name: 'state', arguments: { key } })).message?.result?.['content'][0]
        .text
    const waiting = modernInit(
      'tools/call',
      { name: 'wait', arguments: { key, progress } },
      { meta: { progressToken: 1 } },
    )
    const disconnect = new AbortController()
    const { headers, ...init } = waiting
    const answer = fetch(server.url, { ...init, headers: headers as Record<string, string>, signal: disconnect.signal })
    const aborted = expect(answer.then((response) => response.text())).rejects.toThrow()
    await eventually(state).toBe('running')
    disconnect.abort()
    await aborted
    await eventually(state).toBe('aborted')
  })
})

describe('subscriptions/listen', () => {
  const listen = (notifications: Record<string, unknown>, id: unknown = 'sub'): Promise<Stream> =>
    open(server.url, modernInit('subscriptions/listen', { notifications }, { id }))
  const run = (name: string, args: Record<string, unknown> = {}) =>
    modern(server.url, 'tools/call', { name, arguments: args })

  test.each(['sub', 7])('acknowledges first, and marks every message with the id %j', async (id) => {
    await using stream = await listen({ toolsListChanged: true }, id)
    expect(stream.status).toBe(200)
    expect((await stream.next())?.json).toMatchObject({
      method: 'notifications/subscriptions/acknowledged',
      params: { notifications: { toolsListChanged: true }, _meta: { [SUBSCRIPTION_ID]: id } },
    })
    await run('change')
    expect((await stream.next())?.json).toMatchObject({
      method: 'notifications/tools/list_changed',
      params: { _meta: { [SUBSCRIPTION_ID]: id } },
    })
  })

  test('sends what was asked for and nothing else', async () => {
    await using stream = await listen({ promptsListChanged: true, resourceSubscriptions: ['doc://guide'] })
    await stream.next()
    await run('touch', { uri: 'doc://logo' })
    await run('change')
    await run('touch', { uri: 'doc://guide' })
    expect((await stream.next())?.json?.method).toBe('notifications/prompts/list_changed')
    expect((await stream.next())?.json).toMatchObject({
      method: 'notifications/resources/updated',
      params: { uri: 'doc://guide' },
    })
  })

  test('honours only what it knows, and what is asked for', async () => {
    await using stream = await listen({ toolsListChanged: false, resourcesListChanged: true, moonPhase: true })
    const acknowledged = (await stream.next())?.json?.params?.['notifications']
    expect(acknowledged).toEqual({ resourcesListChanged: true })
  })

  test('each of several streams gets a change once', async () => {
    await using first = await listen({ toolsListChanged: true }, 1)
    await using second = await listen({ toolsListChanged: true, promptsListChanged: true }, 2)
    await first.next()
    await second.next()
    await run('change')
    const tools = { method: 'notifications/tools/list_changed' }
    expect((await first.next())?.json).toMatchObject(tools)
    const both = [(await second.next())?.json?.method, (await second.next())?.json?.method]
    expect(new Set(both)).toEqual(new Set(['notifications/prompts/list_changed', 'notifications/tools/list_changed']))
    await run('change')
    expect((await first.next())?.json).toMatchObject(tools)
  })
})

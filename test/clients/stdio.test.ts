// stdio as awkward clients use it: both eras in one process, and messages out of turn.
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CLI } from '../conformance/server.ts'
import { eventually } from './eventually.ts'
import { initializeMessage, MODERN, type Message } from './raw.ts'
import { FIXTURE } from './with-server.ts'

/** A server on the other end of two pipes. */
function start(cwd: string) {
  const child = spawn(process.execPath, [CLI, 'serve', FIXTURE, '--stdio'], { cwd, stdio: ['pipe', 'pipe', 'ignore'] })
  const lines: string[] = []
  const messages: Message[] = []
  const waiting = new Set<() => void>()
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line)
    messages.push(JSON.parse(line) as Message)
    for (const check of waiting) check()
  })
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  return {
    child,
    exited,
    /** Everything that came over stdout, line by line. */
    lines,
    messages,
    write: (message: unknown) =>
      child.stdin.write((typeof message === 'string' ? message : JSON.stringify(message)) + '\n'),
    /** The first message that fits, also one that came already. */
    find: (fits: (message: Message) => boolean) =>
      new Promise<Message>((resolve) => {
        const check = (): void => {
          const found = messages.find(fits)
          if (!found) return
          waiting.delete(check)
          resolve(found)
        }
        waiting.add(check)
        check()
      }),
  }
}

const meta = (more: Record<string, unknown> = {}) => ({
  'io.modelcontextprotocol/protocolVersion': MODERN,
  'io.modelcontextprotocol/clientCapabilities': {},
  ...more,
})
const request = (id: unknown, method: string, params: Record<string, unknown> = {}) => ({
  jsonrpc: '2.0',
  id,
  method,
  params,
})
const modern = (id: unknown, method: string, params: Record<string, unknown> = {}, more = {}) =>
  request(id, method, { ...params, _meta: meta(more) })

describe('stdio', () => {
  let dir: string
  let server: ReturnType<typeof start>
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-stdio-'))
    server = start(dir)
  })
  afterEach(async () => {
    server.child.kill('SIGKILL')
    await server.exited
    await rm(dir, { recursive: true, force: true })
  })
  const ask = (message: { id: unknown }): Promise<Message> => {
    server.write(message)
    return server.find(({ id, method }) => id === message.id && method === undefined)
  }

  test('each message is served in its own era, whatever came before', async () => {
    expect((await ask(modern(1, 'tools/list'))).result).toMatchObject({ resultType: 'complete' })
    expect((await ask(initializeMessage('2025-06-18', 2))).result).toMatchObject({ protocolVersion: '2025-06-18' })
    server.write({ jsonrpc: '2.0', method: 'notifications/initialized' })
    const old = (await ask(request(3, 'tools/list'))).result
    expect(old).not.toHaveProperty('resultType')
    expect((await ask(modern(4, 'tools/list'))).result).toMatchObject({ resultType: 'complete' })
    const whoami = (await ask(request(5, 'tools/call', { name: 'whoami' }))).result
    expect(whoami?.['content'][0].text).toContain('2025-06-18')
  })

  test('before initialize, a request without a claim hears of both ways in, ping is answered, notifications are not', async () => {
    const refused = await ask(request(1, 'tools/list'))
    expect(refused.error).toMatchObject({ code: -32602 })
    expect(refused.error?.message).toMatch(/io\.modelcontextprotocol\/protocolVersion/)
    expect(refused.error?.message).toMatch(/initialize/)
    server.write({ jsonrpc: '2.0', method: 'notifications/anything' })
    expect((await ask(request(2, 'ping'))).result).toEqual({})
    expect(server.messages).toHaveLength(2)
  })

  test('a probe without a claim is no sign of 2026-07-28', async () => {
    expect([-32020, -32021, -32022]).not.toContain((await ask(request(1, 'server/discover'))).error?.code)
  })

  test('unknown versions are refused with those that are served', async () => {
    const reply = await ask(modern(1, 'tools/list', {}, { 'io.modelcontextprotocol/protocolVersion': 'v999' }))
    expect(reply.error).toMatchObject({ code: -32022, data: { supported: [MODERN], requested: 'v999' } })
  })

  test('what is no message is answered, or passed over, and the next message is served', async () => {
    server.write('this is no JSON')
    server.write('')
    server.write('[]')
    server.write({ jsonrpc: '2.0', id: 77, result: {} })
    server.write({ jsonrpc: '2.0', id: null, method: 'tools/list' })
    expect((await ask(modern(1, 'tools/list'))).result).toBeDefined()
    for (const message of server.messages.filter(({ error }) => error)) {
      expect([-32700, -32600]).toContain(message.error!.code)
      expect(message).not.toHaveProperty('id')
    }
  })

  test('a batch is served after initialize at 2025-03-26, and refused without', async () => {
    const batch = [request('x', 'ping'), request('y', 'made/up')]
    server.write(batch)
    expect((await server.find(({ error }) => error !== undefined)).error?.code).toBe(-32600)
    await ask(initializeMessage('2025-03-26', 0))
    server.write({ jsonrpc: '2.0', method: 'notifications/initialized' })
    server.write(batch)
    const answers = (await server.find((message) => Array.isArray(message))) as unknown as Message[]
    expect(answers.toSorted((a, b) => String(a.id).localeCompare(String(b.id)))).toMatchObject([
      { id: 'x', result: {} },
      { id: 'y', error: { code: -32601 } },
    ])
  })

  test('requests are answered as they finish, not in turn', async () => {
    const key = randomUUID()
    server.write(modern('slow', 'tools/call', { name: 'wait', arguments: { key } }))
    expect((await ask(modern('quick', 'tools/call', { name: 'add', arguments: { a: 1, b: 1 } }))).result).toBeDefined()
    expect(server.messages.some(({ id }) => id === 'slow')).toBe(false)
  })

  test.each([
    ['with a claim', meta()],
    ['without a claim', undefined],
  ])('notifications/cancelled %s stops a 2026 call, and no answer follows', async (_how, _meta) => {
    const key = randomUUID()
    const state = async (id: string) =>
      (await ask(modern(id, 'tools/call', { name: 'state', arguments: { key } }))).result?.['content'][0].text
    server.write(modern('w', 'tools/call', { name: 'wait', arguments: { key } }))
    let polls = 0
    await eventually(() => state(`running${polls++}`)).toBe('running')
    const params = { requestId: 'w', ...(_meta ? { _meta } : {}) }
    server.write({ jsonrpc: '2.0', method: 'notifications/cancelled', params })
    await eventually(() => state(`aborted${polls++}`)).toBe('aborted')
    expect((await ask(modern('after', 'tools/list'))).result).toBeDefined()
    expect(server.messages.some(({ id }) => id === 'w')).toBe(false)
  })

  test('subscriptions share the pipe: acknowledged first, marked with their id, ended by a cancellation', async () => {
    const KEY = 'io.modelcontextprotocol/subscriptionId'
    const subscriptionOf = ({ params }: Message): unknown => params?.['_meta']?.[KEY]
    server.write(modern(10, 'subscriptions/listen', { notifications: { toolsListChanged: true } }))
    server.write(modern('b', 'subscriptions/listen', { notifications: { promptsListChanged: true } }))
    for (const id of [10, 'b'])
      expect(await server.find((message) => subscriptionOf(message) === id)).toMatchObject({
        method: 'notifications/subscriptions/acknowledged',
      })
    await ask(modern(1, 'tools/call', { name: 'change' }))
    const changed = (id: unknown) => (message: Message) =>
      subscriptionOf(message) === id && message.method!.endsWith('list_changed')
    expect((await server.find(changed(10))).method).toBe('notifications/tools/list_changed')
    expect((await server.find(changed('b'))).method).toBe('notifications/prompts/list_changed')
    server.write({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 10, _meta: meta() } })
    server.messages.length = 0
    await ask(modern(2, 'tools/call', { name: 'change' }))
    await server.find(changed('b'))
    expect(server.messages.filter((message) => subscriptionOf(message) === 10)).toEqual([])
  })

  test('the process ends when its input ends, whatever is still running', async () => {
    const key = randomUUID()
    server.write(modern(1, 'tools/call', { name: 'wait', arguments: { key, progress: true } }, { progressToken: 1 }))
    await server.find(({ method }) => method === 'notifications/progress')
    server.child.stdin.end()
    expect(await server.exited).toEqual([0, null])
  })

  test('stdout holds one message a line and nothing else', async () => {
    await ask(modern(1, 'tools/call', { name: 'crash' }))
    await ask(modern(2, 'tools/call', { name: 'chat' }))
    for (const line of server.lines) expect(JSON.parse(line)).toMatchObject({ jsonrpc: '2.0' })
  })
})

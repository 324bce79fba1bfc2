import { afterEach, expect, test } from 'vitest'
import { createRuntime, defineResource, defineServer, defineTool, type Runtime } from '../../src/index.ts'
import { generateKeys } from '../../src/kernel/key-ring.ts'
import { startCli } from '../cli/cli.ts'
import { eventually } from '../clients/eventually.ts'
import { startRedis } from '../servers/redis.ts'
import { needs } from '../servers/shared.ts'

await needs('redis')

const server = defineServer({
  name: 'redis-nodes',
  version: '1.0.0',
  tools: [defineTool({ name: 'hello', description: 'Greets', run: () => 'hello' })],
  resources: [defineResource({ uri: 'note://one', name: 'one', read: () => 'text' })],
})
const FIXTURE = new URL('../cli/fixture.ts', import.meta.url).pathname
const keys = generateKeys()

interface Node {
  readonly runtime: Runtime
  readonly url: string
}
const open: Runtime[] = []
async function node(state: string): Promise<Node> {
  const options = { state, keys, dataDir: false, logLevel: 'silent', drainDeadlineMs: 100 } as const
  const runtime = await createRuntime(server, options)
  open.push(runtime)
  return { runtime, url: (await runtime.listen({ port: 0 })).url }
}
afterEach(() => Promise.all(open.splice(0).map((runtime) => runtime.close())))

const ACCEPT = 'application/json, text/event-stream'
const send = (url: string, headers: Record<string, string>, body: object): Promise<Response> =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: ACCEPT, ...headers },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...body }),
  })
const inSession = (url: string, session: string, method: string, params = {}): Promise<Response> =>
  send(url, { 'mcp-session-id': session }, { method, params })

async function hello({ url }: Node, meta = {}): Promise<{ status: number; body: Record<string, never> }> {
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
    ...meta,
  }
  const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'hello' }
  const response = await send(url, headers, { method: 'tools/call', params: { name: 'hello', arguments: {}, _meta } })
  return { status: response.status, body: (await response.json()) as Record<string, never> }
}
const withKey = (key: string): object => ({ 'dev.holdfast/idempotencyKey': `a-key-of-a-call-${key}` })
const probe = async ({ url }: Node, path: string): Promise<[number, string]> => {
  const response = await fetch(new URL(path, url))
  return [response.status, await response.text()]
}
const isStateUp = async (one: Node): Promise<string | undefined> =>
  /^holdfast_state_up (\d)$/m.exec((await probe(one, '/metrics'))[1])?.[1]

test('what a session set on one node holds on the other, and changes reach its stream there', async () => {
  await using redis = await startRedis()
  const [one, two] = [await node(redis.url), await node(redis.url)]
  const opened = await send(
    one.url,
    {},
    {
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
    },
  )
  await opened.text()
  const session = opened.headers.get('mcp-session-id')!
  await (await inSession(one.url, session, 'resources/subscribe', { uri: 'note://one' })).text()
  const stream = await fetch(two.url, { headers: { accept: ACCEPT, 'mcp-session-id': session } })
  const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
  one.runtime.notify.resourceUpdated('note://one')
  let heard = ''
  while (!heard.includes('notifications/resources/updated')) heard += (await reader.read()).value
  await reader.cancel()

  const ended = await fetch(one.url, { method: 'DELETE', headers: { 'mcp-session-id': session } })
  await ended.text()
  const after = await inSession(two.url, session, 'tools/list')
  await after.text()
  expect(after.status).toBe(404)
})

test('while Redis is away, what needs no state goes on, what needs it fails retryably, and the node stays ready', async () => {
  await using redis = await startRedis()
  const one = await node(`${redis.url}?commandTimeoutMs=300`)
  expect((await hello(one, withKey('1'))).status).toBe(200)
  expect(await isStateUp(one)).toBe('1')
  await redis.process.kill()
  await eventually(() => isStateUp(one)).toBe('0')
  expect((await hello(one)).status).toBe(200)
  const { status, body } = await hello(one, withKey('2'))
  expect(status).toBe(503)
  expect(body).toMatchObject({ error: { data: { code: 'state_unavailable', retryable: true } } })
  expect(JSON.stringify(body)).not.toMatch(/redis|stream|queue/i)
  expect(await probe(one, '/readyz')).toEqual([200, 'ready\n'])
  await redis.process.start()
  await eventually(() => isStateUp(one)).toBe('1')
  expect((await hello(one, withKey('2'))).status).toBe(200)
})

test('a node that starts while Redis is away serves, and becomes ready when Redis comes', async () => {
  await using redis = await startRedis()
  await redis.process.kill()
  const one = await node(redis.url)
  expect(await probe(one, '/readyz')).toEqual([503, 'not ready\n'])
  expect(await probe(one, '/livez')).toEqual([200, 'ok\n'])
  expect((await hello(one)).status).toBe(200)
  await redis.process.start()
  await eventually(() => probe(one, '/readyz')).toEqual([200, 'ready\n'])
  expect((await hello(one, withKey('3'))).status).toBe(200)
})

test('a node closes in time while Redis hangs, or is away', async () => {
  await using redis = await startRedis()
  const [one, two] = [await node(redis.url), await node(redis.url)]
  redis.process.pause()
  const startedMs = performance.now()
  await one.runtime.close()
  await redis.process.kill()
  await two.runtime.close()
  expect(performance.now() - startedMs).toBeLessThan(8000)
})

test('shared state without keys ends the start', async () => {
  await expect(createRuntime(server, { state: 'redis://127.0.0.1:1', dataDir: false })).rejects.toMatchObject({
    code: 'invalid_option',
    message: expect.stringContaining('HOLDFAST_KEYS') as string,
  })
})

test('a definition that is refused after the URL was read leaves no connection', async () => {
  await using redis = await startRedis()
  await expect(
    createRuntime(server, { state: `${redis.url}/99`, keys, dataDir: false, logLevel: 'silent' }),
  ).rejects.toMatchObject({ code: 'invalid_option' })
  await eventually(async () => String(await redis.command('CLIENT', 'LIST')).trim().split('\n').length).toBe(1) // prettier-ignore
})

test('the processes of one command use Redis directly', async () => {
  await using redis = await startRedis()
  const env = { HOLDFAST_STATE_URL: redis.url, HOLDFAST_KEYS: keys }
  await using cli = startCli(['serve', FIXTURE, '--port', '0', '--processes', '2', '--json'], env)
  await cli.until(/"url"/)
  // A connection for commands and one for the bus, of each process; and the one that asks.
  const clients = String(await redis.command('CLIENT', 'LIST'))
    .trim()
    .split('\n')
  expect(clients.length).toBe(5)
  cli.child.kill('SIGTERM')
  expect(await cli.ended).toBe(0)
})

test('a URL without its package names what to install', async () => {
  const hook = new URL('no-ioredis.ts', import.meta.url).pathname
  const env = { HOLDFAST_STATE_URL: 'redis://127.0.0.1:1', HOLDFAST_KEYS: keys, NODE_OPTIONS: `--import ${hook}` }
  await using cli = startCli(['serve', FIXTURE, '--port', '0'], env)
  expect(await cli.ended).toBe(1)
  expect(cli.stderr()).toContain('needs the package ioredis, which is not installed: npm install ioredis@6')
})

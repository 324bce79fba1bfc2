import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client as Client2, StreamableHTTPClientTransport as Http2 } from '@modelcontextprotocol/client'
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as Http1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import type { Pool } from 'pg'
import { createRuntime, defineServer, type Context, type RuntimeOptions, type ServerDefinition } from 'holdfast'
import { connect, RpcError, type ConnectOptions, type TestClient } from 'holdfast/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort, startServer } from '../conformance/server.ts'
import { sharedServer } from '../servers/shared.ts'
import { rabbitmqSender } from '../support/brokers.ts'
import { BLOCKS, folderOf, writeBlocks } from './blocks.ts'

// Every block that has a name is run: here, or by a block that imports it. At the end a test holds this list to the pages.

let written: ReturnType<typeof writeBlocks>
let data: string
const children = new Set<ChildProcess>()
beforeAll(() => {
  written = writeBlocks('docs-run')
  data = mkdtempSync(join(tmpdir(), 'holdfast-docs-'))
})
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
  written.remove()
  rmSync(data, { recursive: true, force: true })
})

const run = new Set<string>()
const use = (document: string, ...files: string[]): void => files.forEach((file) => run.add(`${document} ${file}`))
const pathOf = (document: string, file: string): string => join(written.folder, folderOf(document), file)

/** The server that a block exports, with a client connected in memory. */
async function client(document: string, file: string, options?: ConnectOptions): Promise<TestClient> {
  const module = (await import(pathToFileURL(pathOf(document, file)).href)) as { default: ServerDefinition }
  return connect(module.default, options)
}

/** A block that is a program: started on a free port, and ended by SIGTERM. */
async function program(
  document: string,
  file: string,
  path = '/mcp',
): Promise<{ url: string; stop(): Promise<number | null> }> {
  const port = await freePort()
  const child = spawn(process.execPath, [pathOf(document, file)], {
    env: { ...process.env, PORT: String(port), HOLDFAST_DATA_DIR: data },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  children.add(child)
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const exited = once(child, 'exit')
  const url = `http://127.0.0.1:${port}${path}`
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${document} ${file} ended with ${child.exitCode}:\n${errors}`)
    try {
      await (await fetch(url, { method: 'OPTIONS' })).body?.cancel()
      break
    } catch {
      await sleep(25) // nobody listens yet
    }
  }
  return {
    url,
    async stop() {
      child.kill('SIGTERM')
      await exited
      children.delete(child)
      return child.exitCode
    },
  }
}

/** A connected client: what the official ones of both majors have in common. */
interface Official {
  readonly kind: string
  tools(): Promise<{ name: string; inputSchema: unknown; outputSchema?: unknown }[]>
  call(name: string, args: Record<string, unknown>, onprogress?: (step: { progress: number }) => void): Promise<object>
  read(uri: string): Promise<object>
  prompt(name: string, args: Record<string, string>): Promise<object>
}

/** Runs the same with the official clients: 1.x; 2.x as it comes, which speaks 2025-11-25; 2.x that looks for 2026-07-28. */
async function eachClient(
  url: string,
  kinds: readonly string[],
  use: (client: Official) => Promise<void>,
): Promise<void> {
  for (const kind of kinds) {
    const info = { name: 'docs', version: '1.0.0' }
    if (kind === '1.x') {
      const client = new Client1(info)
      await client.connect(new Http1(new URL(url)) as Transport)
      await use({
        kind,
        tools: async () => (await client.listTools()).tools,
        call: (name, args, onprogress) =>
          client.callTool({ name, arguments: args }, undefined, onprogress === undefined ? {} : { onprogress }),
        read: (uri) => client.readResource({ uri }),
        prompt: (name, args) => client.getPrompt({ name, arguments: args }),
      })
      await client.close()
    } else {
      const client = new Client2(info, { versionNegotiation: { mode: kind === '2.x, 2026' ? 'auto' : 'legacy' } })
      await client.connect(new Http2(new URL(url)))
      expect(client.getProtocolEra()).toBe(kind === '2.x, 2026' ? 'modern' : 'legacy')
      await use({
        kind,
        tools: async () => (await client.listTools()).tools,
        call: (name, args, onprogress) =>
          client.callTool({ name, arguments: args }, onprogress === undefined ? {} : { onprogress }),
        read: (uri) => client.readResource({ uri }),
        prompt: (name, args) => client.getPrompt({ name, arguments: args }),
      })
      await client.close()
    }
  }
}
const KINDS = ['1.x', '2.x, 2025', '2.x, 2026']

// Tests that the pages show.
use('docs/getting-started.md', 'server.ts', 'server.test.ts')
use('docs/testing.md', 'server.ts', 'server.test.ts', 'time.test.ts', 'http.test.ts', 'event-bus.test.ts')
use('docs/definitions.md', 'charge.test.ts')
use('docs/questions.md', 'server.ts', 'server.test.ts')
use('docs/artifacts.md', 'server.ts', 'server.test.ts')
use('docs/sessions.md', 'any-node.test.ts')
use('docs/tasks.md', 'server.ts', 'server.test.ts')
test.each(BLOCKS.filter(({ file }) => file.endsWith('.test.ts')))(
  '$document: the tests of $file pass',
  async (block) => {
    const { code, output } = await new Promise<{ code: number; output: string }>((resolve) => {
      const args = ['--test', '--test-reporter=tap', pathOf(block.document, block.file)]
      const { NODE_TEST_CONTEXT: _, ...env } = process.env
      execFile(process.execPath, args, { env }, (error, stdout) =>
        resolve({ code: error === null ? 0 : 1, output: stdout }),
      )
    })
    expect(output).toMatch(/^# pass [1-9]/m)
    expect({ code, output }).toMatchObject({ code: 0 })
  },
)

use('README.md', 'server.ts')
test('README: the first server adds', async () => {
  await using served = await client('README.md', 'server.ts')
  expect((await served.callTool('add', { a: 20, b: 22 })).structuredContent).toEqual({ sum: 42 })
})

use('docs/definitions.md', 'server.ts', 'tools.ts', 'resources.ts', 'prompts.ts')
test('definitions: the handbook serves its tool, resources, prompt and completions', async () => {
  await using served = await client('docs/definitions.md', 'server.ts')
  const steps: unknown[] = []
  const report = await served.callTool(
    'report',
    { month: '2026-03-01' },
    { onProgress: (step) => steps.push(step.message) },
  )
  expect(report.content).toMatchObject([
    { type: 'text', text: 'sales of 2026-03-01\ncosts of 2026-03-01' },
    { type: 'resource_link', uri: 'report://2026-03-01' },
  ])
  expect(steps).toEqual(['sales', 'costs'])
  expect((await served.listResources()).map(({ uri }) => uri)).toEqual([
    'handbook://guide',
    'handbook://notes/1',
    'handbook://notes/2',
  ])
  expect(await served.request('resources/read', { uri: 'handbook://guide' })).toMatchObject({
    ttlMs: 60_000,
    cacheScope: 'public',
  })
  expect(await served.readResource('handbook://notes/2')).toMatchObject([{ text: 'Feed the cat.' }])
  await expect(served.readResource('handbook://notes/3')).rejects.toThrow(RpcError)
  expect(await served.complete({ template: 'handbook://notes/{id}' }, 'id', '1')).toEqual(['1'])
  expect(await served.complete({ prompt: 'review' }, 'language', 'e')).toEqual(['english', 'estonian'])
  const { description, messages } = await served.getPrompt('review', { text: 'Hello', language: 'german' })
  expect([description, messages.length]).toEqual(['A review in german', 2])
})

test('definitions: a client of 2025-03-26 gets a link as text', async () => {
  await using served = await client('docs/definitions.md', 'server.ts', { revision: '2025-03-26' })
  const { content } = await served.callTool('report', { month: '2026-03-01' })
  expect(content[1]).toEqual({ type: 'text', text: 'Report of 2026-03-01: report://2026-03-01' })
})

use('docs/resilience.md', 'server.ts')
test('resilience: a lookup is repeated, and its dependency is left alone while it is down', async () => {
  const answers = [503, 200, 404]
  const crm = createServer((request, response) => {
    response.writeHead(answers.shift() ?? 500).end(`customer at ${request.url}`)
  }).listen(0, '127.0.0.1')
  await once(crm, 'listening')
  process.env.CRM_URL = `http://127.0.0.1:${(crm.address() as AddressInfo).port}`
  try {
    await using served = await client('docs/resilience.md', 'server.ts')
    const look = (): Promise<string> => served.callTool('customer', { number: '7/1' }).then(({ text }) => text)
    expect(await look()).toBe('customer at /customers/7%2F1')
    expect(await look()).toBe('There is no customer 7/1.')
    for (let call = 0; call < 2; call++) expect(await look()).toContain('failed unexpectedly')
    expect(await look()).toMatch(/^crm is not available now: too many calls of it have failed\. Try again in [45] s\./)
  } finally {
    delete process.env.CRM_URL
    crm.closeAllConnections()
    crm.close()
  }
})

use('docs/resilience.md', 'crm.ts', 'llm.ts', 'database.ts')
test('resilience: a note is added once though its first answer is lost, a score is left out, a model and a database are asked again', async () => {
  const asked: { key: unknown; url: string; body: string }[] = []
  const api = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      const { url = '', headers } = request
      asked.push({ key: headers['idempotency-key'], url, body })
      const isFirst = asked.filter((one) => one.url === url).length === 1
      if (isFirst && url.endsWith('/notes')) request.socket.resetAndDestroy()
      else if (isFirst && url.endsWith('/completions')) response.writeHead(503).end()
      else if (url.startsWith('/scores')) response.writeHead(500).end()
      else {
        const choices = [{ index: 0, message: { role: 'assistant', content: 'Short.' }, finish_reason: 'stop' }]
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify({ id: '1', object: 'chat.completion', created: 1, model: 'small', choices }))
      }
    })
  }).listen(0, '127.0.0.1')
  await once(api, 'listening')
  const url = `http://127.0.0.1:${(api.address() as AddressInfo).port}`
  const postgres = (await sharedServer('postgres')).url
  Object.assign(process.env, { CRM_URL: url, SCORES_URL: url, LLM_URL: url, ORDERS_URL: postgres })
  const load = async <T>(file: string): Promise<T> =>
    (await import(pathToFileURL(pathOf('docs/resilience.md', file)).href)) as T
  type Crm = {
    addNote(customer: string, text: string): Promise<void>
    score(ctx: Context, customer: string): Promise<unknown>
  }
  type Database = { pool: Pool; countOrders(ctx: Context, customer: string): Promise<number> }
  const { addNote, score } = await load<Crm>('crm.ts')
  const { summarize } = await load<{ summarize(text: string): Promise<string> }>('llm.ts')
  const { pool, countOrders } = await load<Database>('database.ts')
  const runtime = await createRuntime(defineServer({ name: 'set', version: '1.0.0' }), {
    dataDir: false,
    logLevel: 'silent',
  })
  const ctx = { use: runtime.use } as Context
  try {
    await addNote('7', 'called')
    const notes = asked.filter((one) => one.url.endsWith('/notes'))
    expect(notes).toHaveLength(2)
    expect(notes[1]).toEqual(notes[0])
    expect(notes[0]!.key).toMatch(/.{36}/)
    expect(await score(ctx, '7')).toBeUndefined()
    expect(await summarize('A long text.')).toBe('Short.')
    expect(asked.filter((one) => one.url.endsWith('/completions'))).toHaveLength(2)
    await pool.query('CREATE TEMPORARY TABLE orders (customer text)')
    await pool.query("INSERT INTO orders VALUES ('7'), ('7'), ('8')")
    expect(await countOrders(ctx, '7')).toBe(2)
    expect(runtime.dependencies.list().map(({ name }) => name)).toEqual(['scores', 'orders-db'])
  } finally {
    for (const name of ['CRM_URL', 'SCORES_URL', 'LLM_URL', 'ORDERS_URL']) delete process.env[name]
    await runtime.close()
    await pool.end()
    api.closeAllConnections()
    api.close()
  }
})

use('docs/definitions.md', 'schemas.ts')
test.each(['zod', 'arktype', 'valibot', 'json-schema'])(
  'definitions: a schema of %s is shown, and checks',
  async (name) => {
    await using served = await client('docs/definitions.md', 'schemas.ts')
    const tool = (await served.listTools()).find((listed) => listed.name === name)
    expect(tool!.inputSchema).toMatchObject({ type: 'object', required: ['city'] })
    expect((await served.callTool(name, { city: 'Tartu' })).text).toBe('Tartu')
    expect(await served.callTool(name, { city: '' })).toMatchObject({ isError: true })
  },
)

use('docs/definitions.md', 'content.ts')
test('definitions: blocks of each kind arrive as they were built', async () => {
  await using served = await client('docs/definitions.md', 'content.ts')
  const { content } = await served.callTool('everything')
  expect(content.map(({ type }) => type)).toEqual(['text', 'image', 'audio', 'resource', 'resource_link'])
  expect(await served.request('tools/call', { name: 'counted' })).toMatchObject({ _meta: { 'com.example/rows': 3 } })
})

use('docs/definitions.md', 'errors.ts')
test('definitions: errors read as the page says', async () => {
  await using served = await client('docs/definitions.md', 'errors.ts')
  const limit = await served.callTool('transfer', { cents: 20_000 })
  expect(limit).toMatchObject({ isError: true, text: '20000 is over the limit of 10000. Split the amount.' })
  const failed = await served.callTool('transfer', { cents: 1 })
  expect(failed).toMatchObject({ isError: true })
  expect(failed.text).toMatch(/^The tool "transfer" failed unexpectedly \(request [\w-]+\)\.$/)
  await expect(served.readResource('page://x')).rejects.toMatchObject({ code: -32602, message: /x is none/ })
  await expect(served.readResource('page://1')).rejects.toMatchObject({ data: { code: 'resource_not_found' } })
})

use('docs/operations.md', 'server.ts', 'instrumentation.ts')
test('operations: options in the definition module hold', async () => {
  const definition = pathOf('docs/operations.md', 'server.ts')
  await using server = await startServer(definition, data, new AbortController().signal)
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
  const refused = await fetch(server.url, { method: 'POST', headers, body: 'x'.repeat(1024 * 1024 + 1) })
  expect(refused.status).toBe(413)
})

use('docs/definitions.md', 'region.ts')
test('definitions: the argument that goes into a header is marked in the list', async () => {
  await using served = await client('docs/definitions.md', 'region.ts')
  const [tool] = await served.listTools()
  expect(tool).toMatchObject({ inputSchema: { properties: { region: { 'x-mcp-header': 'Region' } } } })
  expect((await served.callTool('query', { region: 'eu', sql: 'select 1' })).text).toBe('eu: select 1')
})

use('docs/embedding.md', 'server.ts', 'listen.ts', 'express.ts', 'fastify.ts', 'hono.ts', 'node-http.ts')
test.each([
  ['listen.ts', 0],
  ['express.ts', null],
  ['fastify.ts', null],
  ['hono.ts', null],
  ['node-http.ts', 0],
])('embedding: %s serves the official clients, streams included, and ends with %s', async (file, code) => {
  const served = await program('docs/embedding.md', file)
  await eachClient(served.url, KINDS, async ({ tools, call }) => {
    const steps: number[] = []
    expect((await tools()).map(({ name }) => name)).toEqual(['greet'])
    const result = await call('greet', { name: 'Ada' }, ({ progress }) => steps.push(progress))
    expect(result).toMatchObject({ content: [{ type: 'text', text: 'Hello, Ada' }] })
    expect(steps).toEqual([1])
  })
  if (file === 'express.ts') {
    const metrics = await fetch(new URL('/metrics', served.url))
    expect(await metrics.text()).toContain('gen_ai_tool_name="greet"')
  }
  if (file !== 'listen.ts') {
    const hello = await fetch(new URL('/hello', served.url))
    expect(await hello.text()).toBe('hello')
  }
  // Those without a handler of their own end by the signal.
  expect(await served.stop()).toBe(code)
})

use('docs/design/telemetry.md', 'cost.ts')
test('design: a series of our own costs less than a label set of prom-client', async () => {
  const path = pathOf('docs/design/telemetry.md', 'cost.ts')
  const output = await new Promise<string>((resolve, reject) => {
    execFile(process.execPath, [path], (error, stdout) => (error === null ? resolve(stdout) : reject(error)))
  })
  const { promClient, own } = JSON.parse(output) as { promClient: number; own: number }
  expect(own).toBeLessThan(promClient)
})

use('docs/migrating.md', 'sdk1.ts', 'sdk2.ts', 'server.ts')
test.each([
  ['sdk1.ts', ['1.x', '2.x, 2025']],
  ['sdk2.ts', KINDS],
  ['server.ts', KINDS],
] as const)('migrating: %s does the same for %j', async (file, kinds) => {
  const server =
    file === 'server.ts'
      ? await startServer(pathOf('docs/migrating.md', file), data, new AbortController().signal)
      : await program('docs/migrating.md', file)
  let id = 1
  await eachClient(server.url, kinds, async (client) => {
    const tools = await client.tools()
    expect(tools.map(({ name }) => name)).toEqual(['add_note', 'find_note'])
    expect(tools[0]).toMatchObject({
      inputSchema: { type: 'object', properties: { text: { type: 'string', minLength: 1 } }, required: ['text'] },
      outputSchema: { type: 'object', properties: { id: { type: 'string' } } },
    })
    id++
    expect(await client.call('add_note', { text: 'Feed the cat.' })).toMatchObject({
      content: [{ type: 'text', text: `{"id":"${id}"}` }],
      structuredContent: { id: String(id) },
    })
    const found = await client.call('find_note', { word: 'plants' })
    expect(found).toMatchObject({ content: [{ type: 'text', text: 'Water the plants.' }] })
    const missing = await client.call('find_note', { word: 'dog' })
    expect(missing).toMatchObject({ isError: true, content: [{ type: 'text', text: 'No note holds "dog".' }] })
    const note = { uri: 'note://1', mimeType: 'text/plain', text: 'Water the plants.' }
    expect(await client.read('note://1')).toMatchObject({ contents: [note] })
    const code = file === 'server.ts' ? (client.kind === '1.x' ? -32002 : -32602) : -32603
    await expect(client.read('note://99')).rejects.toMatchObject({ code })
    expect(await client.prompt('summarize', { topic: 'pets' })).toMatchObject({
      messages: [{ role: 'user', content: { type: 'text', text: 'Summarize my notes on pets.' } }],
    })
    expect(await client.call('add_note', { text: '' })).toMatchObject({ isError: true })
  })
  await ('stop' in server ? server.stop() : server[Symbol.asyncDispose]())
})

use('docs/authentication.md', 'server.ts', 'opaque.ts', 'own.ts')
test('authentication: the notes show each caller what its scopes are enough for', async () => {
  const names = async (...scopes: string[]): Promise<unknown[]> => {
    await using served = await client('docs/authentication.md', 'server.ts', { principal: { subject: 'ada', scopes } })
    return (await served.listTools()).map(({ name }) => name)
  }
  expect(await names()).toEqual([])
  expect(await names('notes:read')).toEqual(['list_notes'])
  expect(await names('notes:write', 'notes:read')).toEqual(['list_notes', 'write_note'])
  await using served = await client('docs/authentication.md', 'server.ts', {
    principal: { subject: 'ada', scopes: ['notes:write'] },
  })
  expect((await served.callTool('write_note', { title: 'a', text: 'b' })).text).toBe('written')
  await expect(served.callTool('list_notes')).rejects.toMatchObject({ data: { requiredScopes: ['notes:read'] } })
})

/** A server with the options that a block exports, and what it answers to a request. */
async function answering(
  file: string,
  headers: Record<string, string>,
): Promise<{ status: number; challenge: string | null }> {
  const module = (await import(pathToFileURL(pathOf('docs/authentication.md', file)).href)) as {
    options: RuntimeOptions
    default?: ServerDefinition
  }
  const server = module.default ?? defineServer({ name: 'docs', version: '1.0.0' })
  const runtime = await createRuntime(server, { ...module.options, dataDir: false, logLevel: 'silent' })
  const { url } = await runtime.listen({ port: 0 })
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers } })
  await response.text()
  await runtime.close()
  return { status: response.status, challenge: response.headers.get('www-authenticate') }
}

test('authentication: the options of each block refuse who brings nothing, and say where to get a token', async () => {
  const metadata = 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp'
  const refused = { status: 401, challenge: `Bearer resource_metadata="${metadata}"` }
  expect(await answering('server.ts', {})).toEqual(refused)
  process.env['INTROSPECTION_SECRET'] = 'a secret'
  expect(await answering('opaque.ts', {})).toEqual(refused)
  expect(await answering('own.ts', {})).toEqual({ status: 401, challenge: 'Bearer' })
  // An empty body is refused as such, so whoever sent it was let in.
  expect(await answering('own.ts', { 'x-forwarded-user': 'ada' })).toMatchObject({ status: 400, challenge: null })
})

use('docs/limits.md', 'server.ts', 'plans.ts')
test('limits: calls and their costs are held to the limits of the page, and a plan overrides them', async () => {
  await using own = await client('docs/limits.md', 'server.ts')
  for (let index = 0; index < 10; index++) await own.callTool('search', { query: 'x' })
  await expect(own.callTool('search', { query: 'x' })).rejects.toMatchObject({
    code: 42900,
    data: { limit: 'search:principal-60s', retryable: true },
  })
  const text = 'x'.repeat(40_000)
  for (let index = 0; index < 10; index++) await own.callTool('summarize', { text })
  await expect(own.callTool('summarize', { text })).rejects.toMatchObject({
    data: { limit: 'summarize:tenant-3600s-cost' },
  })
  const { options } = (await import(pathToFileURL(pathOf('docs/limits.md', 'plans.ts')).href)) as {
    options: RuntimeOptions
  }
  const facts = { tool: undefined, per: 'principal', limit: 5, windowMs: 1000, burst: 5 } as const
  const gold = { issuer: 'https://issuer.example', subject: 'ann', tenant: 'acme', scopes: [] }
  expect(await options.overrideLimits!(gold, { ...facts, name: 'principal-60s' })).toBe('unlimited')
  expect(await options.overrideLimits!(gold, { ...facts, name: 'search:principal-60s' })).toEqual({ limit: 50 })
  expect(await options.overrideLimits!({ ...gold, tenant: 'other' }, { ...facts, name: 'x' })).toBe(undefined)
})

use('docs/artifacts.md', 'server.ts', 'asking.ts')
test('artifacts: what a handler puts is linked to, read by its caller, and kept by a step', async () => {
  await using orders = await client('docs/artifacts.md', 'server.ts')
  const [link] = (await orders.callTool('export-orders', { count: 2 })).content as unknown as [{ uri: string }]
  expect(link).toMatchObject({ type: 'resource_link', name: 'orders.csv', size: 21 })
  expect(await orders.readResource(link.uri)).toMatchObject([{ text: 'id,total\n1,100\n2,200\n' }])
  expect((await orders.callTool('first-line', { uri: link.uri })).text).toBe('id,total (of 21 bytes)')
  await using drafts = await client('docs/artifacts.md', 'asking.ts', { answers: { keep: {} } })
  expect((await drafts.callTool('draft')).content).toMatchObject([{ type: 'resource_link', name: 'draft.txt' }])
})

use('docs/caching.md', 'server.ts', 'server.test.ts', 'both.ts')
test('caching: what is computed once is given to others; a step belongs to one task', async () => {
  await using shop = await client('docs/caching.md', 'server.ts')
  const { api } = (await import(pathToFileURL(pathOf('docs/caching.md', 'server.ts')).href)) as {
    api: { calls: number }
  }
  const before = api.calls
  const summary = async (): Promise<string> => (await shop.callTool('summary', { customer: 'ada' })).text
  expect([await summary(), await summary()]).toEqual(['1 orders, 120 in all', '1 orders, 120 in all'])
  expect(api.calls - before).toBe(3) // the orders twice, the summary once
  expect(await shop.request('resources/read', { uri: 'shop://terms' })).toMatchObject({ cacheScope: 'public' })
  await using digests = await client('docs/caching.md', 'both.ts')
  const send = async (reader: string): Promise<string> =>
    (await digests.callTool('digest', { text: 'abc', reader })).text
  expect([await send('ada'), await send('bob')]).toEqual(['ada: 1 3', 'bob: 1 3'])
  const { counts } = (await import(pathToFileURL(pathOf('docs/caching.md', 'both.ts')).href)) as {
    counts: { embedded: number; sent: number }
  }
  expect(counts).toEqual({ embedded: 1, sent: 2 })
})

use('docs/llm-cost.md', 'server.ts')
test('LLM cost: what a model has answered is not asked again, and what that spares is counted', async () => {
  const asked: string[] = []
  const endpoint = createServer((request, response) => {
    void (async () => {
      const { input, messages } = (await new Response(request as unknown as ReadableStream).json()) as {
        input?: string[]
        messages?: { content: string }[]
      }
      asked.push(...(input ?? ['summary']))
      response.setHeader('content-type', 'application/json')
      const message = { role: 'assistant', content: `${messages?.[0]?.content.length} characters` }
      const answer =
        input === undefined
          ? { choices: [{ index: 0, message, finish_reason: 'stop' }] }
          : { data: input.map((text, index) => ({ index, embedding: [text.length, 1] })) }
      response.end(
        JSON.stringify({
          model: 'm',
          ...answer,
          usage: { prompt_tokens: 400, completion_tokens: 20, total_tokens: 420 },
        }),
      )
    })()
  }).listen(0, '127.0.0.1')
  await once(endpoint, 'listening')
  process.env.LLM_URL = `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/v1`
  try {
    await using texts = await client('docs/llm-cost.md', 'server.ts', { principal: { subject: 'ada' } })
    for (let time = 0; time < 3; time++)
      expect((await texts.callTool('summarize', { text: 'a long text' })).text).toBe('34 characters')
    const near = async (...all: string[]): Promise<string> =>
      (await texts.callTool('nearest', { question: 'which?', texts: all })).text
    expect(await near('ab', 'abcd')).toBe('abcd')
    expect(await near('abcd', 'abc')).toBe('abcd')
    expect(asked).toEqual(['summary', 'which?', 'ab', 'abcd', 'abc'])
    const { body } = await texts.runtime.metrics()
    // 400 tokens at 0.25 and 20 at 2 dollars a million, spared twice.
    expect(body).toContain('holdfast_llm_cost_total{model="small",currency="USD",source="cached"} 0.00028')
    expect(await texts.callTool('summarize', { text: 'x'.repeat(40_001) })).toMatchObject({ isError: true })
  } finally {
    delete process.env.LLM_URL
    endpoint.closeAllConnections()
    endpoint.close()
  }
})

use('docs/isolation.md', 'server.ts')
test('isolation: the handler runs in a thread, with steps and progress as elsewhere', async () => {
  const definition = pathToFileURL(pathOf('docs/isolation.md', 'server.ts')).href
  await using models = await client('docs/isolation.md', 'server.ts', { runtime: { worker: { definition } } })
  expect((await models.callTool('fit', { rows: [[1, 3], [4]] })).text).toBe('2 4')
})

use('docs/triggers.md', 'server.ts', 'follow.ts')
test('triggers: each message becomes a task, and who subscribes hears of it', { timeout: 90_000 }, async () => {
  const sender = await rabbitmqSender(await sharedServer('rabbitmq'))
  await sender.send(['{"document":"report.pdf"}', 'not JSON'])
  const child = spawn(process.execPath, [pathOf('docs/triggers.md', 'follow.ts')], {
    env: {
      ...process.env,
      PORT: '0',
      LOG_LEVEL: 'silent',
      HOLDFAST_DATA_DIR: join(data, 'triggers'),
      UPLOADS_URL: sender.url,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.add(child)
  const exited = once(child, 'exit')
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const lines = [
    "uploads index [ { type: 'text', text: 'report.pdf is indexed' } ]",
    "server index [ { type: 'text', text: 'manual.pdf is indexed' } ]",
  ]
  while (!lines.every((line) => output.includes(line))) {
    if (child.exitCode !== null) throw new Error(`follow.ts ended with ${child.exitCode}: ${output}`)
    await sleep(50)
  }
  child.kill('SIGTERM')
  await exited
  children.delete(child)
})

test('every block that has a name is run by a test', () => {
  const named = BLOCKS.filter(({ isNamed }) => isNamed).map(({ document, file }) => `${document} ${file}`)
  expect([...run].toSorted()).toEqual([...new Set(named)].toSorted())
})

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { createRuntime, defineServer, type RuntimeOptions, type ServerDefinition } from 'holdfast'
import { RpcError } from 'holdfast/testing'
import { expect, test } from 'vitest'
import { startServer } from '../conformance/server.ts'
import { sharedServer } from '../servers/shared.ts'
import { rabbitmqSender } from '../support/brokers.ts'
import { BLOCKS } from './blocks.ts'
import { blockRunner } from './run-blocks.ts'

// Every block that has a name is run: here, in another file `run-*.test.ts`, or by a block that imports it. At the end a test
// holds what they `use` to the pages.

const { use, pathOf, data, children, client } = blockRunner('docs-run')

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

use('docs/design/telemetry.md', 'cost.ts')
test('design: a series of our own costs less than a label set of prom-client', async () => {
  const path = pathOf('docs/design/telemetry.md', 'cost.ts')
  const output = await new Promise<string>((resolve, reject) => {
    execFile(process.execPath, [path], (error, stdout) => (error === null ? resolve(stdout) : reject(error)))
  })
  const { promClient, own } = JSON.parse(output) as { promClient: number; own: number }
  expect(own).toBeLessThan(promClient)
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
  const files = readdirSync(import.meta.dirname).filter((name) => /^run\b.*\.test\.ts$/.test(name))
  const texts = files.map((name) => readFileSync(join(import.meta.dirname, name), 'utf8'))
  const used = texts
    .flatMap((text) => [...text.matchAll(/^use\(([^)]*)\)$/gm)])
    .flatMap(([, list = '']) => {
      const [document, ...blocks] = [...list.matchAll(/'([^']*)'/g)].map(([, one]) => one)
      return blocks.map((file) => `${document} ${file}`)
    })
  const named = BLOCKS.filter(({ isNamed }) => isNamed).map(({ document, file }) => `${document} ${file}`)
  expect([...new Set(used)].toSorted()).toEqual([...new Set(named)].toSorted())
})

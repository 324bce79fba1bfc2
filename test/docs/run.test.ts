import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client as Client2, StreamableHTTPClientTransport as Http2 } from '@modelcontextprotocol/client'
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as Http1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import type { ServerDefinition } from 'holdfast'
import { connect, RpcError, type ConnectOptions, type TestClient } from 'holdfast/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort } from '../conformance/server.ts'
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

interface Caller {
  tools(): Promise<string[]>
  call(name: string, args: Record<string, unknown>, onprogress?: (step: { progress: number }) => void): Promise<unknown>
}

/** The official clients of both majors: 2.x, which finds the newest revision, and 1.x, which knows those of 2025. */
async function bothClients(url: string, use: (caller: Caller) => Promise<void>): Promise<void> {
  const second = new Client2({ name: 'docs', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } })
  await second.connect(new Http2(new URL(url)))
  await use({
    tools: async () => (await second.listTools()).tools.map(({ name }) => name),
    call: (name, args, onprogress) =>
      second.callTool({ name, arguments: args }, onprogress === undefined ? {} : { onprogress }),
  })
  await second.close()
  const first = new Client1({ name: 'docs', version: '1.0.0' })
  await first.connect(new Http1(new URL(url)) as Transport)
  await use({
    tools: async () => (await first.listTools()).tools.map(({ name }) => name),
    call: (name, args, onprogress) =>
      first.callTool({ name, arguments: args }, undefined, onprogress === undefined ? {} : { onprogress }),
  })
  await first.close()
}

// Tests that the pages show.
use('docs/getting-started.md', 'server.ts', 'server.test.ts')
use('docs/testing.md', 'server.ts', 'server.test.ts', 'time.test.ts', 'http.test.ts', 'event-bus.test.ts')
use('docs/definitions.md', 'charge.test.ts')
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
])('embedding: %s serves both official clients, streams included, and ends with %s', async (file, code) => {
  const served = await program('docs/embedding.md', file)
  await bothClients(served.url, async ({ tools, call }) => {
    const steps: number[] = []
    expect(await tools()).toEqual(['greet'])
    const result = await call('greet', { name: 'Ada' }, ({ progress }) => steps.push(progress))
    expect(result).toMatchObject({ content: [{ type: 'text', text: 'Hello, Ada' }] })
    expect(steps).toEqual([1])
  })
  if (file !== 'listen.ts') {
    const hello = await fetch(new URL('/hello', served.url))
    expect(await hello.text()).toBe('hello')
  }
  // Those without a handler of their own end by the signal.
  expect(await served.stop()).toBe(code)
})

test('every block that has a name is run by a test', () => {
  const named = BLOCKS.filter(({ isNamed }) => isNamed).map(({ document, file }) => `${document} ${file}`)
  expect([...run].toSorted()).toEqual([...new Set(named)].toSorted())
})

import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AUTH_DEFAULTS, AUTH_FIELDS } from '../../src/auth/options.ts'
import { resolveOptions } from '../../src/compose/options.ts'
import { CLI, startServer } from '../conformance/server.ts'
import { folderOf, writeBlocks } from './blocks.ts'
import { documentAt, ROOT, tableOf } from './documents.ts'

let written: ReturnType<typeof writeBlocks>
let data: string
let definition: string
beforeAll(() => {
  written = writeBlocks('docs-operations')
  data = mkdtempSync(join(tmpdir(), 'holdfast-docs-'))
  definition = join(written.folder, folderOf('docs/getting-started.md'), 'server.ts')
})
afterAll(() => {
  written.remove()
  rmSync(data, { recursive: true, force: true })
})

const children = new Set<ChildProcess>()
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
})

/** `holdfast serve` on a free port, its output as it comes; `stop` resolves to all of it. */
async function serving(...flags: string[]): Promise<{ first: string; stop(): Promise<string> }> {
  const child = spawn(process.execPath, [CLI, 'serve', definition, '--port', '0', ...flags], { cwd: data })
  children.add(child)
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  while (!output.includes('\n')) await once(child.stdout, 'data')
  return {
    first: output,
    async stop() {
      child.kill('SIGTERM')
      await once(child, 'close')
      children.delete(child)
      return output
    },
  }
}

const START = { signal: new AbortController().signal }
const source = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

describe('the tables of options', () => {
  const rows = documentAt('docs/operations.md')
    .tables.filter(({ header }) => header[0] === 'Option')
    .flatMap(({ rows }) => rows)
    .map(([option, variable, flag, fallback, unit]) => ({ option, variable, flag, fallback, unit }))

  test('name every option, and no other, with its default', () => {
    const defaults: Record<string, string> = {
      artifacts: '',
      limits: '',
      overrideLimits: '',
      adminPort: '',
      keys: '',
      state: '',
      bus: '',
      clock: '',
      auth: '',
      publicUrl: '',
      stdioCredential: '',
    }
    for (const field of AUTH_FIELDS) defaults[`auth.${field}`] = JSON.stringify(AUTH_DEFAULTS[field as never]) ?? ''
    for (const [option, value] of Object.entries(resolveOptions({}, {}))) defaults[option] = JSON.stringify(value)
    const documented = rows.map(({ option, fallback }) => [option, fallback!.replace(/ \(.*\)$/, '')])
    expect(Object.fromEntries(documented)).toEqual(defaults)
    expect(new Set(rows.map(({ option }) => option)).size).toBe(rows.length)
  })

  test('name every variable, and no other, with the option that it sets', () => {
    const variables = [...source('src/compose/options.ts').matchAll(/^ {2}([A-Z_]+): \{ option: '([\w.]+)'/gm)]
    expect(variables.length).toBeGreaterThan(5)
    const documented = rows.filter(({ variable }) => variable !== '').map(({ variable, option }) => [variable, option])
    expect(documented.toSorted()).toEqual(variables.map(([, variable, option]) => [variable, option]).toSorted())
  })

  test('give the unit that the name says', () => {
    for (const { option, unit } of rows)
      expect(unit, option).toBe(option!.endsWith('Ms') ? 'ms' : option!.endsWith('Bytes') ? 'bytes' : '')
  })

  test('name flags that exist', () => {
    const help = execFileSync(process.execPath, [CLI, 'serve', '--help'], { encoding: 'utf8' })
    const flags = rows.filter(({ flag }) => flag !== '').map(({ flag }) => flag)
    expect(flags.length).toBeGreaterThan(0)
    for (const flag of flags) expect(help).toContain(`${flag} <`)
  })
})

test('the help of the command is what the page shows', () => {
  const help = execFileSync(process.execPath, [CLI, 'serve', '--help'], { encoding: 'utf8' })
  const shown = documentAt('docs/operations.md').code.find(({ text }) => text.startsWith('Usage: holdfast serve'))
  expect(help.startsWith(`${shown!.text}\n`)).toBe(true)
})

test('the start-up text is what the page shows', async () => {
  const server = await serving()
  await server.stop()
  const shown = documentAt('docs/getting-started.md').code.find(({ text }) => text.includes('MCP endpoint'))
  const started = server.first
    .replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:3000')
    .replace(join(data, '.holdfast'), '/home/you/fruit-shop/.holdfast')
  expect(started.trim()).toBe(shown!.text.trim())
})

test('the start-up line of --json has the fields that the page names', async () => {
  const server = await serving('--json')
  await server.stop()
  const fields = Object.keys(JSON.parse(server.first) as object)
  const sentence = /`--json` prints one line with ([^;]*?), for programs/.exec(
    documentAt('docs/operations.md').text,
  )![1]!
  expect([...sentence.matchAll(/`(\w+)`/g)].map(([, field]) => field).toSorted()).toEqual(fields.toSorted())
})

test('the request of getting started is answered as the page says', async () => {
  await using server = await startServer(definition, data, START.signal)
  const { code } = documentAt('docs/getting-started.md')
  const at = code.findIndex(({ text }) => text.startsWith('curl'))
  const output = await new Promise<string>((resolve, reject) => {
    execFile('sh', ['-c', code[at]!.text.replace('http://127.0.0.1:3000', server.origin)], (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    )
  })
  expect(JSON.parse(output)).toEqual(JSON.parse(code[at + 1]!.text))
})

test('the metrics are those of the table, of the types that it says', async () => {
  await using server = await startServer(definition, data, START.signal)
  const text = await (await fetch(`${server.origin}/metrics`)).text()
  const types = [...text.matchAll(/^# TYPE ((?:holdfast|mcp)_\w+) (\w+)$/gm)].map(([, name, type]) => [name, type])
  const documented = tableOf('docs/operations.md', 'Metric', 'Type').map(({ Metric, Type }) => [Metric, Type])
  expect(documented.toSorted()).toEqual(types.toSorted())
})

test('the fields of the request line are those of the table', async () => {
  const server = await serving('--json')
  const { url } = JSON.parse(server.first) as { url: string }
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  for (const mode of ['auto', 'legacy'] as const) {
    const client = new Client({ name: 'docs', version: '1.0.0' }, { versionNegotiation: { mode } })
    await client.connect(new StreamableHTTPClientTransport(new URL(url)))
    await client.callTool({ name: 'price', arguments: { fruit: 'plum' }, _meta: { traceparent } })
    await client.close()
  }
  const lines = (await server.stop()).trim().split('\n').slice(1)
  const seen = lines.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ msg }) => msg === 'request')
  const documented = tableOf('docs/operations.md', 'Field')
  expect([...new Set(seen.flatMap(Object.keys))].toSorted()).toEqual(documented.map(({ Field }) => Field).toSorted())
})

test('the names that the log redacts are those of the page', () => {
  const list = /const SECRET =\s+\/\(([^)]+)\)\$\//.exec(source('src/telemetry/log-values.ts'))![1]!
  const names = list
    .split('|')
    .flatMap((name) => (name.endsWith('s?') ? [name.slice(0, -2), name.slice(0, -1)] : [name]))
  const sentence = /names that end in ([^.]+?), whatever/.exec(documentAt('docs/operations.md').text)![1]!
  expect([...sentence.matchAll(/`(\w+)`/g)].map(([, name]) => name)).toEqual(names)
})

/** Sends one request of 2025-11-25, in a session or to begin one. */
function send(url: string, body: object, session?: string): Promise<Response> {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
  return fetch(url, {
    method: 'POST',
    headers: session === undefined ? headers : { ...headers, 'mcp-session-id': session },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...body }),
  })
}
async function beginSession(url: string): Promise<string> {
  const clientInfo = { name: 'docs', version: '1.0.0' }
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo }
  const response = await send(url, { method: 'initialize', params })
  await response.text()
  return response.headers.get('mcp-session-id')!
}
async function statusIn(url: string, session: string): Promise<number> {
  const response = await send(url, { method: 'tools/list' }, session)
  await response.text()
  return response.status
}

test('a session survives a restart, with the keys of the data folder', async () => {
  const session = await (async () => {
    await using server = await startServer(definition, data, START.signal)
    return await beginSession(server.url)
  })()
  await using again = await startServer(definition, data, START.signal)
  expect(await statusIn(again.url, session)).toBe(200)
})

test('keys rotate: the first seals, every key opens, and a key that is taken out ends its sessions', async () => {
  const [first, second] = ['k1', 'k2'].map((id) => `${id}:${randomBytes(32).toString('base64')}`) as [string, string]
  const withKeys = async <T>(keys: string, use: (url: string) => Promise<T>): Promise<T> => {
    await using server = await startServer(definition, data, START.signal, { env: { HOLDFAST_KEYS: keys } })
    return await use(server.url)
  }
  const old = await withKeys(first, beginSession)
  const young = await withKeys(`${second},${first}`, async (url) => {
    expect(await statusIn(url, old)).toBe(200)
    return beginSession(url)
  })
  await withKeys(second, async (url) => {
    expect(await statusIn(url, young)).toBe(200)
    expect(await statusIn(url, old)).toBe(404)
  })
})

test('processes share sessions, and answer with the sum of their metrics', async () => {
  await using server = await startServer(definition, data, START.signal, { flags: ['--processes', '2'] })
  const clients = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const client = new Client({ name: 'docs', version: '1.0.0' }, { versionNegotiation: { mode: 'legacy' } })
      await client.connect(new StreamableHTTPClientTransport(new URL(server.url)))
      return client
    }),
  )
  for (const client of clients) {
    const result = await client.callTool({ name: 'price', arguments: { fruit: 'pear' } })
    expect(result.structuredContent).toEqual({ cents: 45 })
  }
  const text = await (await fetch(`${server.origin}/metrics`)).text()
  const counts = [...text.matchAll(/^mcp_server_operation_duration_seconds_count\{([^}]*)\} (\d+)$/gm)]
  const calls = counts.filter(([, labels]) => labels!.includes('mcp_method_name="tools/call"'))
  expect(calls.map(([, , count]) => Number(count))).toEqual([6])
  await Promise.all(clients.map((client) => client.close()))
})

test('the instrumentation of the page sends spans with the names that it says', async () => {
  const bodies: string[] = []
  const collector = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      if (request.url === '/v1/traces') bodies.push(body)
      response.end('{}')
    })
  }).listen(0, '127.0.0.1')
  await once(collector, 'listening')
  const instrumentation = join(written.folder, folderOf('docs/operations.md'), 'instrumentation.ts')
  const env = {
    NODE_OPTIONS: `--import ${instrumentation}`,
    OTEL_SERVICE_NAME: 'fruit-shop',
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_LOGS_EXPORTER: 'none',
  }
  {
    await using server = await startServer(definition, data, START.signal, { env })
    const client = new Client({ name: 'docs', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } })
    await client.connect(new StreamableHTTPClientTransport(new URL(server.url)))
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await client.callTool({ name: 'price', arguments: { fruit: 'pear' }, _meta: { traceparent } })
    await client.close()
  }
  collector.close()
  const sent = bodies.join('\n')
  for (const part of [
    '"fruit-shop"',
    '"name":"tools/call price"',
    '0af7651916cd43dd8448eb211c80319c',
    'gen_ai.tool.name',
  ])
    expect(sent).toContain(part)
})

import { PassThrough } from 'node:stream'
import { createInterface } from 'node:readline'
import { createRuntime, type Runtime } from '../../src/index.ts'
import { connect } from '../../src/testing/index.ts'
import type { RuntimeOptions } from '../../src/compose/options.ts'
import { server } from './fixture.ts'

/** A JSON-RPC answer. */
export interface Answer {
  id?: string | number
  result?: Record<string, unknown>
  error?: { code: number; message: string; data: Record<string, unknown> }
}

/** A client that says exactly what it is told to, over one of the transports. */
export interface Wire {
  readonly runtime: Runtime
  /** Sends a request in the era of the wire; resolves to the answer. */
  request(method: string, params?: Record<string, unknown>, options?: RequestOptions): Promise<Answer>
  notify(method: string, params?: Record<string, unknown>): Promise<void>
  /** Ends the session as a client does: DELETE over HTTP, the end of the input on stdio. */
  end(): Promise<void>
  close(): Promise<void>
}
export interface RequestOptions {
  /** JSON-RPC id; default: counted. */
  id?: string | number
  meta?: Record<string, unknown>
  headers?: Record<string, string>
}

export type Era = '2026-07-28' | '2025-11-25'
export type TransportName = 'http' | 'stdio' | 'memory'
export const TRANSPORTS: readonly TransportName[] = ['http', 'stdio', 'memory']
export const ERAS: readonly Era[] = ['2026-07-28', '2025-11-25']

const CLIENT = { name: 'wire', version: '1.0.0' }
const MODERN_META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
  'io.modelcontextprotocol/clientInfo': CLIENT,
}
const INITIALIZE = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: CLIENT }

export async function open(transport: TransportName, era: Era, options: RuntimeOptions = {}): Promise<Wire> {
  const quiet: RuntimeOptions = { dataDir: false, logLevel: 'silent', ...options }
  if (transport === 'memory') return openMemory(era, quiet)
  const runtime = await createRuntime(server, quiet)
  return transport === 'http' ? openHttp(runtime, era) : openStdio(runtime, era)
}

function message(era: Era, method: string, params: Record<string, unknown>, options: RequestOptions, id: unknown) {
  const _meta = { ...(era === '2026-07-28' ? MODERN_META : {}), ...options.meta }
  return {
    jsonrpc: '2.0',
    ...(id === undefined ? {} : { id }),
    method,
    params: { ...params, ...(Object.keys(_meta).length === 0 ? {} : { _meta }) },
  }
}

/** A text as a header carries it (MCP 2026-07-28, streamable HTTP, "Value Encoding"). */
const headerValue = (text: string): string =>
  /^[\x21-\x7e]*$/.test(text) ? text : `=?base64?${Buffer.from(text).toString('base64')}?=`

export async function openHttp(runtime: Runtime, era: Era, given?: string): Promise<Wire> {
  const url = given ?? (await runtime.listen({ port: 0 })).url
  let nextId = 1
  let session: string | null = null
  const post = async (body: { method: string; params: Record<string, unknown> }, headers?: Record<string, string>) => {
    const name = body.params.name ?? body.params.uri
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': era,
        ...(era === '2026-07-28' ? { 'mcp-method': headerValue(body.method) } : {}),
        ...(era === '2026-07-28' && typeof name === 'string' ? { 'mcp-name': headerValue(name) } : {}),
        ...(session === null ? {} : { 'mcp-session-id': session }),
        ...headers,
      },
      body: JSON.stringify(body),
    })
    session ??= response.headers.get('mcp-session-id')
    const text = await response.text()
    if (!response.headers.get('content-type')?.startsWith('text/event-stream'))
      return (text === '' ? {} : JSON.parse(text)) as Answer
    const messages = text
      .split('\n')
      .filter((line) => line.startsWith('data: {'))
      .map((line) => JSON.parse(line.slice(6)) as Answer)
    return messages.find((one) => one.id !== undefined) ?? {}
  }
  const wire: Wire = {
    runtime,
    request: (method, params = {}, options = {}) =>
      post(message(era, method, params, options, options.id ?? nextId++), options.headers),
    notify: async (method, params = {}) => void (await post(message(era, method, params, {}, undefined))),
    end: async () => {
      const headers = { 'mcp-session-id': session!, 'mcp-protocol-version': era }
      await (await fetch(url, { method: 'DELETE', headers })).text()
    },
    close: () => runtime.close(),
  }
  if (era === '2025-11-25') {
    await wire.request('initialize', INITIALIZE)
    await wire.notify('notifications/initialized')
  }
  return wire
}

async function openStdio(runtime: Runtime, era: Era): Promise<Wire> {
  const input = new PassThrough()
  const output = new PassThrough()
  const waiting = new Map<unknown, (answer: Answer) => void>()
  createInterface({ input: output }).on('line', (line) => {
    const answer = JSON.parse(line) as Answer
    waiting.get(answer.id)?.(answer)
  })
  const served = runtime.serveStdio({ input, output })
  let nextId = 1
  const wire: Wire = {
    runtime,
    request: (method, params = {}, options = {}) =>
      new Promise((resolve) => {
        const id = options.id ?? nextId++
        waiting.set(id, resolve)
        input.write(`${JSON.stringify(message(era, method, params, options, id))}\n`)
      }),
    notify: async (method, params = {}) => {
      input.write(`${JSON.stringify(message(era, method, params, {}, undefined))}\n`)
    },
    end: async () => {
      input.end()
      await served
    },
    close: async () => {
      await wire.end()
      await runtime.close()
    },
  }
  if (era === '2025-11-25') {
    await wire.request('initialize', INITIALIZE)
    await wire.notify('notifications/initialized')
  }
  return wire
}

async function openMemory(era: Era, options: RuntimeOptions): Promise<Wire> {
  const client = await connect(server, { revision: era, runtime: options })
  return {
    runtime: client.runtime,
    async request(method, params = {}, { meta } = {}) {
      try {
        return { result: await client.request(method, params, meta === undefined ? {} : { meta }) }
      } catch (error) {
        const { code, message: text, data } = error as { code: number; message: string; data: Record<string, unknown> }
        return { error: { code, message: text, data } }
      }
    },
    notify: async (method, params) => client.notify(method, params),
    end: () => client.close(),
    close: () => client.close(),
  }
}

import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as z from 'zod'
import { createRuntime, defineResource, defineServer, defineTool, type Runtime } from '../../src/index.ts'
import type { RuntimeOptions } from '../../src/compose/options.ts'

/** Aborts of the tool `wait` that its handler has seen. */
export const aborted: string[] = []
/** Calls of `wait` whose handlers run. */
export const waiting: string[] = []

/** What each framework serves. */
export const server = defineServer({
  name: 'mounted',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'add',
      description: 'Adds two numbers',
      input: z.object({ a: z.number(), b: z.number() }),
      output: z.object({ sum: z.number() }),
      run: ({ a, b }) => ({ sum: a + b }),
    }),
    defineTool({
      name: 'count',
      description: 'Counts, and tells how far it is',
      input: z.object({ to: z.int() }),
      async run({ to }, { progress }) {
        for (let done = 1; done <= to; done++) {
          progress(done, to)
          await new Promise((resolve) => setImmediate(resolve))
        }
        return `counted to ${to}`
      },
    }),
    defineTool({
      name: 'wait',
      description: 'Waits until it is told to stop',
      input: z.object({ id: z.string(), loud: z.boolean().default(false) }),
      run: ({ id, loud }, { signal, progress }) => {
        waiting.push(id)
        if (loud) progress(1, 2)
        return new Promise((resolve) =>
          signal.addEventListener('abort', () => {
            aborted.push(id)
            resolve('stopped')
          }),
        )
      },
    }),
    defineTool({
      name: 'length',
      description: 'Tells how long a text is',
      input: z.object({ text: z.string() }),
      run: ({ text }) => String(text.length),
    }),
  ],
  resources: [defineResource({ uri: 'doc://guide', name: 'guide', read: () => 'The guide.' })],
})

export function runtimeOf(options: RuntimeOptions = {}): Promise<Runtime> {
  return createRuntime(server, { dataDir: false, logLevel: 'silent', drainDeadlineMs: 100, ...options })
}

/** Something that listens. */
export interface Mounted {
  /** The MCP endpoint. */
  readonly url: string
  readonly runtime: Runtime
  close(): Promise<void>
}

export async function listen(
  runtime: Runtime,
  listener: RequestListener,
  path: string,
  closeFramework?: () => Promise<unknown>,
): Promise<Mounted> {
  const http = createServer(listener)
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  return mountedOn(http, runtime, path, closeFramework)
}

export function mountedOn(
  http: Server,
  runtime: Runtime,
  path: string,
  closeFramework: () => Promise<unknown> = async () => undefined,
): Mounted {
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}${path}`,
    runtime,
    async close() {
      const closed = http.listening ? new Promise((resolve) => http.close(resolve)) : undefined
      await runtime.close()
      http.closeAllConnections()
      await closed
      await closeFramework()
    },
  }
}

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}

/** A request of revision 2026-07-28, as `fetch` takes it. */
export function modern(
  method: string,
  params: Record<string, unknown> = {},
  headers: Record<string, string> = {},
): Omit<RequestInit, 'headers' | 'body'> & { headers: Record<string, string>; body: string } {
  const name = params.name ?? params.uri
  const { _meta, ...rest } = params
  return {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      ...(typeof name === 'string' ? { 'mcp-name': name } : {}),
      ...headers,
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method,
      params: { ...rest, _meta: { ...META, ...(_meta as object | undefined) } },
    }),
  }
}

/** A request of a 2025 session, as `fetch` takes it. */
export function legacy(method: string, params: object = {}, session?: string): RequestInit {
  return {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2025-11-25',
      ...(session === undefined ? {} : { 'mcp-session-id': session }),
    },
    body: JSON.stringify({ jsonrpc: '2.0', ...(method.startsWith('notifications/') ? {} : { id: 1 }), method, params }),
  }
}

export const INITIALIZE = {
  protocolVersion: '2025-11-25',
  capabilities: {},
  clientInfo: { name: 'by hand', version: '1.0.0' },
}

import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { createRuntime, defineServer, defineTool, type Runtime, type RuntimeOptions } from '../../src/index.ts'
import type { ServerDefinition } from '../../src/define/server.ts'

/** Says who it was called by. */
export const whoami = defineTool({
  name: 'whoami',
  description: 'Says who calls',
  run: (_args, { principal }) => JSON.stringify(principal),
})

export const server = defineServer({ name: 'guarded', version: '1.0.0', tools: [whoami] })

/** A port that is free now: the URL of a server that checks audiences has to be known before it starts. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}

/** A server that listens, its URL told to it. */
export async function serve(
  options: (url: string) => RuntimeOptions,
  definition: ServerDefinition = server,
): Promise<{ runtime: Runtime; url: string }> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}/mcp`
  const runtime = await createRuntime(definition, {
    dataDir: false,
    logLevel: 'silent',
    publicUrl: url,
    port,
    ...options(url),
  })
  await runtime.listen()
  return { runtime, url }
}

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}

export interface Reply {
  status: number
  headers: Headers
  challenge: string | null
  message: { result?: any; error?: { code: number; message: string; data: Record<string, any> } } | undefined
}

/** A request of 2026-07-28, as a client makes it. */
export function modernRequest(
  method: string,
  params: Record<string, unknown> = {},
  headers: Record<string, string> = {},
): RequestInit {
  const name = params['name'] ?? params['uri']
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
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: META } }),
  }
}

export async function toReply(response: Response): Promise<Reply> {
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    challenge: response.headers.get('www-authenticate'),
    message: text === '' ? undefined : (JSON.parse(text) as NonNullable<Reply['message']>),
  }
}

/** Calls a tool; by default without a credential. */
export async function call(url: string, headers: Record<string, string> = {}, name = 'whoami'): Promise<Reply> {
  return toReply(await fetch(url, modernRequest('tools/call', { name, arguments: {} }, headers)))
}

export const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })

/** The principal that `whoami` was called by. */
export function principalOf({ message }: Reply): unknown {
  return JSON.parse(message!.result.content[0].text as string)
}

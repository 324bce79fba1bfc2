/** A POST to an MCP endpoint on this machine, for sections whose load is light enough to be made by the bench itself. */
import { request } from 'node:http'
import type { Agent } from 'node:http'

/** An answer, read whole. */
export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: string
}

/** @throws Error where the connection fails, or `signal` aborts. */
export function send(
  port: number,
  agent: Agent,
  body: object,
  headers: Readonly<Record<string, string>> = {},
  signal?: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const bytes = JSON.stringify({ jsonrpc: '2.0', ...body })
    const all = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'content-length': String(Buffer.byteLength(bytes)),
      ...headers,
    }
    const options = { host: '127.0.0.1', port, path: '/mcp', method: 'POST', agent, headers: all }
    const sent = request(signal === undefined ? options : { ...options, signal }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body: text }))
      response.on('error', reject)
    })
    sent.on('error', reject)
    sent.end(bytes)
  })
}

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}

/** Calls a tool at 2026-07-28. */
export function callTool(
  port: number,
  agent: Agent,
  name: string,
  args: object,
  signal?: AbortSignal,
): Promise<Answer> {
  const params = { name, arguments: args, _meta: META }
  const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': name }
  return send(port, agent, { id: 1, method: 'tools/call', params }, headers, signal)
}

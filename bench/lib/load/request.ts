/** Ready bytes of the requests that a measurement repeats, with the changing digits patched in place. */

/** Which protocol a server is called with: the newest revision it speaks, and whether it keeps sessions. */
export interface Wire {
  /** `MCP-Protocol-Version`, such as `2026-07-28`. */
  revision: string
  /**
   * `envelope`: every request describes itself in `_meta` and headers (2026-07-28).
   * `session`: `initialize` first, then calls under `Mcp-Session-Id` (2025 revisions).
   * `stateless`: calls with the version header alone, no handshake (what 2025 servers call stateless mode).
   */
  mode: 'envelope' | 'session' | 'stateless'
  /** Header of every request, where the server asks for one. */
  authorization?: string
}

/** What a measurement repeats. */
export type Operation = 'add' | 'list'

/** A JSON-RPC message before its envelope; without an id it is a notification. */
export interface RpcRequest {
  method: string
  id?: number
  params?: object
}

/** One connection's own copy of a request: its digits are rewritten before each send. */
export interface RequestTemplate {
  bytes: Buffer
  idOffset: number
  /** -1 where the operation takes no operands. */
  aOffset: number
  bOffset: number
}

const idDigits = 9
/** First of the ids: all have nine digits, so the length of a request never changes. */
export const firstId = 100_000_000
const sampleId = 987_654_321
const sampleA = 1357
const sampleB = 2468

const clientInfo = { name: 'holdfast-bench', version: '1.0.0' }

function envelope(revision: string): object {
  const prefix = 'io.modelcontextprotocol'
  return {
    [`${prefix}/protocolVersion`]: revision,
    [`${prefix}/clientInfo`]: clientInfo,
    [`${prefix}/clientCapabilities`]: {},
  }
}

/** HTTP bytes of one POST of `message`, with the headers that the wire asks for. */
export function postBytes(
  message: RpcRequest,
  wire: Wire,
  address: { port: number; path: string; sessionId?: string | undefined },
): Buffer {
  const params = wire.mode === 'envelope' ? { ...message.params, _meta: envelope(wire.revision) } : message.params
  const body = JSON.stringify({ jsonrpc: '2.0', ...message, ...(params === undefined ? {} : { params }) })
  const head = [
    `POST ${address.path} HTTP/1.1`,
    `Host: 127.0.0.1:${address.port}`,
    'Content-Type: application/json',
    'Accept: application/json, text/event-stream',
  ]
  if (message.method !== 'initialize') head.push(`MCP-Protocol-Version: ${wire.revision}`)
  if (wire.mode === 'envelope') {
    head.push(`Mcp-Method: ${message.method}`)
    const name = (message.params as { name?: string } | undefined)?.name
    if (name !== undefined) head.push(`Mcp-Name: ${name}`)
  }
  if (wire.authorization !== undefined) head.push(`Authorization: ${wire.authorization}`)
  if (address.sessionId !== undefined) head.push(`Mcp-Session-Id: ${address.sessionId}`)
  head.push(`Content-Length: ${Buffer.byteLength(body)}`)
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`)
}

/** The handshake of a session. */
export function initializeMessage(revision: string): RpcRequest {
  return { method: 'initialize', id: 1, params: { protocolVersion: revision, capabilities: {}, clientInfo } }
}

/** A call of the measured tool. */
export function callMessage(id: number, operands: { a: number; b: number }): RpcRequest {
  return { method: 'tools/call', id, params: { name: 'add', arguments: operands } }
}

/** The first page of the list of tools. */
export function listMessage(id: number): RpcRequest {
  return { method: 'tools/list', id, params: {} }
}

/** The request that `operation` repeats over `wire`, ready to be patched. */
export function requestTemplate(
  operation: Operation,
  wire: Wire,
  address: { port: number; path: string; sessionId?: string | undefined },
): RequestTemplate {
  const message = operation === 'add' ? callMessage(sampleId, { a: sampleA, b: sampleB }) : listMessage(sampleId)
  const bytes = postBytes(message, wire, address)
  return {
    bytes,
    idOffset: offsetAfter(bytes, `"id":`, String(sampleId)),
    aOffset: operation === 'add' ? offsetAfter(bytes, `"a":`, String(sampleA)) : -1,
    bOffset: operation === 'add' ? offsetAfter(bytes, `"b":`, String(sampleB)) : -1,
  }
}

function offsetAfter(bytes: Buffer, key: string, value: string): number {
  const at = bytes.indexOf(key + value)
  if (at < 0) throw new Error(`request template lacks ${key}${value}: ${bytes.toString()}`)
  return at + key.length
}

/** Smallest and number of values of an operand: always four digits, and so is the sum of two. */
const operandBase = 1000
const operandRange = 3500

/** The operands of call `id`: a function of the id, so a stale or a crossed answer shows as a wrong sum. */
export function operandsOf(id: number): { a: number; b: number } {
  return { a: operandBase + (id % operandRange), b: operandBase + ((id * 7) % operandRange) }
}

/** Writes id (and operands) into the template's bytes. */
export function patch(template: RequestTemplate, id: number): void {
  writeDigits(template.bytes, template.idOffset, id, idDigits)
  if (template.aOffset < 0) return
  const { a, b } = operandsOf(id)
  writeDigits(template.bytes, template.aOffset, a, 4)
  writeDigits(template.bytes, template.bOffset, b, 4)
}

function writeDigits(bytes: Buffer, offset: number, value: number, digits: number): void {
  let rest = value
  for (let at = offset + digits - 1; at >= offset; at -= 1) {
    const next = (rest / 10) | 0
    bytes[at] = 48 + rest - next * 10
    rest = next
  }
}

/** `_meta` of a 2026-07-28 request from a client without capabilities. */
export const MODERN_META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
} as const

export type Json = { [key: string]: unknown }
type HeaderFields = Record<string, string>

/** A 2026-07-28 request. `params._meta` is merged over what each request needs. */
export function modern(method: string, params: Json = {}, id: unknown = 1): Json {
  return {
    jsonrpc: '2.0',
    id,
    method,
    params: { ...params, _meta: { ...MODERN_META, ...(params._meta as Json | undefined) } },
  }
}

/** A request as the 2025 revisions send it. */
export function legacy(method: string, params?: Json, id: unknown = 1): Json {
  return { jsonrpc: '2.0', id, method, ...(params === undefined ? {} : { params }) }
}

const NAMES: Readonly<Record<string, string>> = { 'tools/call': 'name', 'prompts/get': 'name', 'resources/read': 'uri' }

/** The headers that a 2026-07-28 client sends with a message. */
export function modernHeaders(message: Json): HeaderFields {
  const params = (message.params ?? {}) as Json
  const method = String(message.method)
  const name = Object.hasOwn(NAMES, method) ? params[NAMES[method]!] : undefined
  return {
    ...BASE_HEADERS,
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    ...(typeof name === 'string' ? { 'mcp-name': encodeHeader(name) } : {}),
  }
}

/** A header value that holds any text (MCP 2026-07-28, streamable HTTP, "Value Encoding"). */
export function encodeHeader(text: string): string {
  const isPlain = /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text) && !text.startsWith('=?base64?')
  return isPlain ? text : `=?base64?${Buffer.from(text).toString('base64')}?=`
}

/** What every POST carries. */
export const BASE_HEADERS: Readonly<HeaderFields> = {
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
}

/** The bytes of a POST over HTTP/1.1. `headers` with a list of values are sent repeatedly; `undefined` leaves one out. */
export function post(
  body: string | Buffer,
  headers: Readonly<Record<string, string | readonly string[] | undefined>> = BASE_HEADERS,
  { path = '/mcp', method = 'POST', version = 'HTTP/1.1' }: { path?: string; method?: string; version?: string } = {},
): Buffer {
  const bytes = Buffer.from(body)
  const all: Record<string, string | readonly string[] | undefined> = {
    host: '127.0.0.1',
    'content-length': String(bytes.length),
    ...headers,
  }
  const lines = Object.entries(all).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((one) => `${name}: ${one}\r\n`),
  )
  return Buffer.concat([Buffer.from(`${method} ${path} ${version}\r\n${lines.join('')}\r\n`, 'latin1'), bytes])
}

/** The bytes of a request without a body. */
export function bodiless(
  method: string,
  headers: Readonly<Record<string, string | readonly string[] | undefined>> = {},
  path = '/mcp',
): Buffer {
  return post('', { 'content-length': undefined, ...headers }, { method, path })
}

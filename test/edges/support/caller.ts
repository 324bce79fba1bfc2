import { BASE_HEADERS, legacy, modern, modernHeaders, type Json } from './messages.ts'
import type { HttpTransport } from './transports.ts'

/** The two eras, by a revision of each. */
export const ERAS = ['2026-07-28', '2025-11-25'] as const
export type EraRevision = (typeof ERAS)[number]

/** Everything that came back for one request. */
export interface Called {
  readonly status: number
  /** Each message before the answer. */
  readonly notifications: readonly { readonly method: string; readonly params: Json }[]
  /** The answer; `undefined` where the connection ended without one. */
  readonly answer: { readonly id: unknown; readonly result?: Json; readonly error?: Json } | undefined
}

/** How a request is made. */
export interface CallOptions {
  readonly id?: string
  readonly signal?: AbortSignal
  readonly progressToken?: string
  readonly logLevel?: string
}

/** Opens a request; the answer is not read yet. */
export async function send(
  http: HttpTransport,
  era: EraRevision,
  method: string,
  params: Json,
  { id = 'call', signal = AbortSignal.timeout(5000), progressToken, logLevel }: CallOptions = {},
): Promise<Response> {
  const meta = progressToken === undefined ? {} : { progressToken }
  if (era === '2025-11-25') {
    const message = legacy(method, { ...params, _meta: meta }, id)
    const headers = { ...BASE_HEADERS, 'mcp-session-id': await http.session(era) }
    return fetch(http.url, { method: 'POST', headers, body: JSON.stringify(message), signal })
  }
  const level = logLevel === undefined ? {} : { 'io.modelcontextprotocol/logLevel': logLevel }
  const message = modern(method, { ...params, _meta: { ...meta, ...level } }, id)
  return fetch(http.url, { method: 'POST', headers: modernHeaders(message), body: JSON.stringify(message), signal })
}

/** Sends a request and reads all that comes back. */
export async function request(
  http: HttpTransport,
  era: EraRevision,
  method: string,
  params: Json,
  options?: CallOptions,
): Promise<Called> {
  return read(await send(http, era, method, params, options))
}

/** Reads an answer to its end, JSON or stream. */
export async function read(response: Response): Promise<Called> {
  const text = await response.text()
  const isStream = response.headers.get('content-type') === 'text/event-stream'
  const messages = isStream
    ? [...text.matchAll(/^data: (.+)$/gm)].map(([, data]) => JSON.parse(data!) as Json)
    : text === ''
      ? []
      : [JSON.parse(text) as Json]
  return {
    status: response.status,
    notifications: messages.filter((message) => 'method' in message) as never,
    answer: messages.find((message) => !('method' in message)) as Called['answer'],
  }
}

/** Calls a tool. */
export const callTool = (
  http: HttpTransport,
  era: EraRevision,
  name: string,
  args: Json = {},
  options?: CallOptions,
): Promise<Called> => request(http, era, 'tools/call', { name, arguments: args }, options)

/** The text of a tool's result. */
export const textOf = ({ answer }: Called): string =>
  ((answer?.result?.content ?? []) as { text: string }[]).map(({ text }) => text).join('')

/** Cancels a request as a client of an era does: by closing, or by saying so. */
export async function cancel(
  http: HttpTransport,
  era: EraRevision,
  client: AbortController,
  id = 'call',
): Promise<void> {
  if (era === '2026-07-28') return client.abort()
  const message = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id } }
  const headers = { ...BASE_HEADERS, 'mcp-session-id': await http.session(era) }
  await fetch(http.url, { method: 'POST', headers, body: JSON.stringify(message) })
}

// Requests as awkward clients write them: by hand, header by header, without a client library.

/** One event of a stream. `json` is its data, if it holds any. */
export interface SseEvent {
  id?: string
  retry?: number
  data: string
  json?: Message
}

/** A JSON-RPC message from the server, read without judging it. */
export interface Message {
  jsonrpc?: unknown
  id?: unknown
  method?: string
  params?: Record<string, any>
  result?: Record<string, any>
  error?: { code: number; message: string; data?: Record<string, any> }
}

/** A finished answer: `message` is the JSON-RPC response, from the body or from the stream that ended. */
export interface Reply {
  status: number
  headers: Headers
  text: string
  message?: Message
  /** The events of the stream, if the answer was one. */
  events?: SseEvent[]
}

/** An answer that is read while it is open. */
export interface Stream extends AsyncDisposable {
  status: number
  headers: Headers
  /** The next event; `undefined` when the stream has ended. Comments are counted and passed over. */
  next(): Promise<SseEvent | undefined>
  /** How many comments {@link next} has passed over. */
  comments(): number
  /** The rest of an answer that is no stream. */
  text(): Promise<string>
  /** Disconnects. */
  close(): Promise<void>
}

type HeaderValues = Record<string, string | undefined>
const BOTH_TYPES = 'application/json, text/event-stream'
const defined = (headers: HeaderValues): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined))

function parseEvent(block: string): SseEvent | undefined {
  const event: SseEvent = { data: '' }
  const data: string[] = []
  let isEmpty = true
  for (const line of block.split('\n')) {
    const [, field, value] = /^(\w+): ?(.*)$/.exec(line) ?? []
    if (field === undefined) continue
    isEmpty = false
    if (field === 'data') data.push(value!)
    else if (field === 'id') event.id = value!
    else if (field === 'retry') event.retry = Number(value)
  }
  if (isEmpty) return undefined
  event.data = data.join('\n')
  if (event.data !== '') event.json = JSON.parse(event.data) as Message
  return event
}

/** Sends a request and leaves its answer open. */
export async function open(url: string, init: RequestInit & { headers: HeaderValues }): Promise<Stream> {
  const disconnect = new AbortController()
  const response = await fetch(url, { ...init, headers: defined(init.headers), signal: disconnect.signal })
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  let buffer = ''
  let comments = 0
  const next = async (): Promise<SseEvent | undefined> => {
    for (;;) {
      const end = buffer.indexOf('\n\n')
      if (end >= 0) {
        const event = parseEvent(buffer.slice(0, end))
        if (buffer.startsWith(':')) comments++
        buffer = buffer.slice(end + 2)
        if (event) return event
        continue
      }
      const chunk = await reader?.read()
      if (!chunk || chunk.done) return undefined
      buffer = (buffer + chunk.value).replaceAll('\r\n', '\n')
    }
  }
  const text = async (): Promise<string> => {
    for (let chunk = await reader?.read(); chunk && !chunk.done; chunk = await reader?.read()) buffer += chunk.value
    return buffer
  }
  const close = async (): Promise<void> => {
    await reader?.cancel().catch(() => undefined) // rejects where the server broke the stream off: closed already
    disconnect.abort()
  }
  const { status, headers } = response
  return { status, headers, next, comments: () => comments, text, close, [Symbol.asyncDispose]: close }
}

/** Sends a request and reads its whole answer. */
export async function send(url: string, init: RequestInit & { headers: HeaderValues }): Promise<Reply> {
  const response = await fetch(url, { ...init, headers: defined(init.headers) })
  const text = await response.text()
  const reply: Reply = { status: response.status, headers: response.headers, text }
  if (response.headers.get('content-type')?.startsWith('text/event-stream')) {
    const blocks = text.replaceAll('\r\n', '\n').split('\n\n')
    reply.events = blocks.map(parseEvent).filter((event) => event !== undefined)
    const response = reply.events.find(({ json }) => json && ('result' in json || 'error' in json))
    if (response) reply.message = response.json!
  } else if (response.headers.get('content-type')?.startsWith('application/json') && text !== '')
    reply.message = JSON.parse(text) as Message
  return reply
}

/** POSTs a body: a string as it is, anything else as JSON. */
export function post(url: string, body: unknown, headers: HeaderValues = {}): Promise<Reply> {
  return send(url, postInit(body, headers))
}

/** A POST, ready to be sent; see {@link post}. */
export const postInit = (body: unknown, headers: HeaderValues): RequestInit & { headers: HeaderValues } => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', accept: BOTH_TYPES, ...headers },
  body: typeof body === 'string' ? body : JSON.stringify(body),
})

/** The revision that {@link modern} speaks. */
export const MODERN = '2026-07-28'
const KEY = 'io.modelcontextprotocol/'

/** How a request of 2026-07-28 differs from a correct one. A header that is `undefined` is left out. */
export interface ModernOptions {
  id?: unknown
  /** Replaces keys of `_meta`, named without their prefix; `undefined` leaves one out. */
  meta?: Record<string, unknown>
  headers?: HeaderValues
}

/** A request of 2026-07-28, ready to be sent. */
export function modernInit(
  method: string,
  params: Record<string, unknown> = {},
  { id = 1, meta = {}, headers = {} }: ModernOptions = {},
): RequestInit & { headers: HeaderValues } {
  const keys = {
    protocolVersion: MODERN,
    clientCapabilities: {},
    clientInfo: { name: 'raw', version: '0' },
    ...meta,
  }
  // JSON leaves out what is undefined.
  const _meta = Object.fromEntries(
    Object.entries(keys).map(([key, value]) => [key === 'progressToken' ? key : KEY + key, value]),
  )
  const name = params['name'] ?? params['uri']
  const named = ['tools/call', 'prompts/get', 'resources/read'].includes(method)
  return postInit(
    { jsonrpc: '2.0', id, method, params: { ...params, _meta } },
    {
      'mcp-protocol-version': MODERN,
      'mcp-method': method,
      'mcp-name': named && typeof name === 'string' ? name : undefined,
      ...headers,
    },
  )
}

/** Sends a request of 2026-07-28, and reads its whole answer. */
export const modern = (
  url: string,
  method: string,
  params?: Record<string, unknown>,
  options?: ModernOptions,
): Promise<Reply> => send(url, modernInit(method, params, options))

/** A session of one of the 2025 revisions. */
export interface LegacySession {
  readonly id: string
  /** The result of `initialize`. */
  readonly initialized: Record<string, any>
  readonly headers: HeaderValues
  request(method: string, params?: Record<string, unknown>, options?: LegacyOptions): Promise<Reply>
  /** Sends a request and leaves its answer open. */
  open(method: string, params?: Record<string, unknown>, options?: LegacyOptions): Promise<Stream>
  notify(method: string, params?: Record<string, unknown>): Promise<Reply>
  /** Opens the stand-alone stream, or resumes one. */
  listen(lastEventId?: string): Promise<Stream>
  end(): Promise<Reply>
}

/** How a request of a session differs from a correct one. */
export interface LegacyOptions {
  id?: unknown
  headers?: HeaderValues
}

/** The message that asks for a session at a revision. */
export const initializeMessage = (revision: string, id: unknown = 0) => ({
  jsonrpc: '2.0',
  id,
  method: 'initialize',
  params: { protocolVersion: revision, capabilities: {}, clientInfo: { name: 'raw', version: '0' } },
})

/**
 * Opens a session as every 2025 client does: `initialize` without a version header, then `notifications/initialized`.
 * @param credential headers of every request.
 */
export async function openSession(
  url: string,
  revision = '2025-11-25',
  credential: HeaderValues = {},
): Promise<LegacySession> {
  const reply = await post(url, initializeMessage(revision), credential)
  const id = reply.headers.get('mcp-session-id')
  if (reply.status !== 200 || id === null || !reply.message?.result)
    throw new Error(`initialize was answered with ${reply.status}: ${reply.text}`)
  const negotiated = reply.message.result['protocolVersion'] as string
  const headers: HeaderValues = {
    ...credential,
    'mcp-session-id': id,
    'mcp-protocol-version': negotiated === '2025-03-26' ? undefined : negotiated, // the header came with 2025-06-18
  }
  const init = (method: string, params: Record<string, unknown>, options: LegacyOptions) =>
    postInit({ jsonrpc: '2.0', id: options.id ?? 1, method, params }, { ...headers, ...options.headers })
  const session: LegacySession = {
    id,
    initialized: reply.message.result,
    headers,
    request: (method, params = {}, options = {}) => send(url, init(method, params, options)),
    open: (method, params = {}, options = {}) => open(url, init(method, params, options)),
    notify: (method, params = {}) => post(url, { jsonrpc: '2.0', method, params }, headers),
    listen: (lastEventId) =>
      open(url, { method: 'GET', headers: { ...headers, accept: 'text/event-stream', 'last-event-id': lastEventId } }),
    end: () => send(url, { method: 'DELETE', headers }),
  }
  const initialized = await session.notify('notifications/initialized')
  if (initialized.status !== 202) throw new Error(`notifications/initialized was answered with ${initialized.status}`)
  return session
}

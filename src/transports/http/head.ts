import type { RateLimitFields, RequestHead } from '../../kernel/exchange.ts'

/** Reads a header by its lower-case name. */
export type HeaderReader = (name: string) => string | undefined

/** Headers as the kernel wants them; each is read when it is asked for. */
export class HttpHead implements RequestHead {
  readonly header: HeaderReader
  readonly protocolVersion: string | undefined
  readonly acceptsJson: boolean
  readonly acceptsStream: boolean

  constructor(header: HeaderReader) {
    this.header = header
    this.protocolVersion = header('mcp-protocol-version')
    const accept = header('accept')
    // Media ranges with a wildcard stand for JSON alone: only who names the event stream can be relied on to read one.
    this.acceptsJson =
      accept === undefined ||
      accept.includes('application/json') ||
      accept.includes('*/*') ||
      accept.includes('application/*')
    this.acceptsStream = accept !== undefined && accept.includes('text/event-stream')
  }
  get mcpMethod(): string | undefined {
    return this.header('mcp-method')
  }
  get mcpName(): string | undefined {
    return this.header('mcp-name')
  }
  get sessionId(): string | undefined {
    return this.header('mcp-session-id')
  }
  get lastEventId(): string | undefined {
    return this.header('last-event-id')
  }
}

/** Whether a content type is JSON, in any charset that UTF-8 covers. */
export function isJson(contentType: string | undefined): boolean {
  if (contentType === 'application/json') return true
  if (contentType === undefined) return false
  const [type, ...parameters] = contentType
    .toLowerCase()
    .split(';')
    .map((part) => part.trim())
  return (
    type === 'application/json' &&
    parameters.every(
      (parameter) => !parameter.startsWith('charset=') || /^charset="?(utf-8|us-ascii)"?$/.test(parameter),
    )
  )
}

/** One server-sent event (HTML standard, "Server-sent events"). */
export function sseEvent(message: string, eventId: string | undefined): string {
  return eventId === undefined ? `data: ${message}\n\n` : `id: ${eventId}\ndata: ${message}\n\n`
}

/** An event without a message: `retry`, and where to resume from. The empty `data` makes clients take the id over. */
export function sseRetry(retryMs: number, eventId: string | undefined): string {
  return eventId === undefined ? `retry: ${retryMs}\n\n` : `id: ${eventId}\nretry: ${retryMs}\ndata: \n\n`
}

export const SSE_KEEP_ALIVE = ': keep-alive\n\n'

export const SSE_HEADERS: Readonly<Record<string, string>> = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  // nginx would hold events back.
  'x-accel-buffering': 'no',
}

/** The fields that tell of limits (draft-ietf-httpapi-ratelimit-headers-11), where there is anything to tell. */
export function rateLimitHeaders(fields: RateLimitFields | undefined): Readonly<Record<string, string>> | undefined {
  if (fields === undefined || fields.policy === '') return undefined
  const { policy, current } = fields
  return { 'ratelimit-policy': policy, ...(current === '' ? {} : { ratelimit: current }) }
}

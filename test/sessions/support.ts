import { expect } from 'vitest'
import type { Runtime } from '../../src/index.ts'

/** A runtime that listens. */
export interface Node {
  readonly runtime: Runtime
  readonly url: string
}

const ACCEPT = 'application/json, text/event-stream'

/** Posts a message; in a session where one is given. */
export function post(node: Pick<Node, 'url'>, body: object, session?: string, headers: object = {}): Promise<Response> {
  return fetch(node.url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: ACCEPT,
      ...(session === undefined ? {} : { 'mcp-session-id': session }),
      ...headers,
    },
    body: JSON.stringify({ jsonrpc: '2.0', ...body }),
  })
}

/** Opens or resumes a stream of a session. */
export function get(
  node: Pick<Node, 'url'>,
  session: string,
  lastEventId?: string,
  headers: object = {},
): Promise<Response> {
  return fetch(node.url, {
    headers: {
      accept: ACCEPT,
      'mcp-session-id': session,
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
      ...headers,
    },
  })
}

/** Begins a 2025-11-25 session. */
export async function open(node: Pick<Node, 'url'>, headers: object = {}): Promise<string> {
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } }
  const response = await post(node, { id: 0, method: 'initialize', params }, undefined, headers)
  await response.json()
  return response.headers.get('mcp-session-id')!
}

/** Opens a `subscriptions/listen` of 2026-07-28. */
export function listen(node: Pick<Node, 'url'>, notifications: object): Promise<Response> {
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
  }
  return post(node, { id: 1, method: 'subscriptions/listen', params: { notifications, _meta } }, undefined, {
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'subscriptions/listen',
  })
}

/** Reads events from a stream until `count` of them carry a message; keeps the last id. */
export class Events {
  readonly messages: {
    method?: string
    id?: unknown
    params?: { uri?: string; progress?: number }
    result?: unknown
    error?: { data: { code: string; retryable: boolean } }
  }[] = []
  lastId = ''
  /** Ids of all events that carried a message. */
  readonly ids: string[] = []
  readonly #reader: ReadableStreamDefaultReader<string>
  #text = ''
  constructor(response: Response) {
    expect(response.status).toBe(200)
    this.#reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  }
  async until(count: number): Promise<this> {
    while (this.messages.length < count) {
      const { done, value } = await this.#reader.read()
      if (done) throw new Error(`the stream ended after ${JSON.stringify(this.messages)}`)
      this.#take(value)
    }
    return this
  }
  /** Until the stream has said where it can be resumed from. */
  async start(): Promise<this> {
    while (this.lastId === '') this.#take((await this.#reader.read()).value!)
    return this
  }
  /** The same, where the stream may end before. */
  async untilOrEnd(count: number): Promise<this> {
    while (this.messages.length < count) {
      const { done, value } = await this.#reader.read()
      if (done) break
      this.#take(value)
    }
    return this
  }
  async end(): Promise<this> {
    for (let chunk = await this.#reader.read(); !chunk.done; chunk = await this.#reader.read()) this.#take(chunk.value)
    return this
  }
  /** What each message is about, in order: the list, or the URI, or the method. */
  get changes(): string[] {
    return this.messages.map(
      ({ method = '', params }) => params?.uri ?? /^notifications\/(\w+)\/list_changed$/.exec(method)?.[1] ?? method,
    )
  }
  #take(text: string): void {
    const parts = (this.#text + text).split('\n\n')
    this.#text = parts.pop()!
    for (const part of parts) {
      this.lastId = /^id: (.*)$/m.exec(part)?.[1] ?? this.lastId
      const data = /^data: (.+)$/m.exec(part)?.[1]
      if (data === undefined) continue
      const id = /^id: (.*)$/m.exec(part)?.[1]
      if (id !== undefined) this.ids.push(id)
      this.messages.push(JSON.parse(data) as Events['messages'][number])
    }
  }
  drop(): Promise<void> {
    return this.#reader.cancel()
  }
}

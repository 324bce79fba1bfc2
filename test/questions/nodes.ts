import { expect } from 'vitest'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { createRuntime, type Runtime, type RuntimeOptions, type ServerDefinition } from '../../src/index.ts'
import { HoldfastError } from '../../src/errors/holdfast-error.ts'
import { generateKeys } from '../../src/kernel/key-ring.ts'
import type { EventBus } from '../../src/ports/event-bus.ts'
import type { StateStore } from '../../src/ports/state-store.ts'
import { FakeClock } from '../../src/testing/index.ts'

export type Json = Record<string, unknown>

/** What is wrong, from one node's side, with what the nodes share. */
export interface Faults {
  isStoreDown: boolean
  /** The store does what it is asked to, and its answer is lost on the way. */
  losesAnswers: boolean
  losesMessages: boolean
  cannotSubscribe: boolean
}

const WELL: Faults = { isStoreDown: false, losesAnswers: false, losesMessages: false, cannotSubscribe: false }

export interface Node {
  readonly runtime: Runtime
  readonly url: string
  readonly faults: Faults
}

/** Some nodes that share a store, a bus, keys and a clock. The clock stands still but for {@link Nodes.pass}. */
export class Nodes {
  readonly clock = new FakeClock()
  memory = new MemoryStateStore(this.clock)
  readonly bus = new MemoryEventBus()
  /** Keys of values that were written. */
  readonly written = new Set<string>()
  readonly keys: string
  readonly #server: ServerDefinition
  readonly #options: RuntimeOptions
  readonly #nodes: Node[] = []

  constructor(server: ServerDefinition, options: RuntimeOptions = {}) {
    this.#server = server
    this.#options = options
    this.keys = options.keys ?? generateKeys()
  }

  async start(options: RuntimeOptions = {}): Promise<Node> {
    const faults: Faults = { ...WELL }
    const runtime = await createRuntime(this.#server, {
      dataDir: false,
      logLevel: 'silent',
      keys: this.keys,
      state: faultyStore(
        () => this.memory,
        faults,
        (key) => this.written.add(key),
      ),
      bus: faultyBus(this.bus, faults),
      clock: this.clock,
      ...this.#options,
      ...options,
    })
    const node: Node = { runtime, url: (await runtime.listen({ port: 0 })).url, faults }
    this.#nodes.push(node)
    return node
  }

  /** Keys of values that have not expired. */
  async kept(): Promise<string[]> {
    const keys = [...this.written]
    const values = await this.memory.getMany(keys)
    return keys.filter((_key, index) => values[index] !== undefined)
  }

  /** As if the store had been emptied, or restarted without what it held. */
  forgetEverything(): void {
    this.memory = new MemoryStateStore(this.clock)
  }

  /** Lets time pass in steps, with turns of the event loop between, until `isOver` says so. */
  async pass(isOver: () => boolean, stepMs = 100, steps = 20_000): Promise<void> {
    for (let step = 0; step < steps && !isOver(); step++) {
      await this.clock.advance(stepMs)
      await new Promise((resolve) => setTimeout(resolve, step % 10 === 9 ? 1 : 0))
    }
    expect(isOver(), 'what was waited for came').toBe(true)
  }

  /** Time passes until a promise has settled. */
  async settled<T>(promise: Promise<T>, stepMs?: number): Promise<T> {
    let isOver = false
    const mark = (): void => void (isOver = true)
    promise.then(mark, mark)
    await this.pass(() => isOver, stepMs)
    return promise
  }

  async close(): Promise<void> {
    for (const { faults } of this.#nodes) Object.assign(faults, WELL)
    await this.settled(Promise.all(this.#nodes.map(({ runtime }) => runtime.close())))
    await this.memory.close()
    await this.bus.close()
  }
}

const down = (): Promise<never> => Promise.reject(new HoldfastError('backend_failed', 'It is down.'))

function faultyStore(store: () => StateStore, faults: Faults, onWrite: (key: string) => void): StateStore {
  return new Proxy(store(), {
    get:
      (_target, name) =>
      (...args: unknown[]): unknown => {
        if (faults.isStoreDown) return down()
        if (name === 'set' || name === 'compareAndSet') onWrite(args[0] as string)
        const member = Reflect.get(store(), name) as (...args: unknown[]) => unknown
        const answer = Reflect.apply(member, store(), args)
        return faults.losesAnswers ? Promise.resolve(answer).then(down) : answer
      },
  })
}

function faultyBus(bus: EventBus, faults: Faults): EventBus {
  return {
    publish: (channel, message) => (faults.losesMessages ? Promise.resolve() : bus.publish(channel, message)),
    subscribe: (channel, onMessage, onGap) =>
      faults.cannotSubscribe ? down() : bus.subscribe(channel, onMessage, onGap),
    close: () => Promise.resolve(),
  }
}

/** Everything that a client can be asked. */
export const CAPABILITIES = { elicitation: { form: {}, url: {} }, sampling: { tools: {} }, roots: {} }
const ACCEPT = 'application/json, text/event-stream'

export interface Answered {
  status: number
  result?: Json & {
    resultType?: string
    inputRequests?: Record<string, { method: string; params: Json }>
    requestState?: string
    content?: { text: string }[]
    isError?: boolean
  }
  error?: { code: number; message: string; data: Json & { code: string; retryable: boolean } }
}

export interface ModernCall {
  method?: 'tools/call' | 'prompts/get' | 'resources/read' | 'completion/complete' | 'resources/list'
  params: Json
  capabilities?: Json
  meta?: Json
  headers?: Record<string, string>
  signal?: AbortSignal
}

let ids = 0
/** One request of revision 2026-07-28; a stream is read to its end. */
export async function modern(node: Node, call: ModernCall): Promise<Answered & { messages: Json[] }> {
  const { method = 'tools/call', params, capabilities = CAPABILITIES, meta, headers, signal } = call
  const name = params.name ?? params.uri
  const response = await fetch(node.url, {
    method: 'POST',
    ...(signal === undefined ? {} : { signal }),
    headers: {
      'content-type': 'application/json',
      accept: ACCEPT,
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      ...(typeof name === 'string' ? { 'mcp-name': name } : {}),
      ...headers,
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: ++ids,
      method,
      params: {
        ...params,
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientCapabilities': capabilities,
          ...meta,
        },
      },
    }),
  })
  const text = await response.text()
  const messages = response.headers.get('content-type')?.startsWith('text/event-stream')
    ? [...text.matchAll(/^data: (.+)$/gm)].map(([, data]) => JSON.parse(data!) as Json)
    : [JSON.parse(text) as Json]
  return { status: response.status, messages, ...(messages.at(-1) as object) }
}

/** `tools/call` at 2026-07-28; `leg` is what a later leg brings. */
export const callModern = (
  node: Node,
  name: string,
  args: Json = {},
  leg: Json = {},
  more: Partial<ModernCall> = {},
): Promise<Answered & { messages: Json[] }> => modern(node, { params: { name, arguments: args, ...leg }, ...more })

export const accept = (content: Json): Json => ({ action: 'accept', content })

export const textOf = (answer: Answered): string => {
  expect(answer.error, 'no error was answered').toBeUndefined()
  return answer.result!.content!.map(({ text }) => text).join('\n')
}

/** A client of the 2025 revisions that says each message to the node it is told. */
export class LegacyClient {
  readonly session: string
  readonly revision: string
  readonly headers: Record<string, string>
  private constructor(session: string, revision: string, headers: Record<string, string>) {
    this.session = session
    this.revision = revision
    this.headers = headers
  }

  static async open(
    node: Node,
    revision = '2025-11-25',
    { capabilities = CAPABILITIES, headers = {} }: { capabilities?: Json; headers?: Record<string, string> } = {},
  ): Promise<LegacyClient> {
    const params = { protocolVersion: revision, capabilities, clientInfo: { name: 'test', version: '1' } }
    const response = await send(node, { jsonrpc: '2.0', id: 0, method: 'initialize', params }, headers)
    await response.text()
    return new LegacyClient(response.headers.get('mcp-session-id')!, revision, headers)
  }

  send(node: Node, message: Json | Json[]): Promise<Response> {
    return send(node, message, { 'mcp-session-id': this.session, ...this.headers })
  }
  request(node: Node, method: string, params: Json = {}, id: string | number = ++ids): Promise<Response> {
    return this.send(node, { jsonrpc: '2.0', id, method, params })
  }
  async call(node: Node, name: string, args: Json = {}, id?: number, meta: Json = {}): Promise<EventStream> {
    return new EventStream(await this.request(node, 'tools/call', { name, arguments: args, _meta: meta }, id))
  }
  async answer(node: Node, id: unknown, answer: Json): Promise<number> {
    const response = await this.send(node, { jsonrpc: '2.0', id, ...answer })
    await response.text()
    return response.status
  }
  async resume(node: Node, lastEventId: string): Promise<EventStream> {
    return new EventStream(
      await fetch(node.url, {
        headers: { accept: ACCEPT, 'mcp-session-id': this.session, 'last-event-id': lastEventId, ...this.headers },
      }),
    )
  }
}

const send = (node: Node, message: unknown, headers: Record<string, string>): Promise<Response> =>
  fetch(node.url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: ACCEPT, ...headers },
    body: JSON.stringify(message),
  })

export interface Message {
  id?: unknown
  method?: string
  params?: Json
  result?: Json & { content?: { text: string }[]; isError?: boolean }
  error?: { code: number; message: string; data: { code: string; retryable: boolean } }
}

/** The messages of an answer, be it a stream or JSON, as they come. */
export class EventStream {
  readonly messages: Message[] = []
  lastId = ''
  readonly response: Response
  readonly #reader: ReadableStreamDefaultReader<string>
  readonly #isStream: boolean
  #text = ''
  #seen = 0

  constructor(response: Response) {
    this.response = response
    this.#isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true
    this.#reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  }

  /** The next message that `is` what is looked for, or the next at all; those before it are passed over. */
  async next(is: (message: Message) => boolean = () => true): Promise<Message> {
    for (;;) {
      const found = this.messages.findIndex((message, index) => index >= this.#seen && is(message))
      if (found !== -1) {
        this.#seen = found + 1
        return this.messages[found]!
      }
      const { done, value } = await this.#reader.read()
      if (!done) this.#take(value)
      else if (this.#isStream || this.#text === '') throw new Error(`ended after ${JSON.stringify(this.messages)}`)
      else {
        this.messages.push(JSON.parse(this.#text) as Message)
        this.#text = ''
      }
    }
  }
  /** The next request of the server's. */
  question(): Promise<Message> {
    return this.next(({ method, id }) => method !== undefined && id !== undefined)
  }
  /** The answer to the call. */
  answer(): Promise<Message> {
    return this.next(({ result, error }) => result !== undefined || error !== undefined)
  }
  drop(): Promise<void> {
    return this.#reader.cancel()
  }

  #take(chunk: string): void {
    this.#text += chunk
    if (!this.#isStream) return
    const parts = this.#text.split('\n\n')
    this.#text = parts.pop()!
    for (const part of parts) {
      this.lastId = /^id: (.*)$/m.exec(part)?.[1] ?? this.lastId
      const data = /^data: (.+)$/m.exec(part)?.[1]
      if (data !== undefined) this.messages.push(JSON.parse(data) as Message)
    }
  }
}

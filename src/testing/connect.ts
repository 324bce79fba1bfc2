import { systemClock } from '../ports/clock.ts'
import { MemoryTaskQueue } from '../backends/memory/task-queue.ts'
import { MemoryStateStore } from '../backends/memory/state-store.ts'
import { internalsOf, createRuntime } from '../compose/runtime.ts'
import type { Runtime } from '../compose/runtime-types.ts'
import type { RuntimeOptions } from '../compose/options.ts'
import type { ContentBlock, PromptMessage, ResourceContents } from '../define/content.ts'
import { ANONYMOUS, type LogLevel, type Principal } from '../define/context.ts'
import type { ServerDefinition } from '../define/server.ts'
import type { Connection } from '../kernel/exchange.ts'
import {
  isLegacy,
  LATEST_MODERN,
  META,
  OWN_META,
  TASKS_EXTENSION,
  type JsonObject,
  type Revision,
} from '../kernel/protocol.ts'
import { LineExchange } from '../transports/stdio/stdio.ts'
import { ReferenceTaskStore } from './reference-task-store.ts'
import { ANSWERING, answerTo, type Answer } from './answers.ts'
import { RpcError } from './rpc-error.ts'
import { ClientTask, type TaskHandle } from './task-handle.ts'

/** What `tools/call` answered. */
export interface ToolCallResult {
  content: ContentBlock[]
  structuredContent?: unknown
  isError: boolean
  /** The text blocks, joined by line breaks. */
  text: string
}

/** How a {@link TestClient} makes one request. */
export interface RequestOptions {
  /** Cancels the request: the handler's `ctx.signal` aborts, and the promise rejects. */
  signal?: AbortSignal
  onProgress?: (progress: { progress: number; total?: number; message?: string }) => void
  onLog?: (log: { level: LogLevel; data: unknown }) => void
  /** Least severe level to hear (2026-07-28). Default: `debug` where `onLog` is given. */
  logLevel?: LogLevel
  /** Further keys of `params._meta`. */
  meta?: JsonObject
}

/** Settings of {@link connect}. */
export interface ConnectOptions {
  /** Revision to speak. Default `2026-07-28`. */
  revision?: Revision
  /** Capabilities that the client declares. Default: with `answers`, all that can be asked; else none. */
  capabilities?: JsonObject
  /** The client knows tasks: it declares the extension (2026-07-28). Default false. */
  tasks?: boolean
  /** Who calls, for tools that look at it or need scopes. Default: the anonymous caller, who has no scopes. */
  principal?: Partial<Principal>
  /** What the client answers when a handler asks, by the name of the question; the call goes on by itself. */
  answers?: Readonly<Record<string, Answer>>
  /** Options of the runtime. Default: nothing is written to disk or log. */
  runtime?: RuntimeOptions
}

/** A client in the same process: no socket, no serialisation beyond the protocol's own. */
export interface TestClient extends AsyncDisposable {
  readonly runtime: Runtime
  /** Sends any request; resolves to its `result`. @throws {RpcError} */
  request(method: string, params?: JsonObject, options?: RequestOptions): Promise<JsonObject>
  /** Sends a notification. */
  notify(method: string, params?: JsonObject): void
  /** Calls a tool, and waits for its result, also where the call becomes a task. @throws {RpcError} */
  callTool(name: string, args?: JsonObject, options?: RequestOptions): Promise<ToolCallResult>
  /** Calls a tool that becomes a task; needs `tasks: true`. Rejects where the call is answered instead. @throws {RpcError} */
  startTask(name: string, args?: JsonObject, options?: RequestOptions): Promise<TaskHandle>
  listTools(): Promise<JsonObject[]>
  listPrompts(): Promise<JsonObject[]>
  listResources(): Promise<JsonObject[]>
  listResourceTemplates(): Promise<JsonObject[]>
  getPrompt(name: string, args?: Record<string, string>): Promise<{ description?: string; messages: PromptMessage[] }>
  readResource(uri: string): Promise<ResourceContents[]>
  /** Proposed values for an argument of a prompt (`{ prompt }`) or a variable of a template (`{ template }`). */
  complete(
    target: { prompt: string } | { template: string },
    argument: string,
    value: string,
    chosen?: Record<string, string>,
  ): Promise<string[]>
  /** Every message that belongs to no request: changes, and notifications of `subscriptions/listen`. */
  readonly notifications: readonly JsonObject[]
  close(): Promise<void>
}

let clients = 0

/**
 * Connects a client to a server definition, in memory: for tests of tools without sockets.
 *
 * @example
 * await using client = await connect(server)
 * expect((await client.callTool('add', { a: 1, b: 2 })).structuredContent).toEqual({ sum: 3 })
 */
export async function connect(server: ServerDefinition, options: ConnectOptions = {}): Promise<TestClient> {
  const { revision = LATEST_MODERN, answers } = options
  const declared = options.capabilities ?? (answers === undefined ? {} : ANSWERING)
  const extensions = { ...(declared.extensions as JsonObject | undefined), [TASKS_EXTENSION]: {} }
  const capabilities = options.tasks === true ? { ...declared, extensions } : declared
  const clock = options.runtime?.clock ?? systemClock
  const runtime = await createRuntime(server, {
    dataDir: false,
    logLevel: 'silent',
    // Stores of its own, whatever REDIS_URL and DATABASE_URL say on this machine.
    state: new MemoryStateStore(clock),
    tasks: new ReferenceTaskStore(clock),
    queue: new MemoryTaskQueue(() => undefined),
    // Nothing outside the test is listened to.
    worker: { triggers: false },
    ...options.runtime,
  })
  const principal =
    options.principal === undefined
      ? ANONYMOUS
      : { issuer: 'https://issuer.test', subject: 'tester', scopes: [], ...options.principal }
  const client = new MemoryClient(runtime, revision, capabilities, answers, principal)
  if (isLegacy(revision)) {
    await client.request('initialize', {
      protocolVersion: revision,
      capabilities,
      clientInfo: { name: 'holdfast-testing', version: '1.0.0' },
    })
    client.notify('notifications/initialized')
  }
  return client
}

interface Waiting extends RequestOptions {
  resolve(result: JsonObject): void
  reject(error: Error): void
}

interface AskedRequest {
  method: string
  params: JsonObject
}

class MemoryClient implements TestClient {
  readonly runtime: Runtime
  readonly notifications: JsonObject[] = []
  readonly #isLegacy: boolean
  readonly #capabilities: JsonObject
  readonly #principal: Principal
  readonly #connection: Connection
  readonly #waiting = new Map<number, Waiting>()
  readonly #answers: Readonly<Record<string, Answer>> | undefined
  #nextId = 1

  constructor(
    runtime: Runtime,
    revision: Revision,
    capabilities: JsonObject,
    answers: Readonly<Record<string, Answer>> | undefined,
    principal: Principal,
  ) {
    this.runtime = runtime
    this.#answers = answers
    this.#isLegacy = isLegacy(revision)
    this.#capabilities = capabilities
    this.#principal = principal
    this.#connection = {
      scope: `memory-${++clients}`,
      transport: 'memory',
      write: (text) => this.#receive(text),
      onDropped: new Set(),
      session: undefined,
    }
  }

  async request(method: string, params: JsonObject = {}, options: RequestOptions = {}): Promise<JsonObject> {
    let result = await this.#requestOnce(method, params, options)
    while (this.#answers !== undefined && result.resultType === 'input_required') {
      const asked = Object.entries((result.inputRequests ?? {}) as Record<string, AskedRequest>)
      const answered = asked.map(async ([name, ask]) => [name, await answerTo(this.#answers!, name, ask)] as const)
      const inputResponses = Object.fromEntries(await Promise.all(answered))
      const { requestState } = result
      result = await this.#requestOnce(
        method,
        { ...params, inputResponses, ...(requestState === undefined ? {} : { requestState }) },
        options,
      )
    }
    return result
  }

  #requestOnce(method: string, params: JsonObject, options: RequestOptions): Promise<JsonObject> {
    const id = this.#nextId++
    const { signal, meta, onProgress, onLog, logLevel } = options
    const level = logLevel ?? (onLog === undefined ? undefined : 'debug')
    const _meta: JsonObject = {
      ...(this.#isLegacy
        ? {}
        : {
            [META.protocolVersion]: LATEST_MODERN,
            [META.clientCapabilities]: this.#capabilities,
            [META.clientInfo]: { name: 'holdfast-testing', version: '1.0.0' },
            ...(level === undefined ? {} : { [META.logLevel]: level }),
          }),
      ...(onProgress === undefined ? {} : { progressToken: id }),
      ...meta,
      ...(params._meta as JsonObject | undefined),
    }
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error)
      const onAbort = (): void => {
        this.#waiting.delete(id)
        this.notify('notifications/cancelled', { requestId: id })
        reject(signal!.reason as Error)
      }
      const settle = (): void => signal?.removeEventListener('abort', onAbort)
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.set(id, {
        ...options,
        resolve: (result) => {
          settle()
          resolve(result)
        },
        reject: (error) => {
          settle()
          reject(error)
        },
      })
      this.#send({
        jsonrpc: '2.0',
        id,
        method,
        params: { ...params, ...(Object.keys(_meta).length === 0 ? {} : { _meta }) },
      })
    })
  }

  notify(method: string, params: JsonObject = {}): void {
    const meta = this.#isLegacy
      ? {}
      : { _meta: { [META.protocolVersion]: LATEST_MODERN, [META.clientCapabilities]: this.#capabilities } }
    this.#send({ jsonrpc: '2.0', method, params: { ...params, ...meta } })
  }

  #send(message: JsonObject): void {
    const exchange = new LineExchange('memory', this.#connection, this.#principal, (text) => this.#receive(text))
    internalsOf(this.runtime).kernel.receive(exchange, Buffer.from(JSON.stringify(message)))
  }

  #receive(text: string): void {
    const message = JSON.parse(text) as JsonObject
    const params = (message.params ?? {}) as JsonObject
    if (message.method === 'notifications/progress') {
      this.#waiting.get(params.progressToken as number)?.onProgress?.(params as never)
      return
    }
    if (message.method === 'notifications/message') {
      for (const { onLog } of this.#waiting.values()) onLog?.(params as never)
      return
    }
    if (typeof message.method === 'string') {
      if (message.id === undefined) this.notifications.push(message)
      else void this.#answer(message)
      return
    }
    const waiting = this.#waiting.get(message.id as number)
    if (waiting === undefined) return
    this.#waiting.delete(message.id as number)
    if (message.error === undefined) return waiting.resolve(message.result as JsonObject)
    const { code, message: reason, data } = message.error as { code: number; message: string; data: JsonObject }
    waiting.reject(new RpcError(code, reason, data))
  }

  /** Answers a request of the server's (2025 revisions). */
  async #answer({ id, method, params }: JsonObject): Promise<void> {
    const asked = { method, params } as AskedRequest
    const name = (asked.params._meta as JsonObject | undefined)?.[OWN_META.question] as string
    try {
      this.#send({ jsonrpc: '2.0', id, result: await answerTo(this.#answers ?? {}, name, asked) })
    } catch (error) {
      this.#send({ jsonrpc: '2.0', id, error: { code: -32603, message: (error as Error).message } })
    }
  }

  async callTool(name: string, args: JsonObject = {}, options?: RequestOptions): Promise<ToolCallResult> {
    const result = await this.#call(name, args, options)
    return result.resultType === 'task' ? this.#task(result).result() : toToolCallResult(result)
  }
  async startTask(name: string, args: JsonObject = {}, options?: RequestOptions): Promise<TaskHandle> {
    const result = await this.#call(name, args, options)
    if (result.resultType !== 'task')
      throw new Error(`The call of ${JSON.stringify(name)} became no task: ${JSON.stringify(result)}`)
    return this.#task(result)
  }
  async #call(name: string, args: JsonObject, options: RequestOptions | undefined): Promise<JsonObject> {
    const result = await this.request('tools/call', { name, arguments: args }, options)
    if (result.resultType === 'input_required')
      throw new Error(
        `The tool asks ${Object.keys((result.inputRequests ?? {}) as object).join(', ')}: give \`connect\` its \`answers\`.`,
      )
    return result
  }
  #task({ taskId }: JsonObject): ClientTask {
    const send = (method: string, params: JsonObject): Promise<JsonObject> => this.request(method, params)
    return new ClientTask(taskId as string, send, this.#answers, toToolCallResult)
  }
  async #list(method: string, member: string): Promise<JsonObject[]> {
    const all: JsonObject[] = []
    for (let cursor: unknown; ;) {
      const page = await this.request(method, cursor === undefined ? {} : { cursor })
      all.push(...(page[member] as JsonObject[]))
      cursor = page.nextCursor
      if (cursor === undefined) return all
    }
  }
  listTools(): Promise<JsonObject[]> {
    return this.#list('tools/list', 'tools')
  }
  listPrompts(): Promise<JsonObject[]> {
    return this.#list('prompts/list', 'prompts')
  }
  listResources(): Promise<JsonObject[]> {
    return this.#list('resources/list', 'resources')
  }
  listResourceTemplates(): Promise<JsonObject[]> {
    return this.#list('resources/templates/list', 'resourceTemplates')
  }
  async getPrompt(
    name: string,
    args: Record<string, string> = {},
  ): Promise<{ description?: string; messages: PromptMessage[] }> {
    return (await this.request('prompts/get', { name, arguments: args })) as unknown as { messages: PromptMessage[] }
  }
  async readResource(uri: string): Promise<ResourceContents[]> {
    return (await this.request('resources/read', { uri })).contents as ResourceContents[]
  }
  async complete(
    target: { prompt: string } | { template: string },
    argument: string,
    value: string,
    chosen: Record<string, string> = {},
  ): Promise<string[]> {
    const ref =
      'prompt' in target ? { type: 'ref/prompt', name: target.prompt } : { type: 'ref/resource', uri: target.template }
    const result = await this.request('completion/complete', {
      ref,
      argument: { name: argument, value },
      context: { arguments: chosen },
    })
    return (result.completion as { values: string[] }).values
  }
  async close(): Promise<void> {
    await this.#connection.session?.close()
    await this.runtime.close()
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function toToolCallResult(result: JsonObject): ToolCallResult {
  const content = result.content as ContentBlock[]
  const text = content.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('\n')
  return { ...result, content, isError: result.isError === true, text }
}

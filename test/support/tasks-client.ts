import { setTimeout as sleep } from 'node:timers/promises'

/** A JSON object from the wire, read without judging it. */
export type Json = Record<string, any>

/** A JSON-RPC error that was answered. */
export class TasksRpcError extends Error {
  readonly code: number
  readonly data: Json
  constructor({ code, message, data = {} }: { code: number; message: string; data?: Json }) {
    super(message)
    this.code = code
    this.data = data
  }
}

/** Sends a request, and resolves to its `result`; rejects with {@link TasksRpcError}. */
export type Send = (method: string, params: Json) => Promise<Json>

/** What a client of tasks declares. */
export const DECLARES_TASKS = { elicitation: {}, extensions: { 'io.modelcontextprotocol/tasks': {} } }

const PREFIX = 'io.modelcontextprotocol/'
const ENDED = ['completed', 'failed', 'cancelled']

/** The parameters of a request of 2026-07-28 with what each must carry. */
export const withMeta = (params: Json, capabilities: Json): Json => ({
  ...params,
  _meta: {
    [`${PREFIX}protocolVersion`]: '2026-07-28',
    [`${PREFIX}clientCapabilities`]: capabilities,
    [`${PREFIX}clientInfo`]: { name: 'tasks-client', version: '1' },
    ...params['_meta'],
  },
})

let ids = 0

/** Sends requests of 2026-07-28 over HTTP, one POST each; any endpoint of the same servers will do. */
export function overHttp(url: string | (() => string), capabilities: Json = DECLARES_TASKS, headers: Json = {}): Send {
  return async (method, params) => {
    const response = await postTasks(typeof url === 'string' ? url : url(), method, params, capabilities, headers)
    const answer = await readAnswer(response)
    if (answer['error'] !== undefined) throw new TasksRpcError(answer['error'])
    return answer['result'] as Json
  }
}

/** One POST of a request of 2026-07-28, with the headers that it needs. */
export function postTasks(
  url: string,
  method: string,
  params: Json,
  capabilities: Json = DECLARES_TASKS,
  headers: Json = {},
  signal?: AbortSignal,
): Promise<Response> {
  const name = method.startsWith('tasks/') ? params['taskId'] : (params['name'] ?? params['uri'])
  return fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      ...(typeof name === 'string' ? { 'mcp-name': name } : {}),
      ...headers,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: ++ids, method, params: withMeta(params, capabilities) }),
    ...(signal === undefined ? {} : { signal }),
  })
}

/** The JSON-RPC response of an answer: its body, or the last message of its stream. */
export async function readAnswer(response: Response): Promise<Json> {
  const text = await response.text()
  if (!response.headers.get('content-type')?.startsWith('text/event-stream')) return JSON.parse(text) as Json
  const messages = [...text.matchAll(/^data: (.+)$/gm)].map((match) => JSON.parse(match[1]!) as Json)
  const answer = messages.find((message) => 'result' in message || 'error' in message)
  if (answer === undefined) throw new Error(`The stream ended without an answer: ${text}`)
  return answer
}

/**
 * A thin client of the tasks extension (SEP-2663), which the official client does not speak: it rejects
 * `resultType: "task"`, and refuses to send `tasks/get`.
 */
export class TasksClient {
  readonly #send: Send
  constructor(send: Send) {
    this.#send = send
  }

  /** Any request. */
  request(method: string, params: Json = {}): Promise<Json> {
    return this.#send(method, params)
  }

  /** Calls a tool; resolves to the id of the task that the call has become. */
  async start(name: string, args: Json = {}, meta?: Json): Promise<string> {
    const params = { name, arguments: args, ...(meta === undefined ? {} : { _meta: meta }) }
    const result = await this.#send('tools/call', params)
    if (result['resultType'] !== 'task') throw new Error(`The call became no task: ${JSON.stringify(result)}`)
    return result['taskId'] as string
  }

  get(taskId: string): Promise<Json> {
    return this.#send('tasks/get', { taskId })
  }

  update(taskId: string, inputResponses: Json): Promise<Json> {
    return this.#send('tasks/update', { taskId, inputResponses })
  }

  cancel(taskId: string): Promise<Json> {
    return this.#send('tasks/cancel', { taskId })
  }

  /** Asks again and again, until the task has ended, or is in the state that is waited for. */
  async wait(taskId: string, status?: string, timeoutMs = 15_000): Promise<Json> {
    const untilMs = performance.now() + timeoutMs
    for (;;) {
      const task = await this.get(taskId)
      if (task['status'] === status || ENDED.includes(task['status'] as string)) return task
      if (performance.now() > untilMs) throw new Error(`The task was still ${task['status']} after ${timeoutMs} ms.`)
      await sleep(20)
    }
  }
}

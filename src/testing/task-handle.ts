import type { JsonObject } from '../kernel/protocol.ts'
import type { TaskStatus } from '../kernel/task-engine.ts'
import { answerTo, type Answer } from './answers.ts'
import type { ToolCallResult } from './connect.ts'
import { RpcError } from './rpc-error.ts'

/** A task as its client sees it (SEP-2663, `DetailedTask`). */
export interface TaskState {
  taskId: string
  status: TaskStatus
  statusMessage?: string
  createdAt: string
  lastUpdatedAt: string
  ttlMs: number
  pollIntervalMs: number
  /** With `input_required`: the open questions by name. */
  inputRequests?: Record<string, { method: string; params: JsonObject }>
  /** With `completed`. */
  result?: JsonObject
  /** With `failed`. */
  error?: { code: number; message: string; data?: JsonObject }
}

/** A call that has become a task; see `startTask` of a test client. */
export interface TaskHandle {
  readonly id: string
  /** `tasks/get`. @throws {RpcError} */
  get(): Promise<TaskState>
  /** `tasks/update`: answers by name, each as the protocol has it: `{ action: 'accept', content }`. @throws {RpcError} */
  update(inputResponses: JsonObject): Promise<void>
  /** `tasks/cancel`. @throws {RpcError} */
  cancel(): Promise<void>
  /** Asks until the task has ended, or is in this state. */
  wait(status?: TaskStatus): Promise<TaskState>
  /**
   * Waits for the end, answers what the task asks with the client's `answers`, and gives what the call would have given.
   * @throws {RpcError} where the task has failed, or was cancelled.
   */
  result(): Promise<ToolCallResult>
}

const POLL_MS = 10
const ENDED: ReadonlySet<TaskStatus> = new Set(['completed', 'failed', 'cancelled'])

type Send = (method: string, params: JsonObject) => Promise<JsonObject>

/** {@link TaskHandle} over a client's requests. */
export class ClientTask implements TaskHandle {
  readonly id: string
  readonly #send: Send
  readonly #answers: Readonly<Record<string, Answer>> | undefined
  readonly #toResult: (result: JsonObject) => ToolCallResult

  constructor(
    id: string,
    send: Send,
    answers: Readonly<Record<string, Answer>> | undefined,
    toResult: (result: JsonObject) => ToolCallResult,
  ) {
    this.id = id
    this.#send = send
    this.#answers = answers
    this.#toResult = toResult
  }

  async get(): Promise<TaskState> {
    return (await this.#send('tasks/get', { taskId: this.id })) as unknown as TaskState
  }
  async update(inputResponses: JsonObject): Promise<void> {
    await this.#send('tasks/update', { taskId: this.id, inputResponses })
  }
  async cancel(): Promise<void> {
    await this.#send('tasks/cancel', { taskId: this.id })
  }
  async wait(status?: TaskStatus): Promise<TaskState> {
    for (;;) {
      const task = await this.get()
      if (task.status === status || ENDED.has(task.status)) return task
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }

  async result(): Promise<ToolCallResult> {
    const answered = new Set<string>()
    for (;;) {
      const { status, inputRequests = {}, result, error } = await this.wait('input_required')
      if (status === 'completed') return this.#toResult(result!)
      if (status === 'failed') throw new RpcError(error!.code, error!.message, error!.data ?? {})
      if (status === 'cancelled') throw new RpcError(-32603, `The task ${this.id} was cancelled.`, {})
      const open = Object.entries(inputRequests).filter(([name]) => !answered.has(name))
      if (this.#answers === undefined)
        throw new Error(`The task asks ${Object.keys(inputRequests).join(', ')}: give \`connect\` its \`answers\`.`)
      if (open.length === 0)
        throw new Error(`The answer to ${Object.keys(inputRequests).join(', ')} does not fit what the task asked.`)
      const responses: JsonObject = {}
      for (const [name, request] of open) {
        answered.add(name)
        responses[name] = await answerTo(this.#answers, name, request)
      }
      await this.update(responses)
    }
  }
}

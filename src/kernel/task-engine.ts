import type { Client, Principal } from '../define/context.ts'
import type { ToolDefinition } from '../define/tool.ts'
import type { Outcome } from './invocation.ts'
import type { JsonObject, Revision } from './protocol.ts'
import type { ClientRequest } from './question.ts'
import type { Entry } from './request-state.ts'

/**
 * Runs calls of tools as durable tasks. The kernel knows no more of tasks than this; `tasks/` implements it over a task store
 * and a queue.
 *
 * Errors of the store reach the caller as `backend_failed`: whether the task was changed is open, and every method may be
 * called again.
 */
export interface TaskEngine {
  /**
   * Stores a task; resolves when it is committed, and readable on every node. With an idempotency key that its owner has used
   * for the tool, that key's task is returned.
   * @throws {HoldfastError} `overloaded` where too many tasks wait already, `idempotency_key_reused` for other arguments.
   */
  start(start: TaskStart): Promise<TaskView>
  /** A task of this principal; `undefined` where there is none, or it is another's. */
  get(id: string, principal: Principal): Promise<TaskView | undefined>
  /**
   * Answers open questions of a task, those whose answers fit; the last one has it go on. Unknown and answered names are
   * passed over. `false`: there is no such task of this principal.
   *
   * @param isLast an answer that does not fit is not asked for again: it counts as a refusal.
   */
  answer(
    id: string,
    principal: Principal,
    answers: Readonly<Record<string, unknown>>,
    isLast?: boolean,
  ): Promise<boolean>
  /** Has a task end; effective at once where no worker has it. `false`: there is no such task of this principal. */
  cancel(id: string, principal: Principal): Promise<boolean>
  /** Tells of changes from now on, until the returned function is called. A change may be told twice. */
  watch(id: string, watcher: TaskWatcher): () => void
  /**
   * Keeps an attended task alive, until the returned function is called. Then it lives for a while (or for `keepMs`), in which
   * another may attend. `isNew`: it was started just now, and its first while has begun.
   */
  attend(id: string, isNew?: boolean): (keepMs?: number) => void
}

/** What {@link TaskEngine.watch} calls. */
export interface TaskWatcher {
  /** The task has changed: read it. */
  onChange(): void
  /** How far an attended task is. */
  onProgress?(done: number, total: number | undefined, message: string | undefined): void
}

/** A call of a tool that is to run as a task. */
export interface TaskStart {
  readonly tool: ToolDefinition
  /** As the client sent them; checked already. */
  readonly arguments: JsonObject
  /** What the call had put on record before it became a task. */
  readonly entries?: readonly Entry[]
  readonly caller: TaskCaller
  readonly idempotencyKey?: string | undefined
  /** Nobody has its handle: it lives as long as somebody waits for it ({@link TaskEngine.attend}). */
  readonly isAttended: boolean
  /** Runs no sooner. Default 0. */
  readonly delayMs?: number
}

/** In place of an answer: the client has refused. */
export class ClientRefusal {
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

/** Who asked for a task, and what their client can do: what a worker runs it with. */
export interface TaskCaller {
  readonly principal: Principal
  readonly client: Client
  /** Revision that the result is rendered for. */
  readonly revision: Revision
  readonly requestId: string
  readonly traceparent: string | undefined
}

/** States of a task on the wire (SEP-2663). */
export type TaskStatus = 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled'

/** A task as its owner may see it. */
export interface TaskView {
  readonly id: string
  readonly tool: string
  readonly status: TaskStatus
  readonly statusMessage: string | undefined
  readonly createdMs: number
  readonly updatedMs: number
  /** Readable for at least so long after its creation. */
  readonly ttlMs: number
  /** Rises with each change. */
  readonly version: number
  /** With `input_required`: the open questions by key, in the order asked. */
  readonly requests: ReadonlyMap<string, ClientRequest>
  /** With `completed`. */
  readonly result: Outcome | undefined
  /** With `failed`. */
  readonly error: { readonly code: number; readonly message: string; readonly data?: JsonObject } | undefined
}

/** How often a client that asks for a task's state should ask. */
export const POLL_INTERVAL_MS = 1000

import type { JsonObject } from '../kernel/protocol.ts'
import type { TaskStatus, TaskView } from '../kernel/task-engine.ts'

/** A task, as code outside of the tools sees it. */
export interface TaskInfo {
  readonly id: string
  readonly tool: string
  readonly status: TaskStatus
  /** How far it is, in words. */
  readonly statusMessage: string | undefined
  readonly createdMs: number
  readonly updatedMs: number
  /** Rises with each change. */
  readonly version: number
  /** With `input_required`: names of the questions that are open. */
  readonly questions: readonly string[]
  /** With `completed`: what the tool returned, as a client gets it (`CallToolResult`). */
  readonly result: JsonObject | undefined
  /** With `failed`: a JSON-RPC error. */
  readonly error: { readonly code: number; readonly message: string; readonly data?: JsonObject } | undefined
}

/** What stays within the runtime is left out, and what is rendered for the wire is read. */
export function toTaskInfo(view: TaskView): TaskInfo {
  const { id, tool, status, statusMessage, createdMs, updatedMs, version, requests, result, error } = view
  return {
    id,
    tool,
    status,
    statusMessage,
    createdMs,
    updatedMs,
    version,
    questions: [...requests.keys()],
    result: result && {
      ...(JSON.parse(`{${result.members.toString()}}`) as JsonObject),
      ...(result.meta && { _meta: result.meta }),
    },
    error,
  }
}

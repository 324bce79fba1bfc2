// What a client can do with tasks, however it reaches them.
import type { Seen } from './check/operations.ts'
import type { Action } from './processes/plan.ts'

/** A way to the tasks of one owner. Everything may reject: then it may have happened. */
export interface TaskClient {
  /** Name of the process that answers. */
  readonly via: string
  readonly owner: string
  /** The same key gives the same task. */
  create(plan: readonly Action[], idempotencyKey: string): Promise<string>
  /** What is told of the task, and the questions that are open. */
  read(task: string): Promise<{ seen: Seen; asks: readonly string[] }>
  answer(task: string, name: string, value: string): Promise<void>
  cancel(task: string): Promise<void>
}

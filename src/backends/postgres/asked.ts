import type { Task } from '../../ports/task-store.ts'
import { toTask, type TaskRow } from '../sql/row.ts'
import { fromText } from '../sql/text.ts'

/** A row with the questions of its task. */
export interface AskedRow extends TaskRow {
  ask_names: string[] | null
  ask_requests: Buffer[] | null
}

/** The task of a row, with its questions. */
export function toAskedTask(row: AskedRow): Task {
  const names = row.ask_names ?? []
  return toTask(
    row,
    names.map((name, index) => ({ name: fromText(name), request: row.ask_requests![index]! })),
  )
}

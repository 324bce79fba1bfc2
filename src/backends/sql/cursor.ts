import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { TaskFilter } from '../../ports/task-store.ts'
import { isTaskId, stateNumber } from './row.ts'

/** Where a page of a list ends: the list goes on below this time and id. */
export interface Position {
  readonly createdMs: number
  readonly id: string
}

/** A cursor for people and programs to hand back. */
export const toCursor = ({ createdMs, id }: Position): string => `${createdMs}.${id}`

/** @throws {HoldfastError} `invalid_option` where a cursor is none of {@link toCursor}. */
export function fromCursor(cursor: string): Position {
  const [time = '', id = ''] = cursor.split('.')
  const createdMs = Number(time)
  if (!/^\d{1,15}$/.test(time) || !isTaskId(id))
    throw new HoldfastError(
      'invalid_option',
      `The cursor ${JSON.stringify(cursor)} was not given by this list; leave it out to begin anew.`,
    )
  return { createdMs, id }
}

/** What a list is narrowed to: SQL with the value's placeholder, and the value. */
export function conditionsOf(filter: TaskFilter, placeholder: (index: number) => string) {
  const values: (string | number)[] = []
  const place = (value: string | number): string => placeholder(values.push(value))
  const conditions = ['true']
  const { state, tool, queue, owner, dead } = filter
  if (state !== undefined) conditions.push(`state = ${place(stateNumber(state))}`)
  if (tool !== undefined) conditions.push(`tool = ${place(tool)}`)
  if (queue !== undefined) conditions.push(`queue = ${place(queue)}`)
  if (owner !== undefined) conditions.push(`owner = ${place(owner)}`)
  if (dead !== undefined) conditions.push(`dead is ${dead ? 'not ' : ''}null`)
  return { conditions, values, place }
}

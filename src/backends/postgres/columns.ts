import type { NewTask, TaskEnd } from '../../ports/task-store.ts'
import { duration, keyHash, stateNumber } from '../sql/row.ts'
import { toText } from '../sql/text.ts'

/** The same bytes, as the driver takes them. */
export const toBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
/** A text that may hold anything. */
export const textOrNull = (text: string | undefined): string | null => (text === undefined ? null : toText(text))
/** An idempotency key as it is kept. */
export const hashOrNull = (key: string | undefined): Buffer | null => (key === undefined ? null : keyHash(key))
/** Names as JSON; none as null. */
export const jsonOrNull = (names: readonly string[] | undefined): string | null =>
  names === undefined || names.length === 0 ? null : JSON.stringify(names)

/** Arrays for the insertion of tasks, in the order of its parameters. */
export function insertedColumns(tasks: readonly NewTask[]): unknown[][] {
  const column = <Value>(valueOf: (task: NewTask) => Value): Value[] => tasks.map(valueOf)
  return [
    column(({ id }) => id),
    column(({ owner }) => owner),
    column(({ tool }) => tool),
    column(({ queue }) => queue),
    column(({ delayMs }) => duration(delayMs ?? 0)),
    column(({ weight }) => weight ?? 1),
    column(({ maxAttempts }) => maxAttempts),
    column(({ maxCrashes }) => maxCrashes),
    column(({ failsWhenLost }) => failsWhenLost),
    column(({ isAttended }) => isAttended ?? false),
    column(({ ttlMs }) => (ttlMs === undefined ? null : duration(ttlMs))),
    column(({ retentionMs }) => Math.round(duration(retentionMs))),
    column(({ idempotencyKey }) => hashOrNull(idempotencyKey)),
    column(({ argsDigest }) => toBuffer(argsDigest)),
    column(({ handlerRevision }) => handlerRevision ?? null),
    column(({ redriveOf }) => redriveOf ?? null),
    column(({ args }) => toBuffer(args)),
    column(({ caller }) => toBuffer(caller)),
  ]
}

/** Arrays for the ends of tasks, in the order of its parameters. */
export function endedColumns(ends: readonly TaskEnd[]): unknown[][] {
  const column = <Value>(valueOf: (end: TaskEnd) => Value): Value[] => ends.map(valueOf)
  return [
    column(({ id }) => id),
    column(({ fence }) => fence),
    column(({ state }) => stateNumber(state)),
    column(({ result }) => (result === undefined ? null : toBuffer(result))),
    column(({ error }) => (error === undefined ? null : toBuffer(error))),
    column(({ dead }) => dead ?? null),
    column(({ artifacts }) => jsonOrNull(artifacts)),
  ]
}

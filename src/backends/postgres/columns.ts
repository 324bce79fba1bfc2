import type { NewTask, ParkUntil, Task, TaskAsk, TaskEnd } from '../../ports/task-store.ts'
import { duration, keyHash, parkedFor, stateNumber } from '../sql/row.ts'
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

/**
 * Bytes of many rows in one parameter. The driver sends a buffer as it is, and an array of buffers as text, which is more than
 * twice as long and is read by both sides byte by byte.
 */
function pack(rows: readonly (readonly (Uint8Array | undefined)[])[]): {
  bytes: Buffer
  at: number[]
  lengths: unknown[][]
} {
  const parts: Uint8Array[] = []
  const at: number[] = []
  let end = 0
  for (const row of rows) {
    at.push(end)
    for (const part of row) {
      if (part === undefined) continue
      parts.push(part)
      end += part.length
    }
  }
  const count = rows[0]?.length ?? 0
  const lengths = Array.from({ length: count }, (_, index) => rows.map((row) => row[index]?.length ?? null))
  return { bytes: Buffer.concat(parts, end), at, lengths }
}

/** Parameters for the insertion of tasks, in their order. */
export function insertedColumns(tasks: readonly NewTask[]): unknown[] {
  const column = <Value>(valueOf: (task: NewTask) => Value): Value[] => tasks.map(valueOf)
  const { bytes, at, lengths } = pack(
    tasks.map(({ idempotencyKey, argsDigest, args, caller }) => [
      idempotencyKey === undefined ? undefined : keyHash(idempotencyKey),
      argsDigest,
      args,
      caller,
    ]),
  )
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
    column(({ handlerRevision }) => handlerRevision ?? null),
    column(({ redriveOf }) => redriveOf ?? null),
    at,
    ...lengths,
    bytes,
  ]
}

/** Parameters for the parking of a task behind its lease, in their order. */
export const parkedColumns = (until: ParkUntil, asks: readonly TaskAsk[]): unknown[] => [
  parkedFor(until),
  textOrNull(until.statusMessage),
  asks.map(({ name }) => toText(name)),
  asks.map(({ request }) => toBuffer(request)),
  asks.map(({ artifacts }) => jsonOrNull(artifacts)),
]

/** Parameters for the ends of tasks, in their order. */
export function endedColumns(ends: readonly TaskEnd[]): unknown[] {
  const column = <Value>(valueOf: (end: TaskEnd) => Value): Value[] => ends.map(valueOf)
  const { bytes, at, lengths } = pack(ends.map(({ result, error }) => [result, error]))
  return [
    column(({ id }) => id),
    column(({ fence }) => fence),
    column(({ state }) => stateNumber(state)),
    column(({ dead }) => dead ?? null),
    column(({ artifacts }) => jsonOrNull(artifacts)),
    at,
    ...lengths,
    bytes,
    column(({ statusMessage }) => textOrNull(statusMessage)),
  ]
}

/** What the insertion of a task gives back. */
export interface InsertedRow {
  id: string
  created_at: Date
  expires_at: Date | null
}

/** A task that was just inserted: the server gives back what it alone knows. */
export const toInserted = (task: NewTask, { created_at, expires_at }: InsertedRow): Task => ({
  id: task.id,
  owner: task.owner,
  tool: task.tool,
  queue: task.queue,
  state: duration(task.delayMs ?? 0) > 0 ? 'parked' : 'ready',
  version: 1,
  statusMessage: undefined,
  fence: 0,
  doneFence: undefined,
  attempts: 0,
  crashes: 0,
  createdMs: created_at.getTime(),
  updatedMs: created_at.getTime(),
  expiresMs: expires_at?.getTime(),
  argsDigest: task.argsDigest,
  asks: [],
  result: undefined,
  error: undefined,
  dead: undefined,
  caller: task.caller,
})

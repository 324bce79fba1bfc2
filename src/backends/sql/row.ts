import { createHash } from 'node:crypto'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { ClaimedTask, DeadReason, JournalEntry, ParkUntil, Task, TaskState } from '../../ports/task-store.ts'
import { fromText } from './text.ts'

/** States by their number in the tables: 0 to 2 are open, 3 to 5 final. */
export const STATES = ['ready', 'leased', 'parked', 'completed', 'failed', 'cancelled'] as const
/** Number of a state. */
export const stateNumber = (state: TaskState): number => STATES.indexOf(state)

/** Kinds of journal entries by their number. */
export const KINDS = ['step', 'ask'] as const

type Time = Date | number

/** Columns that a {@link Task} is made of; times are dates (Postgres) or epoch milliseconds (SQLite). */
export const TASK_COLUMNS = [
  'id',
  'owner',
  'tool',
  'queue',
  'state',
  'version',
  'status_message',
  'fence',
  'done_fence',
  'attempts',
  'crashes',
  'created_at',
  'updated_at',
  'expires_at',
  'args_digest',
  'result',
  'error',
  'dead',
  'caller',
] as const
/** Further columns that a {@link ClaimedTask} is made of. */
export const CLAIMED_COLUMNS = [
  ...TASK_COLUMNS,
  'args',
  'cancel_at',
  'max_attempts',
  'lease_until',
  'journal_length',
  'order_at',
] as const

/** A row as drivers give it. */
export interface TaskRow {
  id: string
  owner: string
  tool: string
  queue: string
  state: number
  version: number
  status_message: string | null
  fence: number
  done_fence: number | null
  attempts: number
  crashes: number
  created_at: Time
  updated_at: Time
  expires_at: Time | null
  args_digest: Uint8Array
  result: Uint8Array | null
  error: Uint8Array | null
  dead: string | null
  caller: Uint8Array
}
/** A row just claimed. */
export interface ClaimedRow extends TaskRow {
  args: Uint8Array
  cancel_at: Time | null
  max_attempts: number
  lease_until: Time
  journal_length: number
}
/** A row of the journal. */
export interface JournalRow {
  task_id: string
  name: string
  kind: number
  request: Uint8Array | null
  value: Uint8Array | null
}

const ms = (time: Time): number => Number(time)

/** A task from its row, with its open questions. */
export function toTask(row: TaskRow, asks: Task['asks'] = []): Task {
  return {
    id: row.id,
    owner: row.owner,
    tool: row.tool,
    queue: row.queue,
    state: STATES[row.state]!,
    version: row.version,
    statusMessage: row.status_message === null ? undefined : fromText(row.status_message),
    fence: row.fence,
    doneFence: row.done_fence ?? undefined,
    attempts: row.attempts,
    crashes: row.crashes,
    createdMs: ms(row.created_at),
    updatedMs: ms(row.updated_at),
    expiresMs: row.expires_at === null ? undefined : ms(row.expires_at),
    argsDigest: row.args_digest,
    asks,
    result: row.result ?? undefined,
    error: row.error ?? undefined,
    dead: (row.dead as DeadReason | null) ?? undefined,
    caller: row.caller,
  }
}

/** An entry of a journal from its row. */
export const toEntry = ({ name, kind, request, value }: JournalRow): JournalEntry => ({
  name: fromText(name),
  kind: KINDS[kind]!,
  request: request ?? undefined,
  value: value ?? undefined,
})

/** Claimed tasks from their rows and all their journals, which are in order. Nobody is asked while a task is leased. */
export function toClaimed(rows: readonly ClaimedRow[], journal: readonly JournalRow[]): ClaimedTask[] {
  const entries = new Map<string, JournalEntry[]>(rows.map(({ id }) => [id, []]))
  for (const row of journal) entries.get(row.task_id)?.push(toEntry(row))
  return rows.map((row) => ({
    ...toTask(row),
    args: row.args,
    cancel: row.cancel_at !== null,
    maxAttempts: row.max_attempts,
    leaseUntilMs: ms(row.lease_until),
    journal: entries.get(row.id)!,
  }))
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** Whether a task can have this id: clients may send anything. */
export const isTaskId = (id: string): boolean => UUID.test(id)

/** A client's idempotency key as it is kept: of one length, whatever was sent. */
export const keyHash = (key: string): Buffer => createHash('sha256').update(key, 'utf16le').digest()

const HUNDRED_YEARS_MS = 100 * 365 * 86_400_000

/** A duration that dates can be added to. */
export const duration = (value: number): number => Math.min(Math.max(0, value), HUNDRED_YEARS_MS)

/** How long a task stays parked, if nothing comes before. */
export const parkedFor = (until: ParkUntil): number =>
  duration('wakeAfterMs' in until ? until.wakeAfterMs : (until.expireAfterMs ?? HUNDRED_YEARS_MS))

/** The error of questions of which one has a name that is on record already, or that comes twice. */
export const askedBefore = (asks: readonly { readonly name: string }[]): HoldfastError =>
  new HoldfastError(
    'invalid_ask',
    `One of the questions ${asks.map(({ name }) => JSON.stringify(name)).join(', ')} has a name that the task has on record already, or that comes twice: each name is used once.`,
  )

import type {
  DeadReason,
  FoundTask,
  QueueBacklog,
  SweepOptions,
  SweepReport,
  Task,
  TaskFilter,
} from '../../ports/task-store.ts'
import { conditionsOf, fromCursor, toCursor } from '../sql/cursor.ts'
import { CRASH_BACKOFF_MOST_MS } from '../sql/order.ts'
import { stateNumber, STATES, toEntry, toTask, type JournalRow, type TaskRow } from '../sql/row.ts'
import { toReport, type SweptRow } from '../sql/sweep-report.ts'
import { countBusy, wholeMs, withAsks, type AskedRow, type At } from './operations.ts'
import * as sql from './sql.ts'

interface LateRow {
  id: string
  queue: string
  owner: string
  state: number
  cancel_at: number | null
  fails_when_lost: number
  is_attended: number
  crashes: number
  max_crashes: number
  journal_length: number
  journal_mark: number
}

type DueRow = Pick<LateRow, 'id' | 'queue' | 'owner'> & { open_asks: number }

/** Ids to ring for, of one queue and tool: a bell wakes workers, and they claim whatever is there. */
const RINGS_EACH = 100

export function sweep(at: At, options: SweepOptions): SweepReport {
  const { db, now } = at
  const { limit, sparesLeases = false } = options
  const swept: SweptRow[] = []
  for (const row of db.all<LateRow>(sql.EXPIRED, { now, limit, spares: sparesLeases ? 1 : 0 }))
    swept.push({ kind: 'expired', ...end(at, row, 'expired', row.crashes, options) })
  if (!sparesLeases)
    for (const row of db.all<LateRow>(sql.LOST, { now, limit }))
      swept.push({ kind: 'lost', ...takeLease(at, row, options) })
  for (const { id, queue, owner, open_asks } of db.all<DueRow>(sql.DUE, { now, limit })) {
    let version: number | null = null
    if (open_asks > 0) {
      db.run(sql.ANSWER_ALL, { id, value: options.expiredAnswer, now })
      version = db.get<{ version: number }>(sql.FORGET_ASKS, { id, now })!.version
    }
    db.run(sql.MAKE_READY, { id, run_at: null, before: countBusy(at, queue, owner), now })
    swept.push({ kind: 'woken', id, queue, version })
  }
  const woken = new Set(swept.map(({ id }) => id))
  for (const { id, queue } of overdue(at, options))
    if (!woken.has(id)) swept.push({ kind: 'overdue', id, queue, version: null })
  return toReport(swept, db.all(sql.PURGE, { now, limit }).length)
}

type Changed = Pick<SweptRow, 'id' | 'queue' | 'version'>

function end(
  { db, now }: At,
  { id, queue, cancel_at, is_attended }: LateRow,
  dead: DeadReason,
  crashes: number,
  { expiredError, lostError }: SweepOptions,
): Changed {
  const how =
    cancel_at === null && !(dead === 'expired' && is_attended === 1)
      ? { state: stateNumber('failed'), error: dead === 'expired' ? expiredError : lostError, dead }
      : { state: stateNumber('cancelled'), error: null, dead: null }
  const { version } = db.get<{ version: number }>(sql.END_UNHELD, { id, ...how, crashes, now })!
  return { id, queue, version }
}

function takeLease(at: At, row: LateRow, options: SweepOptions): Changed {
  if (row.cancel_at !== null || row.fails_when_lost === 1) return end(at, row, 'lost', row.crashes, options)
  // An attempt that put something on record has got somewhere: the count starts again.
  const crashes = (row.journal_length > row.journal_mark ? 0 : row.crashes) + 1
  if (crashes > row.max_crashes) return end(at, row, 'crashes', crashes, options)
  const delayMs = Math.min(options.crashBackoffMs * 2 ** (crashes - 1), CRASH_BACKOFF_MOST_MS)
  const { id, queue } = row
  const { version } = at.db.get<{ version: number }>(sql.PARK_LOST, {
    id,
    crashes,
    delay_ms: wholeMs(delayMs),
    now: at.now,
  })!
  return { id, queue, version }
}

/** Goes from one queue and tool to the next in the index, instead of through all that is ready. */
function* overdue({ db, now }: At, { limit, overdueMs }: SweepOptions): Generator<{ id: string; queue: string }> {
  const before = now - wholeMs(overdueMs)
  let place: { queue: string; tool: string } | undefined = { queue: '', tool: '' }
  while ((place = db.get<{ queue: string; tool: string }>(sql.NEXT_PLACE, { ...place })) !== undefined) {
    const { queue, tool }: { queue: string; tool: string } = place
    for (const { id } of db.all<{ id: string }>(sql.OVERDUE, {
      queue,
      tool,
      before,
      limit: Math.min(limit, RINGS_EACH),
    }))
      yield { id, queue }
  }
}

export function list(at: At, filter: TaskFilter): { tasks: Task[]; cursor: string | undefined } {
  const { conditions, values, place } = conditionsOf(filter, (index) => `$p${index}`)
  if (filter.cursor !== undefined) {
    const { createdMs, id } = fromCursor(filter.cursor)
    conditions.push(`(created_at, id) < (${place(createdMs)}, ${place(id)})`)
  }
  const text = sql.listTasks(conditions, place(filter.limit + 1))
  const rows = at.db.all<AskedRow>(text, Object.fromEntries(values.map((value, index) => [`p${index + 1}`, value])))
  const tasks = rows.slice(0, filter.limit).map((row) => withAsks(at, row))
  return { tasks, cursor: rows.length > filter.limit ? toCursor(tasks.at(-1)!) : undefined }
}

export function find(at: At, id: string): FoundTask | undefined {
  const row = at.db.get<AskedRow>(sql.FIND_TASK, { id })
  return row && { ...withAsks(at, row), journal: at.db.all<JournalRow>(sql.READ_JOURNAL, { id }).map(toEntry) }
}

export const backlog = ({ db, now }: At, queues: readonly string[]): QueueBacklog[] =>
  queues.map((queue) => {
    const counts = db.get<{ ready: number; leased: number; parked: number }>(sql.BACKLOG, { queue })!
    let oldestMs = now
    let next: { tool: string } | undefined = { tool: '' }
    while ((next = db.get<{ tool: string }>(sql.NEXT_TOOL, { queue, tool: next.tool })) !== undefined)
      oldestMs = Math.min(oldestMs, db.get<{ run_at: number }>(sql.FIRST_READY, { queue, tool: next.tool })!.run_at)
    return { queue, ...counts, oldestReadyMs: now - oldestMs }
  })

export const namedArtifacts = ({ db }: At, ids: readonly string[]): string[] =>
  ids.flatMap((id) => db.all<{ key: string }>(sql.NAMED_ARTIFACTS, { id }).map(({ key }) => key))

type DeadLetter = Record<'owner' | 'tool' | 'queue', string> &
  Record<'weight' | 'max_attempts' | 'max_crashes', number> & {
    fails_when_lost: number
    is_attended: number
    ttl_ms: number | null
    retention_ms: number
    args_digest: Uint8Array
    handler_revision: string | null
    args: Uint8Array
    caller: Uint8Array
  }

export function redrive(at: At, id: string, newId: string): Task | undefined {
  const { db, now } = at
  const before = db.get<AskedRow>(sql.FIND_REDRIVEN, { id, new_id: newId })
  if (before !== undefined) return withAsks(at, before)
  const letter = db.get<DeadLetter>(sql.DEAD_LETTER, { id })
  if (letter === undefined) return undefined
  const row = db.get<TaskRow>(sql.INSERT_TASK, {
    ...letter,
    id: newId,
    state: STATES.indexOf('ready'),
    now,
    delay_ms: 0,
    before: countBusy(at, letter.queue, letter.owner),
    key: null,
    redrive_of: id,
  })
  return toTask(row!)
}

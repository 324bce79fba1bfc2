import { HoldfastError } from '../../errors/holdfast-error.ts'
import type {
  ClaimedTask,
  ClaimRequest,
  NewTask,
  ParkUntil,
  StepRecord,
  Task,
  TaskEnd,
  TaskState,
} from '../../ports/task-store.ts'
import {
  askedBefore,
  duration,
  keyHash,
  parkedFor,
  STATES,
  stateNumber,
  toClaimed,
  toTask,
  type ClaimedRow,
  type JournalRow,
  type TaskRow,
} from '../sql/row.ts'
import { fromText, toText } from '../sql/text.ts'
import type { Database } from './database.ts'
import * as sql from './sql.ts'

/** What an operation works with: the database, and the time of its transaction. */
export interface At {
  readonly db: Database
  readonly now: number
}

/** A task's row, with the number of its open questions. */
export type AskedRow = TaskRow & { open_asks: number }

export const wholeMs = (ms: number): number => Math.round(duration(ms))
export const countBusy = ({ db }: At, queue: string, owner: string): number =>
  db.get<{ count: number }>(sql.COUNT_BUSY, { queue, owner })!.count

export function withAsks({ db }: At, row: AskedRow): Task {
  if (row.open_asks === 0) return toTask(row)
  const asks = db.all<{ name: string; request: Uint8Array }>(sql.OPEN_ASKS, { id: row.id })
  return toTask(
    row,
    asks.map(({ name, request }) => ({ name: fromText(name), request })),
  )
}

export function create(at: At, task: NewTask): { task: Task; created: boolean } {
  const { id, owner, tool, queue, delayMs = 0, weight = 1, idempotencyKey, ttlMs } = task
  const key = idempotencyKey === undefined ? null : keyHash(idempotencyKey)
  const before = at.db.get<TaskRow>(sql.FIND_CREATED, { id, owner, tool, key })
  if (before !== undefined) return { task: toTask(before), created: false }
  if (at.db.get(sql.READ_VERSION, { id }) !== undefined)
    throw new HoldfastError('backend_failed', `A task with the id ${id} exists, and is another owner's.`)
  const row = at.db.get<TaskRow>(sql.INSERT_TASK, {
    id,
    owner,
    tool,
    queue,
    state: stateNumber(delayMs > 0 ? 'parked' : 'ready'),
    now: at.now,
    delay_ms: wholeMs(delayMs),
    before: countBusy(at, queue, owner),
    weight,
    max_attempts: task.maxAttempts,
    max_crashes: task.maxCrashes,
    fails_when_lost: task.failsWhenLost ? 1 : 0,
    is_attended: task.isAttended === true ? 1 : 0,
    ttl_ms: ttlMs === undefined ? null : wholeMs(ttlMs),
    retention_ms: wholeMs(task.retentionMs),
    key,
    args_digest: task.argsDigest,
    handler_revision: task.handlerRevision ?? null,
    redrive_of: task.redriveOf ?? null,
    args: task.args,
    caller: task.caller,
  })
  return { task: toTask(row!), created: true }
}

export function get(at: At, id: string, owner: string): Task | undefined {
  const row = at.db.get<AskedRow>(sql.GET_TASK, { id, owner })
  return row && withAsks(at, row)
}

export const versions = ({ db }: At, ids: readonly string[]): (number | undefined)[] =>
  ids.map((id) => db.get<{ version: number }>(sql.READ_VERSION, { id })?.version)

export function claim({ db, now }: At, request: ClaimRequest): ClaimedTask[] {
  const { worker, token, queue, tools, handlerRevisions, limit, leaseMs } = request
  let rows = db.all<ClaimedRow>(sql.CLAIMED_BEFORE, { worker, token })
  if (rows.length === 0) {
    const revisions = JSON.stringify(handlerRevisions)
    // One index scan for each tool, so that a backlog of a tool that is not asked for costs nothing.
    rows = tools
      .flatMap((tool) =>
        db.all<{ id: string; order_at: number }>(sql.CANDIDATES, { queue, tool, revisions, now, limit }),
      )
      .sort((a, b) => a.order_at - b.order_at)
      .slice(0, limit)
      .map(({ id }) => db.get<ClaimedRow>(sql.CLAIM_TASK, { id, worker, token, now, lease_ms: wholeMs(leaseMs) })!)
  }
  const journal = rows
    .filter(({ journal_length }) => journal_length > 0)
    .flatMap(({ id }) => db.all<JournalRow>(sql.READ_JOURNAL, { id }))
  return toClaimed(rows, journal)
}

interface Lease {
  id: string
  fence: number
}

export const heartbeat = (
  { db, now }: At,
  leases: readonly (Lease & { statusMessage?: string | undefined })[],
  leaseMs: number,
): (Lease & { cancel: boolean })[] =>
  leases.flatMap(({ id, fence, statusMessage }) => {
    const message = statusMessage === undefined ? null : toText(statusMessage)
    const row = db.get<Lease & { cancel: number }>(sql.RENEW_LEASE, {
      id,
      fence,
      message,
      now,
      lease_ms: wholeMs(leaseMs),
    })
    return row === undefined ? [] : [{ id, fence, cancel: row.cancel === 1 }]
  })

export function recordStep({ db, now }: At, step: StepRecord): 'recorded' | 'exists' | 'lost' {
  const { id, fence, value, leaseMs, artifacts } = step
  const name = toText(step.name)
  const held = db.get<{ journal_length: number }>(sql.HELD, { id, fence })
  if (held === undefined) return 'lost'
  if (db.get(sql.ENTRY_EXISTS, { id, name }) !== undefined) return 'exists'
  db.run(sql.LENGTHEN_JOURNAL, { id, now, lease_ms: wholeMs(leaseMs) })
  const seq = held.journal_length + 1
  db.run(sql.RECORD_ENTRY, { id, name, seq, kind: 0, fence, request: null, value, artifacts: toJson(artifacts), now })
  return 'recorded'
}

export function park({ db, now }: At, id: string, fence: number, until: ParkUntil): 'parked' | 'cancelled' | 'lost' {
  const held = db.get<{ journal_length: number; cancel_at: number | null }>(sql.HELD, { id, fence })
  if (held === undefined) return 'lost'
  if (held.cancel_at !== null) return 'cancelled'
  const asks = 'asks' in until ? until.asks : []
  const isTwice = new Set(asks.map(({ name }) => name)).size < asks.length
  if (isTwice || asks.some(({ name }) => db.get(sql.ENTRY_EXISTS, { id, name: toText(name) }) !== undefined))
    throw askedBefore(asks)
  const message = until.statusMessage === undefined ? null : toText(until.statusMessage)
  db.run(sql.PARK_TASK, { id, wake_ms: Math.round(parkedFor(until)), asks: asks.length, message, now })
  for (const [index, { name, request, artifacts }] of asks.entries()) {
    const seq = held.journal_length + index + 1
    db.run(sql.RECORD_ENTRY, {
      id,
      name: toText(name),
      seq,
      kind: 1,
      fence,
      request,
      value: null,
      artifacts: toJson(artifacts),
      now,
    })
  }
  return 'parked'
}

export function answer(
  at: At,
  id: string,
  owner: string,
  answers: readonly { name: string; value: Uint8Array }[],
): { open: number; state: TaskState; queue: string } | undefined {
  const { db, now } = at
  const task = db.get<{ state: number; queue: string; open_asks: number }>(sql.ANSWERABLE, { id, owner })
  if (task === undefined) return undefined
  const { queue } = task
  const state = STATES[task.state]!
  const count =
    state === 'parked'
      ? answers.filter(({ name, value }) => db.get(sql.ANSWER_ASK, { id, name: toText(name), value, now })).length
      : 0
  if (count === 0) return { open: task.open_asks, state, queue }
  const { open_asks: open } = db.get<{ open_asks: number }>(sql.COUNT_ANSWERS, { id, count, now })!
  if (open > 0) return { open, state, queue }
  db.run(sql.MAKE_READY, { id, run_at: now, before: countBusy(at, queue, owner), now })
  return { open, state: 'ready', queue }
}

export const finish = ({ db, now }: At, ends: readonly TaskEnd[]): ('done' | 'lost')[] =>
  ends.map(({ id, fence, state, result = null, error = null, dead = null, artifacts, statusMessage }) => {
    const message = statusMessage === undefined ? null : toText(statusMessage)
    const written = { state: stateNumber(state), result, error, dead, artifacts: toJson(artifacts), message }
    const values = { id, fence, ...written, now }
    return db.get(sql.FINISH_TASK, values) === undefined ? 'lost' : 'done'
  })

export function retry(
  { db, now }: At,
  id: string,
  fence: number,
  runAfterMs: number,
  statusMessage: string | undefined,
): 'parked' | 'cancelled' | 'lost' {
  if (db.get(sql.END_CANCELLED, { id, fence, now }) !== undefined) return 'cancelled'
  const message = statusMessage === undefined ? null : toText(statusMessage)
  const row = db.get(sql.RETRY_TASK, { id, fence, delay_ms: wholeMs(runAfterMs), message, now })
  return row === undefined ? 'lost' : 'parked'
}

export const release = ({ db, now }: At, leases: readonly Lease[]): string[] =>
  leases.flatMap(({ id, fence }) =>
    (db.get(sql.END_CANCELLED, { id, fence, now }) ?? db.get(sql.RELEASE_TASK, { id, fence, now })) === undefined
      ? []
      : [id],
  )

export function cancel({ db, now }: At, id: string, owner: string): 'cancelled' | 'signalled' | 'ended' | undefined {
  const row = db.get<{ state: number; crashes: number }>(sql.CANCELLABLE, { id, owner })
  if (row === undefined) return undefined
  const state = STATES[row.state]!
  if (state === 'leased') {
    db.run(sql.SIGNAL_CANCEL, { id, now })
    return 'signalled'
  }
  if (state !== 'ready' && state !== 'parked') return 'ended'
  db.run(sql.END_UNHELD, { id, state: stateNumber('cancelled'), error: null, dead: null, crashes: row.crashes, now })
  return 'cancelled'
}

export const attend = ({ db, now }: At, ids: readonly string[], ttlMs: number): void => {
  for (const id of ids) db.run(sql.ATTEND, { id, now, ttl_ms: wholeMs(ttlMs) })
}

export const isOver = ({ db }: At, queue: string, bound: number): boolean =>
  db.get<{ over: number }>(sql.IS_OVER, { queue, bound })!.over === 1

const toJson = (names: readonly string[] | undefined): string | null =>
  names === undefined || names.length === 0 ? null : JSON.stringify(names)

import { HoldfastError } from '../errors/holdfast-error.ts'
import type { DeadReason, TaskState } from '../ports/task-store.ts'

/**
 * The life of a task, as pure functions: what each operation of a task store does to one row and its journal. Stores say the
 * same in SQL or conditional writes; a contract suite compares them with this, and a search runs through every order in which
 * two workers, a client and a sweeper can act on it.
 *
 * Invariants, held by the search:
 * 1. A final state never changes.
 * 2. The fence rises with every claim, and with every end that no claim has written.
 * 3. A write of a worker counts only while its fence is the task's, and the task is leased.
 * 4. A name in the journal is recorded once, and its value never changes.
 * 5. From every state there is a way to a final one.
 */
export interface Row {
  readonly state: TaskState
  readonly fence: number
  readonly doneFence: number | undefined
  readonly version: number
  readonly worker: string | undefined
  readonly token: string | undefined
  readonly leaseUntilMs: number
  /** With `parked`: when it becomes ready by itself, its questions answered by nobody; with `ready`: since when it is. */
  readonly runAtMs: number
  readonly cancelAtMs: number | undefined
  readonly attempts: number
  readonly crashes: number
  readonly maxAttempts: number
  readonly maxCrashes: number
  readonly failsWhenLost: boolean
  readonly expiresMs: number | undefined
  /** Somebody waits for it: its time is up when nobody has said so for long. */
  readonly isAttended: boolean
  readonly retentionMs: number
  readonly purgeMs: number | undefined
  readonly journal: readonly Recorded[]
  /** Length of the journal at the last claim: a crashed attempt that added to it had got somewhere. */
  readonly journalMark: number
  readonly statusMessage: string | undefined
  readonly dead: DeadReason | undefined
  readonly result: string | undefined
  readonly error: string | undefined
}

/** An entry of the journal. */
export interface Recorded {
  readonly name: string
  readonly kind: 'step' | 'ask'
  readonly fence: number
  readonly request: string | undefined
  readonly value: string | undefined
}

/** A row after an operation, and what the caller is told. */
export interface Step<Outcome> {
  readonly row: Row
  readonly outcome: Outcome
}

const stay = <Outcome>(row: Row, outcome: Outcome): Step<Outcome> => ({ row, outcome })
const isFinal = ({ state }: Row): boolean => state === 'completed' || state === 'failed' || state === 'cancelled'
const holds = (row: Row, fence: number): boolean => row.state === 'leased' && row.fence === fence
export const openAsks = ({ journal }: Row): number =>
  journal.filter(({ kind, value }) => kind === 'ask' && value === undefined).length

const free = { worker: undefined, leaseUntilMs: 0 }
/** No wait after a crash is longer, however many there were. */
export const CRASH_BACKOFF_MOST_MS = 3_600_000
/** A hundred years. */
const NEVER_MS = 3_155_760_000_000

/** Settings of a new row. */
export type NewRow = Pick<Row, 'maxAttempts' | 'maxCrashes' | 'failsWhenLost' | 'isAttended' | 'retentionMs'> & {
  readonly delayMs: number
  readonly ttlMs: number | undefined
}

export function create(settings: NewRow, nowMs: number): Row {
  const { delayMs, ttlMs, ...rest } = settings
  return {
    ...rest,
    ...free,
    state: delayMs > 0 ? 'parked' : 'ready',
    fence: 0,
    doneFence: undefined,
    version: 1,
    token: undefined,
    runAtMs: nowMs + delayMs,
    cancelAtMs: undefined,
    attempts: 0,
    crashes: 0,
    expiresMs: ttlMs === undefined ? undefined : nowMs + ttlMs,
    purgeMs: undefined,
    journal: [],
    journalMark: 0,
    statusMessage: undefined,
    dead: undefined,
    result: undefined,
    error: undefined,
  }
}

export function claim(row: Row, worker: string, token: string, leaseMs: number, nowMs: number): Step<boolean> {
  if (row.state === 'leased' && row.token === token) return stay(row, true) // the reply was lost
  const isDue = row.state === 'ready' && (row.expiresMs === undefined || row.expiresMs > nowMs)
  if (!isDue) return stay(row, false)
  return {
    row: {
      ...row,
      state: 'leased',
      fence: row.fence + 1,
      worker,
      token,
      leaseUntilMs: nowMs + leaseMs,
      journalMark: row.journal.length,
    },
    outcome: true,
  }
}

/** A lease that has run out is renewed as long as nobody took it: after an outage of the store, owners come back first. */
export function heartbeat(
  row: Row,
  fence: number,
  statusMessage: string | undefined,
  leaseMs: number,
  nowMs: number,
): Step<'lost' | { cancel: boolean }> {
  if (!holds(row, fence)) return stay(row, 'lost')
  const isNews = statusMessage !== undefined && statusMessage !== row.statusMessage
  return {
    row: {
      ...row,
      leaseUntilMs: nowMs + leaseMs,
      ...(isNews ? { statusMessage, version: row.version + 1 } : {}),
    },
    outcome: { cancel: row.cancelAtMs !== undefined || (row.expiresMs !== undefined && nowMs >= row.expiresMs) },
  }
}

export function recordStep(
  row: Row,
  fence: number,
  name: string,
  value: string,
  leaseMs: number,
  nowMs: number,
): Step<'recorded' | 'exists' | 'lost'> {
  if (!holds(row, fence)) return stay(row, 'lost')
  if (row.journal.some((entry) => entry.name === name)) return stay(row, 'exists')
  const entry: Recorded = { name, kind: 'step', fence, request: undefined, value }
  return { row: { ...row, leaseUntilMs: nowMs + leaseMs, journal: [...row.journal, entry] }, outcome: 'recorded' }
}

/**
 * Until questions are answered (`asks`) or have expired, or for `wakeAfterMs`.
 * @throws {HoldfastError} `invalid_ask` for a name that is on record, or comes twice.
 */
export function park(
  row: Row,
  fence: number,
  until: { statusMessage?: string | undefined } & (
    { asks: readonly { name: string; request: string }[]; expireAfterMs?: number | undefined } | { wakeAfterMs: number }
  ),
  nowMs: number,
): Step<'parked' | 'cancelled' | 'lost'> {
  if (!holds(row, fence)) return stay(row, 'lost')
  if (row.cancelAtMs !== undefined) return stay(row, 'cancelled')
  const asks = 'asks' in until ? until.asks : []
  refuseKnown(asks, row.journal)
  const afterMs = 'asks' in until ? (until.expireAfterMs ?? NEVER_MS) : until.wakeAfterMs
  const entries = asks.map(({ name, request }): Recorded => ({ name, kind: 'ask', fence, request, value: undefined }))
  return {
    row: {
      ...row,
      ...free,
      state: 'parked',
      runAtMs: nowMs + afterMs,
      journal: [...row.journal, ...entries],
      statusMessage: until.statusMessage ?? row.statusMessage,
      version: row.version + 1,
    },
    outcome: 'parked',
  }
}

/** @throws {HoldfastError} `invalid_ask` for a name that is on record, or comes twice. */
export function refuseKnown(asks: readonly { name: string }[], journal: readonly { name: string }[]): void {
  const known = new Set(journal.map(({ name }) => name))
  for (const { name } of asks) {
    if (known.has(name))
      throw new HoldfastError(
        'invalid_ask',
        `A question is named ${JSON.stringify(name)}, and so is another record of this task: each name is used once.`,
      )
    known.add(name)
  }
}

export function answer(
  row: Row,
  answers: readonly { name: string; value: string }[],
  nowMs: number,
): Step<{ open: number }> {
  if (row.state !== 'parked') return stay(row, { open: openAsks(row) })
  let count = 0
  const journal = row.journal.map((entry) => {
    const given = answers.find(({ name }) => name === entry.name)
    if (entry.kind !== 'ask' || entry.value !== undefined || given === undefined) return entry
    count++
    return { ...entry, value: given.value }
  })
  if (count === 0) return stay(row, { open: openAsks(row) })
  const answered = { ...row, journal, version: row.version + 1 }
  const open = openAsks(answered)
  return {
    row: open === 0 ? { ...answered, state: 'ready', runAtMs: nowMs } : answered,
    outcome: { open },
  }
}

/** How a task ends. */
export interface End {
  readonly state: 'completed' | 'failed' | 'cancelled'
  readonly result?: string | undefined
  readonly error?: string | undefined
  readonly dead?: DeadReason | undefined
  readonly statusMessage?: string | undefined
}

function end(row: Row, doneFence: number, { state, result, error, dead, statusMessage }: End, nowMs: number): Row {
  return {
    ...row,
    ...free,
    state,
    fence: doneFence,
    doneFence,
    result,
    error,
    dead,
    statusMessage: statusMessage ?? row.statusMessage,
    version: row.version + 1,
    purgeMs: nowMs + row.retentionMs,
  }
}

export function finish(row: Row, fence: number, how: End, nowMs: number): Step<'done' | 'lost'> {
  if (!holds(row, fence)) return stay(row, 'lost')
  return { row: end(row, fence, how, nowMs), outcome: 'done' }
}

export function retry(
  row: Row,
  fence: number,
  runAfterMs: number,
  statusMessage: string | undefined,
  nowMs: number,
): Step<'parked' | 'cancelled' | 'lost'> {
  if (!holds(row, fence)) return stay(row, 'lost')
  if (row.cancelAtMs !== undefined) return { row: end(row, fence, CANCELLED, nowMs), outcome: 'cancelled' }
  return {
    row: {
      ...row,
      ...free,
      state: 'parked',
      runAtMs: nowMs + runAfterMs,
      attempts: row.attempts + 1,
      statusMessage: statusMessage ?? row.statusMessage,
      version: row.version + 1,
    },
    outcome: 'parked',
  }
}

export function release(row: Row, fence: number, nowMs: number): Step<boolean> {
  if (!holds(row, fence)) return stay(row, false)
  if (row.cancelAtMs !== undefined) return { row: end(row, fence, CANCELLED, nowMs), outcome: true }
  return { row: { ...row, ...free, state: 'ready', runAtMs: nowMs }, outcome: true }
}

export function cancel(row: Row, nowMs: number): Step<'cancelled' | 'signalled' | 'ended'> {
  if (isFinal(row)) return stay(row, 'ended')
  // An end that no claim has written takes a fence of its own, so that a late holder cannot pass for its author.
  if (row.state !== 'leased')
    return { row: end(row, row.fence + 1, { state: 'cancelled' }, nowMs), outcome: 'cancelled' }
  return { row: row.cancelAtMs === undefined ? { ...row, cancelAtMs: nowMs } : row, outcome: 'signalled' }
}

/** Whoever waits for the task is still there. A task whose time was up, and whom no sweep has met, goes on. */
export function attend(row: Row, ttlMs: number, nowMs: number): Step<void> {
  const isOurs = row.isAttended && !isFinal(row)
  return { row: isOurs ? { ...row, expiresMs: nowMs + ttlMs } : row, outcome: undefined }
}

/** What a sweep knows beside the row. */
export interface SweepSettings {
  readonly crashBackoffMs: number
  readonly expiredError: string
  readonly lostError: string
  readonly expiredAnswer: string
  readonly sparesLeases?: boolean
}

/** What time does to a row; `purged` means that it is gone. */
export function sweep(
  row: Row,
  { crashBackoffMs, expiredError, lostError, expiredAnswer, sparesLeases = false }: SweepSettings,
  nowMs: number,
): Step<'woken' | 'expired' | 'lost' | 'purged' | undefined> {
  if (isFinal(row)) return stay(row, nowMs >= row.purgeMs! ? 'purged' : undefined)
  const isLost = !sparesLeases && row.state === 'leased' && nowMs >= row.leaseUntilMs
  // Who waits for it could not say so while the store was away, and is given time to.
  const isAttendable = sparesLeases && row.isAttended
  const isExpired = row.expiresMs !== undefined && nowMs >= row.expiresMs && !isAttendable
  // A worker in the middle of its last moments may still end the task well.
  if (isExpired && (row.state !== 'leased' || isLost)) {
    const how = row.cancelAtMs === undefined && !row.isAttended ? expired(expiredError) : CANCELLED
    return { row: end(row, row.fence + 1, how, nowMs), outcome: 'expired' }
  }
  if (row.state === 'parked' && nowMs >= row.runAtMs) return { row: wake(row, expiredAnswer), outcome: 'woken' }
  if (!isLost) return stay(row, undefined)
  if (row.cancelAtMs !== undefined) return { row: end(row, row.fence + 1, CANCELLED, nowMs), outcome: 'lost' }
  if (row.failsWhenLost) return { row: end(row, row.fence + 1, lost(lostError, 'lost'), nowMs), outcome: 'lost' }
  // An attempt that put something on record has got somewhere: the count starts again.
  const crashes = (row.journal.length > row.journalMark ? 0 : row.crashes) + 1
  if (crashes > row.maxCrashes)
    return { row: end({ ...row, crashes }, row.fence + 1, lost(lostError, 'crashes'), nowMs), outcome: 'lost' }
  return {
    row: {
      ...row,
      ...free,
      state: 'parked',
      crashes,
      runAtMs: nowMs + Math.min(crashBackoffMs * 2 ** (crashes - 1), CRASH_BACKOFF_MOST_MS),
      version: row.version + 1,
    },
    outcome: 'lost',
  }
}

/** What waited for a time goes on; what waited for answers has those that nobody gave. */
function wake(row: Row, expiredAnswer: string): Row {
  if (openAsks(row) === 0) return { ...row, state: 'ready' }
  const journal = row.journal.map((entry) =>
    entry.kind === 'ask' && entry.value === undefined ? { ...entry, value: expiredAnswer } : entry,
  )
  return { ...row, state: 'ready', journal, version: row.version + 1 }
}

const CANCELLED: End = { state: 'cancelled' }
const expired = (error: string): End => ({ state: 'failed', error, dead: 'expired' })
const lost = (error: string, dead: DeadReason): End => ({ state: 'failed', error, dead })

import type { AttributeValue } from '@aws-sdk/client-dynamodb'
import type { DeadReason, Task, TaskState } from '../../ports/task-store.ts'
import { openAsks, type Recorded, type Row } from '../../tasks/transitions.ts'
import { expiryKey, openKey, shardOf, workKey } from './schema.ts'
import { B, N, S, type Change, type Item } from './table.ts'

export const number = (value: AttributeValue | undefined): number | undefined =>
  value?.N === undefined ? undefined : Number(value.N)
export const text = (value: AttributeValue | undefined): string | undefined => value?.S
const some = <T>(value: T | undefined, to: (value: T) => AttributeValue): AttributeValue | undefined =>
  value === undefined ? undefined : to(value)

/** Errors that the store writes itself pass through the pure functions as text. */
export const toText = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
export const fromText = (value: string): Uint8Array => Buffer.from(value, 'latin1')

/** States that never change. */
export const isFinal = (state: string | undefined): boolean =>
  state === 'completed' || state === 'failed' || state === 'cancelled'

/**
 * The row of an item, for the functions that say what an operation does to it. Its journal has the right length and the right
 * number of open questions, and no contents. Whether a lease has run out is the observer's to say: no clock is trusted for it.
 */
export function toRow(item: Item, isLost = false): Row {
  const length = number(item['journalLength'])!
  const open = number(item['openAsks'])!
  const entry = (kind: 'step' | 'ask', value: string | undefined): Recorded => ({
    name: '',
    kind,
    fence: 0,
    request: undefined,
    value,
  })
  return {
    state: text(item['state']) as TaskState,
    fence: number(item['fence'])!,
    doneFence: number(item['doneFence']),
    version: number(item['version'])!,
    worker: text(item['worker']),
    token: text(item['token']),
    leaseUntilMs: isLost ? 0 : Number.MAX_SAFE_INTEGER,
    runAtMs: number(item['runAt'])!,
    cancelAtMs: number(item['cancelAt']),
    attempts: number(item['attempts'])!,
    crashes: number(item['crashes'])!,
    maxAttempts: number(item['maxAttempts'])!,
    maxCrashes: number(item['maxCrashes'])!,
    failsWhenLost: item['failsWhenLost']!.BOOL!,
    isAttended: item['isAttended']!.BOOL!,
    expiresMs: number(item['expires']),
    retentionMs: number(item['retention'])!,
    purgeMs: number(item['purge']),
    journal: Array.from({ length }, (_, index) => (index < open ? entry('ask', undefined) : entry('step', ''))),
    journalMark: number(item['journalMark'])!,
    statusMessage: text(item['statusMessage']),
    dead: text(item['dead']) as DeadReason | undefined,
    result: undefined,
    error: undefined,
  }
}

/** Writes what an operation made of a row, where nobody has changed the item since it was read. */
export function toChange(item: Item, next: Row, nowMs: number, orderAtMs = number(item['orderAt'])!): Change {
  const isNews = next.version !== number(item['version'])
  const given = {
    id: text(item['id'])!,
    owner: text(item['owner'])!,
    queue: text(item['queue'])!,
    createdMs: number(item['created'])!,
  }
  return {
    set: {
      state: S(next.state),
      fence: N(next.fence),
      doneFence: some(next.doneFence, N),
      version: N(next.version),
      worker: some(next.worker, S),
      token: next.state === 'leased' ? some(next.token, S) : undefined,
      runAt: N(next.runAtMs),
      orderAt: N(orderAtMs),
      cancelAt: some(next.cancelAtMs, N),
      attempts: N(next.attempts),
      crashes: N(next.crashes),
      purge: some(next.purgeMs, N),
      journalLength: N(next.journal.length),
      openAsks: N(openAsks(next)),
      statusMessage: some(next.statusMessage, S),
      dead: some(next.dead, S),
      ...(next.error === undefined ? {} : { error: B(fromText(next.error)) }),
      ...(isNews ? { updated: N(nowMs) } : {}),
      ...(next.state === 'leased' ? {} : indexed(given, next, orderAtMs)),
    },
    add: { rev: 1 },
    condition: '#rev = :rev',
    values: { rev: item['rev']! },
  }
}

/** Where the indexes have a task that nobody holds; `undefined` takes it out. */
export function indexed(
  { id, owner, queue, createdMs }: { id: string; owner: string; queue: string; createdMs: number },
  row: Pick<Row, 'state' | 'runAtMs' | 'expiresMs' | 'purgeMs'>,
  orderAtMs: number,
): Record<string, AttributeValue | undefined> {
  const shard = shardOf(id)
  if (isFinal(row.state)) return { ...ended(id), workAt: N(row.purgeMs!) }
  const isReady = row.state === 'ready'
  return {
    workKey: S(isReady ? workKey.ready(queue, shard) : workKey.parked(shard)),
    workAt: N(isReady ? orderAtMs : row.runAtMs),
    ...(row.expiresMs === undefined ? {} : { expiryKey: S(expiryKey(shard)), expiryAt: N(row.expiresMs) }),
    openKey: isReady ? S(openKey(owner, queue)) : undefined,
    openAt: isReady ? N(createdMs) : undefined,
  }
}

/** Where the indexes have a task that has ended; `workAt` is when it is to go. */
export const ended = (id: string): Record<string, AttributeValue | undefined> => ({
  workKey: S(workKey.ended(shardOf(id))),
  expiryKey: undefined,
  expiryAt: undefined,
  openKey: undefined,
  openAt: undefined,
})

/** A task as its owner sees it; what may lie outside of the item is given. */
export function toTask(item: Item, outside: Pick<Task, 'asks' | 'result' | 'error'>): Task {
  return {
    id: text(item['id'])!,
    owner: text(item['owner'])!,
    tool: text(item['tool'])!,
    queue: text(item['queue'])!,
    state: text(item['state']) as TaskState,
    version: number(item['version'])!,
    statusMessage: text(item['statusMessage']),
    fence: number(item['fence'])!,
    doneFence: number(item['doneFence']),
    attempts: number(item['attempts'])!,
    crashes: number(item['crashes'])!,
    createdMs: number(item['created'])!,
    updatedMs: number(item['updated'])!,
    expiresMs: number(item['expires']),
    argsDigest: item['argsDigest']!.B!,
    dead: text(item['dead']) as DeadReason | undefined,
    caller: item['caller']!.B!,
    ...outside,
  }
}

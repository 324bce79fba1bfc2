import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { NewTask } from '../../ports/task-store.ts'
import * as transitions from '../../tasks/transitions.ts'
import { dropAttribute, toAttribute } from './blobs.ts'
import { indexed, text } from './row.ts'
import { createdKey, IDEMPOTENCY, idempotencyKey, openKey, QUEUES, ROW, shardOf, taskKey } from './schema.ts'
import { B, N, S, type DynamodbTable, type Item } from './table.ts'

/** Ready and leased tasks of an owner are counted up to this, since a count is paid for by what it reads. */
const MOST_COUNTED = 200
/** Between two places in a queue, for each of these: ten seconds at most. */
const QUANTUM_MS = 50

/**
 * Writes a task and its idempotency key, both or neither.
 * @returns the task's item, and whether it is new.
 */
export async function createTask(
  table: DynamodbTable,
  nowMs: number,
  task: NewTask,
  knownQueues: Set<string>,
): Promise<{ item: Item; created: boolean }> {
  const { id, owner, queue, tool } = task
  if (!knownQueues.has(queue)) {
    // The sweeper looks for the ready tasks of each queue.
    await table.writeMany([{ PutRequest: { Item: { pk: S(QUEUES), sk: S(queue) } } }])
    knownQueues.add(queue)
  }
  const item = await toItem(table, nowMs, task)
  const ofOwner = (found: Item): { item: Item; created: boolean } => {
    if (text(found['owner']) === owner) return { item: found, created: false }
    throw new HoldfastError('backend_failed', `A task with the id ${id} exists, and is another owner's.`)
  }
  const idempotent = task.idempotencyKey === undefined ? undefined : idempotencyKey(owner, tool, task.idempotencyKey)
  if (idempotent === undefined) {
    const refused = await table.put(item)
    return refused === undefined ? { item, created: true } : ofOwner(refused.found!)
  }
  item['idempotency'] = S(idempotent)
  for (;;) {
    const refused = await table.transact([
      table.toPut(item),
      table.toPut({ pk: S(idempotent), sk: S(IDEMPOTENCY), id: S(id) }),
    ])
    if (refused === undefined) return { item, created: true }
    const known = refused[1]?.found?.['id']?.S ?? id
    const found = await table.get(taskKey(known), ROW)
    if (found !== undefined) {
      if (known !== id) await dropAttribute(table, id, item['args']!)
      return ofOwner(found)
    }
    // The key of a task that was purged: its row goes first, and the one that purges may have died between the two.
    await table.transact([table.toDelete(idempotent, IDEMPOTENCY, known)])
  }
}

/** The place in its queue of a task that becomes ready: the later, the more tasks its owner has ready or leased in it. */
export async function placeOf(
  table: DynamodbTable,
  { owner, queue, weight }: { owner: string; queue: string; weight: number },
  readyAtMs: number,
): Promise<number> {
  const { count } = await table.query({
    IndexName: 'open',
    KeyConditionExpression: 'openKey = :key',
    ExpressionAttributeValues: { ':key': S(openKey(owner, queue)) },
    Select: 'COUNT',
    Limit: MOST_COUNTED,
  })
  return readyAtMs + (count * QUANTUM_MS) / weight
}

async function toItem(table: DynamodbTable, nowMs: number, task: NewTask): Promise<Item> {
  const { id, owner, queue, tool, weight = 1, delayMs = 0, ttlMs } = task
  const { maxAttempts, maxCrashes, failsWhenLost, isAttended = false, retentionMs } = task
  const settings = { maxAttempts, maxCrashes, failsWhenLost, isAttended, retentionMs, delayMs, ttlMs }
  const row = transitions.create(settings, nowMs)
  const orderAtMs = await placeOf(table, { owner, queue, weight }, row.runAtMs)
  const item: Item = {
    pk: S(taskKey(id)),
    sk: S(ROW),
    id: S(id),
    owner: S(owner),
    tool: S(tool),
    queue: S(queue),
    state: S(row.state),
    rev: N(0),
    beat: N(0),
    fence: N(row.fence),
    version: N(row.version),
    runAt: N(row.runAtMs),
    orderAt: N(orderAtMs),
    attempts: N(0),
    crashes: N(0),
    maxAttempts: N(maxAttempts),
    maxCrashes: N(maxCrashes),
    failsWhenLost: { BOOL: failsWhenLost },
    isAttended: { BOOL: isAttended },
    retention: N(retentionMs),
    journalLength: N(0),
    journalMark: N(0),
    openAsks: N(0),
    weight: N(weight),
    created: N(nowMs),
    updated: N(nowMs),
    argsDigest: B(task.argsDigest),
    args: await toAttribute(table, id, task.args),
    caller: B(task.caller),
    createdKey: S(createdKey(shardOf(id))),
    createdAt: S(`${String(nowMs).padStart(15, '0')}#${id}`),
  }
  const more = {
    expires: row.expiresMs === undefined ? undefined : N(row.expiresMs),
    ttl: ttlMs === undefined ? undefined : N(ttlMs),
    handlerRevision: task.handlerRevision === undefined ? undefined : S(task.handlerRevision),
    redriveOf: task.redriveOf === undefined ? undefined : S(task.redriveOf),
    ...indexed({ id, owner, queue, createdMs: nowMs }, row, orderAtMs),
  }
  for (const [name, value] of Object.entries(more)) if (value !== undefined) item[name] = value
  return item
}

import type { NewTask } from '../../ports/task-store.ts'
import * as transitions from '../../tasks/transitions.ts'
import { dropAttribute, toAttribute } from './blobs.ts'
import { indexed } from './row.ts'
import { createdKey, IDEMPOTENCY, idempotencyKey, openKey, QUEUES, ROW, shardOf, taskKey } from './schema.ts'
import { B, N, S, type DynamodbTable, type Item } from './table.ts'

/** Open tasks of an owner are counted up to this, since a count is paid for by what it reads. */
const MOST_COUNTED = 200
/** Between two places in a queue, for each task that an owner has open already: ten seconds at most. */
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
  const idempotent = task.idempotencyKey === undefined ? undefined : idempotencyKey(owner, tool, task.idempotencyKey)
  if (idempotent === undefined) {
    const refused = await table.put(item)
    return refused === undefined ? { item, created: true } : { item: refused.found!, created: false }
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
      return { item: found, created: false }
    }
    // The key of a task that was purged: its row goes first, and the one that purges may have died between the two.
    await table.transact([table.toDelete(idempotent, IDEMPOTENCY, known)])
  }
}

async function toItem(table: DynamodbTable, nowMs: number, task: NewTask): Promise<Item> {
  const { id, owner, queue, tool, weight = 1, delayMs = 0, ttlMs } = task
  const { maxAttempts, maxCrashes, failsWhenLost, retentionMs } = task
  const row = transitions.create({ maxAttempts, maxCrashes, failsWhenLost, retentionMs, delayMs, ttlMs }, nowMs)
  const { count: open } = await table.query({
    IndexName: 'open',
    KeyConditionExpression: 'openKey = :key',
    ExpressionAttributeValues: { ':key': S(openKey(owner, queue)) },
    Select: 'COUNT',
    Limit: MOST_COUNTED,
  })
  const orderAtMs = row.runAtMs + (open * QUANTUM_MS) / weight
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

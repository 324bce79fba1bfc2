import type { Clock } from '../../ports/clock.ts'
import type { NewTask, QueueBacklog, Task, TaskFilter } from '../../ports/task-store.ts'
import { fromAttribute } from './blobs.ts'
import { number, text } from './row.ts'
import { createdKey, JOURNAL, ROW, SHARDS, taskKey, workKey } from './schema.ts'
import { S, type DynamodbTable, type Item } from './table.ts'

const ALL_SHARDS = Array.from({ length: SHARDS }, (_, shard) => shard)

/** What operators ask for. */
export class DynamodbAdmin {
  readonly #table: DynamodbTable
  readonly #clock: Clock
  readonly #toTask: (item: Item) => Promise<Task>

  constructor(table: DynamodbTable, clock: Clock, toTask: (item: Item) => Promise<Task>) {
    this.#table = table
    this.#clock = clock
    this.#toTask = toTask
  }

  /** Goes through all tasks, the newest first, until enough fit. */
  async list(filter: TaskFilter): Promise<{ tasks: readonly Task[]; cursor: string | undefined }> {
    const tasks: Task[] = []
    let cursor = filter.cursor
    for (;;) {
      const page = await this.#newest(cursor, filter.limit)
      const rows = await this.#table.getMany(page.map(({ id }) => ({ pk: taskKey(id), sk: ROW })))
      const byId = new Map(rows.map((row) => [text(row['id'])!, row]))
      for (const { id, createdAt } of page) {
        const row = byId.get(id)
        cursor = createdAt
        if (row === undefined || !fits(row, filter)) continue
        tasks.push(await this.#toTask(row))
        if (tasks.length === filter.limit) return { tasks, cursor }
      }
      if (page.length < filter.limit) return { tasks, cursor: undefined }
    }
  }

  async backlog(queues: readonly string[]): Promise<readonly QueueBacklog[]> {
    const nowMs = this.#clock.now()
    return Promise.all(
      queues.map(async (queue): Promise<QueueBacklog> => {
        const [ready, leased, parked, firsts] = await Promise.all([
          this.#count((shard) => workKey.ready(queue, shard)),
          this.#count(workKey.leased, queue),
          this.#count(workKey.parked, queue),
          Promise.all(ALL_SHARDS.map((shard) => this.#firstReady(queue, shard))),
        ])
        const waits = firsts.flatMap((runAt) => (runAt === undefined ? [] : [nowMs - runAt]))
        return { queue, ready, leased, parked, oldestReadyMs: Math.max(0, ...waits) }
      }),
    )
  }

  /** Counts one shard after the other, until it is over. */
  async isOver(queue: string, bound: number): Promise<boolean> {
    let left = bound + 1
    for (const shard of ALL_SHARDS) {
      let next: Item | undefined
      do {
        const page = await this.#table.query({
          IndexName: 'work',
          KeyConditionExpression: 'workKey = :key',
          Select: 'COUNT',
          ExpressionAttributeValues: { ':key': S(workKey.ready(queue, shard)) },
          Limit: left,
          ...(next && { ExclusiveStartKey: next }),
        })
        left -= page.count
        next = page.next
      } while (next !== undefined && left > 0)
      if (left <= 0) return true
    }
    return false
  }

  async namedArtifacts(ids: readonly string[]): Promise<string[]> {
    const rows = await this.#table.getMany(
      ids.map((id) => ({ pk: taskKey(id), sk: ROW })),
      ['artifacts'],
    )
    // One after the other: it is no hurry, and a journal may be big.
    for (const id of ids) rows.push(...(await this.#table.partition(taskKey(id), JOURNAL)))
    return rows.flatMap(({ artifacts }) => (artifacts?.L ?? []).map(({ S: key }) => key!))
  }

  /** The new task that a dead letter becomes; `undefined` where it is none. */
  async redriven(id: string, newId: string): Promise<NewTask | undefined> {
    const item = await this.#table.get(taskKey(id), ROW)
    if (item?.['dead'] === undefined) return undefined
    const revision = text(item['handlerRevision'])
    return {
      id: newId,
      owner: text(item['owner'])!,
      tool: text(item['tool'])!,
      queue: text(item['queue'])!,
      weight: number(item['weight'])!,
      maxAttempts: number(item['maxAttempts'])!,
      maxCrashes: number(item['maxCrashes'])!,
      failsWhenLost: item['failsWhenLost']!.BOOL!,
      ttlMs: item['isAttended']!.BOOL! ? undefined : number(item['ttl']), // nobody attends it any more
      retentionMs: number(item['retention'])!,
      argsDigest: item['argsDigest']!.B!,
      args: (await fromAttribute(this.#table, id, item['args']))!,
      caller: item['caller']!.B!,
      redriveOf: id,
      ...(revision === undefined ? {} : { handlerRevision: revision }),
    }
  }

  /** The newest before a place, over all shards. */
  async #newest(before: string | undefined, limit: number): Promise<{ id: string; createdAt: string }[]> {
    const pages = await Promise.all(
      ALL_SHARDS.map((shard) =>
        this.#table.query({
          IndexName: 'created',
          KeyConditionExpression: `createdKey = :key${before === undefined ? '' : ' and createdAt < :before'}`,
          ExpressionAttributeValues: {
            ':key': S(createdKey(shard)),
            ...(before === undefined ? {} : { ':before': S(before) }),
          },
          ScanIndexForward: false,
          Limit: limit,
        }),
      ),
    )
    return pages
      .flatMap(({ items }) => items.map((item) => text(item['createdAt'])!))
      .sort((a, b) => (a < b ? 1 : -1))
      .slice(0, limit)
      .map((createdAt) => ({ createdAt, id: createdAt.slice(createdAt.indexOf('#') + 1) }))
  }

  async #count(key: (shard: number) => string, queue?: string): Promise<number> {
    let total = 0
    for (const shard of ALL_SHARDS) {
      let next: Item | undefined
      do {
        const page = await this.#table.query({
          IndexName: 'work',
          KeyConditionExpression: 'workKey = :key',
          Select: 'COUNT',
          ExpressionAttributeValues: { ':key': S(key(shard)), ...(queue === undefined ? {} : { ':queue': S(queue) }) },
          ...(queue === undefined
            ? {}
            : { FilterExpression: '#queue = :queue', ExpressionAttributeNames: { '#queue': 'queue' } }),
          ...(next && { ExclusiveStartKey: next }),
        })
        total += page.count
        next = page.next
      } while (next !== undefined)
    }
    return total
  }

  async #firstReady(queue: string, shard: number): Promise<number | undefined> {
    const { items } = await this.#table.query({
      IndexName: 'work',
      KeyConditionExpression: 'workKey = :key',
      ExpressionAttributeValues: { ':key': S(workKey.ready(queue, shard)) },
      Limit: 1,
    })
    return number(items[0]?.['runAt'])
  }
}

function fits(row: Item, { state, tool, queue, owner, dead }: TaskFilter): boolean {
  const is = (wanted: string | undefined, name: string): boolean => wanted === undefined || text(row[name]) === wanted
  return (
    is(state, 'state') &&
    is(tool, 'tool') &&
    is(queue, 'queue') &&
    is(owner, 'owner') &&
    (dead === undefined || (row['dead'] !== undefined) === dead)
  )
}

import type { Clock } from '../../ports/clock.ts'
import type { ClaimRequest } from '../../ports/task-store.ts'
import { number, text } from './row.ts'
import { ROW, SHARDS, shardOf, taskKey, workKey } from './schema.ts'
import { N, S, type DynamodbTable, type Item } from './table.ts'

/** Claims whose answers may have been lost, by token: a repeat comes from the worker that asked, within its time-out. */
const MAX_TOKENS = 1000
/** Of each shard, beside the number that is asked for: others are claiming too. */
const SPARE = 20
/** Pages of ready tasks for other tools, before this one's are looked for by the next claim. */
const MAX_PAGES = 5

/** A task that may be ready. */
interface Hint {
  readonly id: string
  readonly orderAt: number
}

/** Takes ready tasks: the index says which may be, in which order; a conditional write decides each. */
export class Claims {
  readonly #table: DynamodbTable
  readonly #clock: Clock
  readonly #tried = new Map<string, string[]>()

  constructor(table: DynamodbTable, clock: Clock) {
    this.#table = table
    this.#clock = clock
  }

  /** The items as claimed. */
  async claim(request: ClaimRequest): Promise<Item[]> {
    const before = this.#tried.get(request.token)
    if (before !== undefined) {
      const items = await this.#rows(before)
      const ours = items.filter((item) => text(item['token']) === request.token && text(item['state']) === 'leased')
      if (ours.length > 0) return ours
    }
    const tried: string[] = before ?? []
    this.#remember(request.token, tried)
    const claimed: Item[] = []
    const hints = await this.#hints(request)
    while (claimed.length < request.limit && hints.length > 0) {
      const now = hints.splice(0, request.limit - claimed.length)
      tried.push(...now.map(({ id }) => id))
      for (const item of await Promise.all(now.map(({ id }) => this.#take(id, request))))
        if (item !== undefined) claimed.push(item)
    }
    return claimed
  }

  async #take(id: string, { queue, token, worker, leaseMs }: ClaimRequest): Promise<Item | undefined> {
    const nowMs = this.#clock.now()
    const written = await this.#table.update(taskKey(id), ROW, {
      set: {
        state: S('leased'),
        worker: S(worker),
        token: S(token),
        leaseMs: N(leaseMs),
        claimedAt: N(nowMs),
        workKey: S(workKey.leased(shardOf(id))),
        workAt: N(nowMs),
      },
      sum: { journalMark: ['journalLength', 0] },
      add: { fence: 1, rev: 1, beat: 1 },
      condition: '#state = :ready and #queue = :queue and (attribute_not_exists(#expires) or #expires > :now)',
      values: { ready: S('ready'), queue: S(queue), now: N(nowMs) },
    })
    if ('item' in written) return written.item
    // The answer to a first try may have been lost on the way.
    return written.found !== undefined && text(written.found['token']) === token ? written.found : undefined
  }

  /** Best first; what a doorbell named and the index does not have yet comes last. */
  async #hints(request: ClaimRequest): Promise<Hint[]> {
    const shards = Array.from({ length: SHARDS }, (_, shard) => this.#shard(request, shard))
    const hints = (await Promise.all(shards)).flat().sort((a, b) => a.orderAt - b.orderAt)
    const known = new Set(hints.map(({ id }) => id))
    const named = (request.ids ?? []).filter((id) => !known.has(id))
    if (hints.length >= request.limit || named.length === 0) return hints
    const rows = await this.#rows(named)
    const fitting = rows.filter((row) => text(row['state']) === 'ready' && this.#fits(row, request))
    return [...hints, ...fitting.map((row) => ({ id: text(row['id'])!, orderAt: number(row['orderAt'])! }))]
  }

  async #shard(request: ClaimRequest, shard: number): Promise<Hint[]> {
    const hints: Hint[] = []
    const wanted = request.limit + SPARE
    let next: Item | undefined
    for (let page = 0; page < MAX_PAGES && hints.length < wanted; page++) {
      const found = await this.#table.query({
        IndexName: 'work',
        KeyConditionExpression: 'workKey = :key',
        ExpressionAttributeValues: { ':key': S(workKey.ready(request.queue, shard)) },
        Limit: wanted,
        ...(next && { ExclusiveStartKey: next }),
      })
      for (const item of found.items)
        if (this.#fits(item, request))
          hints.push({ id: text(item['pk'])!.slice(taskKey('').length), orderAt: number(item['workAt'])! })
      next = found.next
      if (next === undefined) break
    }
    return hints
  }

  /** Tool and revision of a task never change, so the index can be believed. */
  #fits(item: Item, { queue, tools, handlerRevisions }: ClaimRequest): boolean {
    const revision = text(item['handlerRevision'])
    return (
      text(item['queue']) === queue &&
      tools.includes(text(item['tool'])!) &&
      (revision === undefined || handlerRevisions.includes(revision))
    )
  }

  #rows(ids: readonly string[]): Promise<Item[]> {
    return this.#table.getMany([...new Set(ids)].map((id) => ({ pk: taskKey(id), sk: ROW })))
  }

  #remember(token: string, ids: string[]): void {
    this.#tried.set(token, ids)
    if (this.#tried.size > MAX_TOKENS) this.#tried.delete(this.#tried.keys().next().value!)
  }
}

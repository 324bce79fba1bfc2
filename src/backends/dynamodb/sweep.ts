import type { TransactWriteItem } from '@aws-sdk/client-dynamodb'
import type { Clock } from '../../ports/clock.ts'
import type { SweepOptions, SweepReport } from '../../ports/task-store.ts'
import * as transitions from '../../tasks/transitions.ts'
import type { Row, SweepSettings } from '../../tasks/transitions.ts'
import { readJournal, toAnswer } from './journal.ts'
import { fromText, number, text, toRow, toText } from './row.ts'
import { expiryKey, IDEMPOTENCY, QUEUES, ROW, SHARDS, taskKey, workKey } from './schema.ts'
import { B, N, S, type DynamodbTable, type Item } from './table.ts'

/** Reads and changes one task where nobody came between. */
type ChangeTask = <Outcome>(
  id: string,
  apply: (row: Row, nowMs: number, item: Item) => transitions.Step<Outcome>,
  beside: (row: Row, next: Row, nowMs: number) => Promise<readonly TransactWriteItem[]>,
) => Promise<Outcome | undefined>
type Outcome = ReturnType<typeof transitions.sweep>['outcome']

/** What was last seen of a lease, and since when. */
interface Seen {
  readonly fence: number
  readonly beat: number
  readonly sinceMs: number
  lookedMs: number
}

/** On top of its length: monotonic clocks differ by parts in ten thousand. */
const LEASE_MARGIN = 1.1
/** What no sweep has met for so long is nobody's lease any more. */
const FORGET_AFTER_MS = 600_000
const PAGE = 200
const PARALLEL = 20
const ALL_SHARDS = Array.from({ length: SHARDS }, (_, shard) => shard)
/** What is read of a leased task, to see whether its holder lives. */
const LEASE = ['id', 'state', 'fence', 'beat', 'leaseMs'] as const

/**
 * What time has made due. A lease has run out for this process when it has itself seen the same fence and beat for the length of the
 * lease and a margin, by its monotonic clock; so a sweeper that has just started takes no lease for that long.
 */
export class Sweeper {
  readonly #table: DynamodbTable
  readonly #clock: Clock
  readonly #change: ChangeTask
  readonly #seen = new Map<string, Seen>()
  /** Where the last look at each shard's leases has stopped. */
  readonly #cursors = new Map<number, Item | undefined>()

  constructor(table: DynamodbTable, clock: Clock, change: ChangeTask) {
    this.#table = table
    this.#clock = clock
    this.#change = change
  }

  async observe(limit = 10_000): Promise<void> {
    await this.#lost(limit)
  }

  async sweep(options: SweepOptions): Promise<SweepReport> {
    const { limit } = options
    const nowMs = this.#clock.now()
    const due = (key: (shard: number) => string, index: 'work' | 'expiry') =>
      Promise.all(ALL_SHARDS.map((shard) => this.#due(index, key(shard), nowMs, limit)))
    const [lost, parked, expiring, ended, overdue] = await Promise.all([
      this.#lost(limit),
      due(workKey.parked, 'work'),
      due(expiryKey, 'expiry'),
      due(workKey.ended, 'work'),
      this.#overdue(nowMs - options.overdueMs, limit),
    ])
    const settings: SweepSettings = {
      crashBackoffMs: options.crashBackoffMs,
      expiredError: toText(options.expiredError),
      lostError: toText(options.lostError),
      expiredAnswer: toText(options.expiredAnswer),
      sparesLeases: options.sparesLeases === true,
    }
    const counts = { woken: 0, expired: 0, lost: 0, purged: 0 }
    const changed: { id: string; version: number }[] = []
    const rings = new Map<string, Set<string>>()
    const ring = (queue: string, id: string): void => void rings.set(queue, (rings.get(queue) ?? new Set()).add(id))
    for (const { queue, id } of overdue) ring(queue, id)
    const ids = [...new Set([...lost, ...parked.flat(2), ...expiring.flat(2)].slice(0, 4 * limit))]
    await inTurns(ids, async (id) => {
      const done = await this.#apply(id, settings)
      if (done === undefined) return
      counts[done.outcome]++
      if (done.outcome === 'woken') ring(done.queue, id)
      if (done.isNews) changed.push({ id, version: done.version })
    })
    await inTurns(ended.flat(2).slice(0, limit), async (id) => {
      if (await this.#purge(id, nowMs)) counts.purged++
    })
    return { ...counts, changed, rings: [...rings].map(([queue, some]) => ({ queue, ids: [...some] })) }
  }

  async #apply(
    id: string,
    settings: SweepSettings,
  ): Promise<{ outcome: Exclude<Outcome, undefined>; version: number; isNews: boolean; queue: string } | undefined> {
    let version = 0
    let isNews = false
    let queue = ''
    const apply = (row: Row, nowMs: number, item: Item): transitions.Step<Outcome> => {
      queue = text(item['queue'])!
      // Final rows are gone over by #purge, since more than the row goes with them.
      if (row.purgeMs !== undefined) return { row, outcome: undefined }
      const isLost = row.state === 'leased' && this.#isLost(item)
      const swept = transitions.sweep(isLost ? toRow(item, true) : row, settings, nowMs)
      version = swept.row.version
      isNews = version !== row.version
      return swept.outcome === undefined ? { row, outcome: undefined } : swept
    }
    const beside = async (row: Row, next: Row, nowMs: number): Promise<readonly TransactWriteItem[]> => {
      if (transitions.openAsks(row) === 0 || next.state !== 'ready') return []
      const open = (await readJournal(this.#table, id)).filter(
        ({ kind, value }) => kind === 'ask' && value === undefined,
      )
      return open.map(({ sk }) => toAnswer(this.#table, id, sk, B(fromText(settings.expiredAnswer)), nowMs))
    }
    const outcome = await this.#change<Outcome>(id, apply, beside)
    return outcome === undefined ? undefined : { outcome, version, isNews, queue }
  }

  /** Removes what has ended, and all that goes with it; the row last, so that a sweep that was cut off is taken up. */
  async #purge(id: string, nowMs: number): Promise<boolean> {
    const items = await this.#table.partition(taskKey(id))
    const row = items.find((item) => text(item['sk']) === ROW)
    const purge = number(row?.['purge'])
    if (row === undefined || purge === undefined || purge > nowMs) return false
    const rest = items.filter((item) => item !== row).map((item) => ({ pk: item['pk']!, sk: item['sk']! }))
    const idempotency = text(row['idempotency'])
    if (idempotency !== undefined) await this.#table.transact([this.#table.toDelete(idempotency, IDEMPOTENCY, id)])
    await this.#table.writeMany(rest.map((Key) => ({ DeleteRequest: { Key } })))
    await this.#table.writeMany([{ DeleteRequest: { Key: { pk: row['pk']!, sk: row['sk']! } } }])
    return true
  }

  /** Ids whose time in an index has come. */
  async #due(IndexName: 'work' | 'expiry', key: string, nowMs: number, limit: number): Promise<string[]> {
    const [hash, range] = IndexName === 'work' ? ['workKey', 'workAt'] : ['expiryKey', 'expiryAt']
    const { items } = await this.#table.query({
      IndexName,
      KeyConditionExpression: `${hash} = :key and ${range} <= :now`,
      ExpressionAttributeValues: { ':key': S(key), ':now': N(nowMs) },
      Limit: limit,
    })
    return items.map(idOf)
  }

  /** Ready tasks that nobody has taken for long. */
  async #overdue(beforeMs: number, limit: number): Promise<{ queue: string; id: string }[]> {
    const queues = (await this.#table.partition(QUEUES)).map((item) => text(item['sk'])!)
    const found: { queue: string; id: string }[] = []
    await inTurns(
      queues.flatMap((queue) => ALL_SHARDS.map((shard) => ({ queue, shard }))),
      async ({ queue, shard }) => {
        const ids = await this.#due('work', workKey.ready(queue, shard), beforeMs, limit)
        found.push(...ids.map((id) => ({ queue, id })))
      },
    )
    return found.slice(0, limit)
  }

  /** Looks at leases, some of each shard, going on where the last look stopped. @returns ids of those that have run out. */
  async #lost(limit: number): Promise<string[]> {
    const lost: string[] = []
    for (const shard of ALL_SHARDS) {
      let cursor = this.#cursors.get(shard)
      let looked = 0
      do {
        const page = await this.#table.query({
          IndexName: 'work',
          KeyConditionExpression: 'workKey = :key',
          ExpressionAttributeValues: { ':key': S(workKey.leased(shard)) },
          Limit: Math.min(PAGE, limit - looked),
          ...(cursor && { ExclusiveStartKey: cursor }),
        })
        cursor = page.next
        looked += page.items.length
        const rows = await this.#table.getMany(
          page.items.map((item) => ({ pk: text(item['pk'])!, sk: ROW })),
          LEASE,
        )
        for (const row of rows) if (text(row['state']) === 'leased' && this.#isLost(row)) lost.push(text(row['id'])!)
      } while (cursor !== undefined && looked < limit)
      this.#cursors.set(shard, cursor)
    }
    const nowMs = this.#clock.monotonic()
    for (const [id, { lookedMs }] of this.#seen) if (nowMs - lookedMs > FORGET_AFTER_MS) this.#seen.delete(id)
    return lost
  }

  #isLost(row: Item): boolean {
    const id = text(row['id'])!
    const fence = number(row['fence'])!
    const beat = number(row['beat'])!
    const nowMs = this.#clock.monotonic()
    const seen = this.#seen.get(id)
    if (seen?.fence !== fence || seen.beat !== beat) {
      this.#seen.set(id, { fence, beat, sinceMs: nowMs, lookedMs: nowMs })
      return false
    }
    seen.lookedMs = nowMs
    return nowMs - seen.sinceMs >= number(row['leaseMs'])! * LEASE_MARGIN
  }
}

const idOf = (item: Item): string => text(item['pk'])!.slice(taskKey('').length)

async function inTurns<T>(all: readonly T[], run: (one: T) => Promise<void>): Promise<void> {
  for (let from = 0; from < all.length; from += PARALLEL) await Promise.all(all.slice(from, from + PARALLEL).map(run))
}

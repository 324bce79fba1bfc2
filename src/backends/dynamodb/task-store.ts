import type { TransactWriteItem } from '@aws-sdk/client-dynamodb'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { Clock } from '../../ports/clock.ts'
import type {
  ClaimedTask,
  ClaimRequest,
  FoundTask,
  NewTask,
  ParkUntil,
  QueueBacklog,
  StepRecord,
  SweepOptions,
  SweepReport,
  Task,
  TaskAdmin,
  TaskEnd,
  TaskFilter,
  TaskState,
  TaskStore,
} from '../../ports/task-store.ts'
import * as transitions from '../../tasks/transitions.ts'
import type { Recorded, Row } from '../../tasks/transitions.ts'
import { DynamodbAdmin } from './admin.ts'
import { fromAttribute, toAttribute } from './blobs.ts'
import { Claims } from './claims.ts'
import { createTask, placeOf } from './create.ts'
import { entryItem, readJournal, toAnswer } from './journal.ts'
import { parallel } from './parallel.ts'
import { ended, number, text, toChange, toRow, toTask } from './row.ts'
import { expiryKey, migrate, ROW, shardOf, taskKey } from './schema.ts'
import { Sweeper } from './sweep.ts'
import { N, openTable, S, type Change, type DynamodbTable, type Item } from './table.ts'

/** Others changed the same task between a read and a write so often: something is wrong. */
const MAX_CONFLICTS = 50

/**
 * Opens the task store that a DynamoDB URL names.
 * @throws {HoldfastError} `invalid_option` for a malformed URL, or where the package `@aws-sdk/client-dynamodb` is not installed.
 */
export async function openDynamodbTasks(url: string, clock: Clock): Promise<DynamodbTaskStore> {
  return new DynamodbTaskStore(await openTable(url), clock)
}

/**
 * Tasks in one DynamoDB table. What is written often (claims, heartbeats, steps, ends) is one conditional write, with the fence in its
 * condition; the rest reads the item, asks the pure functions of `tasks/transitions.ts`, and writes where nobody has changed it since.
 *
 * There is no clock of the server: a lease has run out for an observer that has seen nothing of its holder for its length
 * (`sweep.ts`); due times, retention and the time to live are reckoned by the clocks of the machines, which may differ by seconds.
 */
export class DynamodbTaskStore implements TaskStore, TaskAdmin {
  readonly #table: DynamodbTable
  readonly #clock: Clock
  readonly #claims: Claims
  readonly #sweeper: Sweeper
  readonly #admin: DynamodbAdmin
  readonly #knownQueues = new Set<string>()

  constructor(table: DynamodbTable, clock: Clock) {
    this.#table = table
    this.#clock = clock
    this.#claims = new Claims(table, clock)
    this.#sweeper = new Sweeper(table, clock, (id, apply, beside) => this.#change(id, undefined, apply, beside))
    this.#admin = new DynamodbAdmin(table, clock, (item) => this.#toTask(item))
  }

  async create(task: NewTask): Promise<{ task: Task; created: boolean }> {
    const { item, created } = await createTask(this.#table, this.#clock.now(), task, this.#knownQueues)
    return { task: await this.#toTask(item), created }
  }

  async get(id: string, owner: string): Promise<Task | undefined> {
    const item = await this.#table.get(taskKey(id), ROW)
    return item === undefined || text(item['owner']) !== owner ? undefined : this.#toTask(item)
  }

  async versions(ids: readonly string[]): Promise<(number | undefined)[]> {
    const unique = [...new Set(ids)]
    const items = await this.#table.getMany(
      unique.map((id) => ({ pk: taskKey(id), sk: ROW })),
      ['id', 'version'],
    )
    const byId = new Map(items.map((item) => [text(item['id'])!, number(item['version'])!]))
    return ids.map((id) => byId.get(id))
  }

  async claim(request: ClaimRequest): Promise<readonly ClaimedTask[]> {
    const items = await this.#claims.claim(request)
    return parallel(items, (item) => this.#toClaimed(item))
  }

  async heartbeat(
    _worker: string,
    leases: readonly { id: string; fence: number; statusMessage?: string | undefined }[],
    leaseMs: number,
  ): Promise<readonly { id: string; fence: number; cancel: boolean }[]> {
    const answers = await parallel(leases, async ({ id, fence, statusMessage }) => {
      const item = await this.#renew(id, fence, leaseMs, statusMessage)
      if (item === undefined) return []
      const expires = number(item['expires'])
      const cancel = item['cancelAt'] !== undefined || (expires !== undefined && this.#clock.now() >= expires)
      return [{ id, fence, cancel }]
    })
    return answers.flat()
  }

  async recordStep(step: StepRecord): Promise<'recorded' | 'exists' | 'lost'> {
    const { id, fence, name, value, leaseMs, artifacts } = step
    const entry = entryItem(id, fence, name, {
      kind: S('step'),
      value: await toAttribute(this.#table, id, value),
      at: N(this.#clock.now()),
      ...(artifacts === undefined ? {} : { artifacts: { L: artifacts.map(S) } }),
    })
    const refused = await this.#table.transact([
      this.#table.toUpdate(taskKey(id), ROW, {
        ...held(fence),
        set: { leaseMs: N(leaseMs) },
        add: { journalLength: 1, beat: 1, rev: 1 },
      }),
      this.#table.toPut(entry),
    ])
    // A part of a big value that was not recorded goes with the task.
    if (refused === undefined) return 'recorded'
    return refused[0] === undefined ? 'exists' : 'lost'
  }

  async park(id: string, fence: number, until: ParkUntil): Promise<'parked' | 'cancelled' | 'lost'> {
    const asks = 'asks' in until ? until.asks : []
    const puts = await parallel(asks, async ({ name, request, artifacts = [] }) => {
      const asked = { kind: S('ask'), request: await toAttribute(this.#table, id, request) }
      return this.#table.toPut(entryItem(id, fence, name, { ...asked, artifacts: { L: artifacts.map(S) } }))
    })
    // The row has no names of its journal: the transaction says whether one is there already.
    const how =
      'asks' in until ? { ...until, asks: asks.map((_, index) => ({ name: `${index}.`, request: '' })) } : until
    const park = (row: Row, nowMs: number): transitions.Step<'parked' | 'cancelled' | 'lost'> => {
      const parked = transitions.park(row, fence, how, nowMs)
      if (parked.outcome === 'parked') transitions.refuseKnown(asks, [])
      return parked
    }
    const outcome = await this.#change(
      id,
      undefined,
      park,
      async () => puts,
      (refused) =>
        transitions.refuseKnown(
          asks,
          asks.filter((_, index) => refused[index] !== undefined),
        ),
    )
    return outcome ?? 'lost'
  }

  async answer(
    id: string,
    owner: string,
    answers: readonly { name: string; value: Uint8Array }[],
  ): Promise<{ open: number; state: TaskState; queue: string } | undefined> {
    // A name that is given twice: the first counts.
    const given = new Map(answers.toReversed().map(({ name, value }) => [name, value]))
    for (let conflict = 0; conflict < MAX_CONFLICTS; conflict++) {
      const item = await this.#table.get(taskKey(id), ROW)
      if (item === undefined || text(item['owner']) !== owner) return undefined
      const queue = text(item['queue'])!
      const before = toRow(item)
      const journal = before.state === 'parked' ? await readJournal(this.#table, id) : []
      const row: Row = { ...before, journal: before.state === 'parked' ? journal.map(toRecorded) : before.journal }
      const nowMs = this.#clock.now()
      const named = answers.map(({ name }) => ({ name, value: '' }))
      const { row: next, outcome } = transitions.answer(row, named, nowMs)
      if (next === row) return { ...outcome, state: row.state, queue }
      const updates = journal
        .filter(({ name, kind, value }) => kind === 'ask' && value === undefined && given.has(name))
        .map(async ({ name, sk }) =>
          toAnswer(this.#table, id, sk, await toAttribute(this.#table, id, given.get(name)!), nowMs),
        )
      const change = toChange(item, next, nowMs, next.state === 'ready' ? await this.#placeOf(item, nowMs) : undefined)
      const refused = await this.#table.transact([
        this.#table.toUpdate(taskKey(id), ROW, change),
        ...(await Promise.all(updates)),
      ])
      if (refused === undefined) return { ...outcome, state: next.state, queue }
    }
    throw tooManyConflicts(id)
  }

  async finish(ends: readonly TaskEnd[]): Promise<readonly ('done' | 'lost')[]> {
    return parallel(ends, async ({ id, fence, state, result, error, dead, artifacts, statusMessage }) => {
      const nowMs = this.#clock.now()
      const written = await this.#table.update(taskKey(id), ROW, {
        ...held(fence),
        set: {
          state: S(state),
          doneFence: N(fence),
          result: result && (await toAttribute(this.#table, id, result)),
          error: error && (await toAttribute(this.#table, id, error)),
          dead: dead === undefined ? undefined : S(dead),
          artifacts: artifacts && { L: artifacts.map(S) },
          ...(statusMessage === undefined ? {} : { statusMessage: S(statusMessage) }),
          worker: undefined,
          token: undefined,
          updated: N(nowMs),
          ...ended(id),
        },
        sum: { purge: ['retention', nowMs], workAt: ['retention', nowMs] },
        add: { version: 1, rev: 1 },
      })
      return 'item' in written ? 'done' : 'lost'
    })
  }

  async retry(
    id: string,
    fence: number,
    runAfterMs: number,
    statusMessage?: string,
  ): Promise<'parked' | 'cancelled' | 'lost'> {
    const apply = (row: Row, nowMs: number) => transitions.retry(row, fence, runAfterMs, statusMessage, nowMs)
    return (await this.#change(id, undefined, apply)) ?? 'lost'
  }

  async release(leases: readonly { id: string; fence: number }[]): Promise<readonly string[]> {
    const released = await parallel(leases, async ({ id, fence }) => {
      const isOurs = await this.#change(id, undefined, (row, nowMs) => transitions.release(row, fence, nowMs))
      return isOurs === true ? [id] : []
    })
    return released.flat()
  }

  cancel(id: string, owner: string): Promise<'cancelled' | 'signalled' | 'ended' | undefined> {
    return this.#change(id, owner, transitions.cancel)
  }

  async attend(ids: readonly string[], ttlMs: number): Promise<void> {
    const expires = N(this.#clock.now() + ttlMs)
    await parallel(ids, (id) =>
      this.#table.update(taskKey(id), ROW, {
        set: { expires, expiryKey: S(expiryKey(shardOf(id))), expiryAt: expires },
        add: { rev: 1 },
        condition: '#isAttended = :yes and attribute_not_exists(#purge)',
        values: { yes: { BOOL: true } },
      }),
    )
  }

  isOver(queue: string, bound: number): Promise<boolean> {
    return this.#admin.isOver(queue, bound)
  }

  /** Looks at the leases without doing anything: what has not moved when a later sweep looks again has run out. */
  observe(): Promise<void> {
    return this.#sweeper.observe()
  }

  sweep(options: SweepOptions): Promise<SweepReport> {
    return this.#sweeper.sweep(options)
  }

  migrate({ check = false }: { check?: boolean } = {}): Promise<{
    from: number
    to: number
    pending: readonly string[]
  }> {
    return migrate(this.#table, check)
  }

  list(filter: TaskFilter): Promise<{ tasks: readonly Task[]; cursor: string | undefined }> {
    return this.#admin.list(filter)
  }

  async find(id: string): Promise<FoundTask | undefined> {
    const item = await this.#table.get(taskKey(id), ROW)
    if (item === undefined) return undefined
    const journal = await readJournal(this.#table, id)
    return { ...(await this.#toTask(item)), journal: journal.map(({ sk: _sk, ...entry }) => entry) }
  }

  backlog(queues: readonly string[]): Promise<readonly QueueBacklog[]> {
    return this.#admin.backlog(queues)
  }

  namedArtifacts(ids: readonly string[]): Promise<readonly string[]> {
    return this.#admin.namedArtifacts(ids)
  }

  async redrive(id: string, newId: string): Promise<Task | undefined> {
    const task = await this.#admin.redriven(id, newId)
    return task && (await this.create(task)).task
  }

  async close(): Promise<void> {
    this.#table.close()
  }

  /** One conditional write; a message that is no news raises no version. */
  async #renew(id: string, fence: number, leaseMs: number, message: string | undefined): Promise<Item | undefined> {
    const renewal = { ...held(fence), set: { leaseMs: N(leaseMs) }, add: { beat: 1, rev: 1 } }
    if (message !== undefined) {
      const written = await this.#table.update(taskKey(id), ROW, {
        set: { ...renewal.set, statusMessage: S(message), updated: N(this.#clock.now()) },
        add: { ...renewal.add, version: 1 },
        condition: `${renewal.condition} and (attribute_not_exists(#statusMessage) or #statusMessage <> :message)`,
        values: { ...renewal.values, message: S(message) },
      })
      if ('item' in written) return written.item
    }
    const written = await this.#table.update(taskKey(id), ROW, renewal)
    return 'item' in written ? written.item : undefined
  }

  #placeOf(item: Item, nowMs: number): Promise<number> {
    const of = { owner: text(item['owner'])!, queue: text(item['queue'])!, weight: number(item['weight'])! }
    return placeOf(this.#table, of, nowMs)
  }

  /**
   * Reads, decides, and writes where nobody came between; else decides anew on what is there. What `beside` names is written with it;
   * `onClash` is told where that was refused, and the row was not.
   */
  async #change<Outcome>(
    id: string,
    owner: string | undefined,
    apply: (row: Row, nowMs: number, item: Item) => transitions.Step<Outcome>,
    beside: (row: Row, next: Row, nowMs: number) => Promise<readonly TransactWriteItem[]> = async () => [],
    onClash: (refused: readonly unknown[]) => void = () => undefined,
  ): Promise<Outcome | undefined> {
    let item = await this.#table.get(taskKey(id), ROW)
    for (let conflict = 0; conflict < MAX_CONFLICTS; conflict++) {
      if (item === undefined || (owner !== undefined && text(item['owner']) !== owner)) return undefined
      const nowMs = this.#clock.now()
      const row = toRow(item)
      const { row: next, outcome } = apply(row, nowMs, item)
      if (next === row) return outcome
      const woken = row.state === 'parked' && next.state === 'ready'
      const change = toChange(item, next, nowMs, woken ? await this.#placeOf(item, nowMs) : undefined)
      const parts = await beside(row, next, nowMs)
      const written = parts.length === 0 ? await this.#table.update(taskKey(id), ROW, change) : undefined
      if (written !== undefined) {
        if ('item' in written) return outcome
        item = written.found
        continue
      }
      const refused = await this.#table.transact([this.#table.toUpdate(taskKey(id), ROW, change), ...parts])
      if (refused === undefined) return outcome
      const [row0, ...others] = refused
      if (row0 === undefined) onClash(others)
      item = row0 === undefined ? await this.#table.get(taskKey(id), ROW) : row0.found
    }
    throw tooManyConflicts(id)
  }

  async #toTask(item: Item): Promise<Task> {
    const id = text(item['id'])!
    const journal = number(item['openAsks'])! > 0 ? await readJournal(this.#table, id) : []
    return toTask(item, {
      asks: journal.flatMap(({ name, kind, request, value }) =>
        kind === 'ask' && value === undefined ? [{ name, request: request! }] : [],
      ),
      result: await fromAttribute(this.#table, id, item['result']),
      error: await fromAttribute(this.#table, id, item['error']),
    })
  }

  async #toClaimed(item: Item): Promise<ClaimedTask> {
    const id = text(item['id'])!
    const journal = number(item['journalLength'])! > 0 ? await readJournal(this.#table, id) : []
    return {
      ...(await this.#toTask(item)),
      args: (await fromAttribute(this.#table, id, item['args']))!,
      cancel: item['cancelAt'] !== undefined,
      maxAttempts: number(item['maxAttempts'])!,
      leaseUntilMs: number(item['claimedAt'])! + number(item['leaseMs'])!,
      journal: journal.map(({ sk: _sk, ...entry }) => entry),
    }
  }
}

/** What every write of a holder stands under. */
const held = (fence: number): Pick<Change, 'condition' | 'values'> => ({
  condition: '#state = :leased and #fence = :fence',
  values: { leased: S('leased'), fence: N(fence) },
})

const toRecorded = ({ name, kind, value }: { name: string; kind: 'step' | 'ask'; value: unknown }): Recorded => ({
  name,
  kind,
  fence: 0,
  request: undefined,
  value: value === undefined ? undefined : '',
})

const tooManyConflicts = (id: string): HoldfastError =>
  new HoldfastError('backend_failed', `The task ${id} was changed by others ${MAX_CONFLICTS} times in a row.`)

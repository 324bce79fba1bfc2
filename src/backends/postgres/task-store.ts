import type { Client, Pool, QueryResultRow } from 'pg'
import { HoldfastError } from '../../errors/holdfast-error.ts'
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
import { Reach } from '../broker/reach.ts'
import { toCursor } from '../sql/cursor.ts'
import { Gatherer } from '../sql/gatherer.ts'
import {
  askedBefore,
  duration,
  isTaskId,
  STATES,
  toClaimed,
  toEntry,
  toTask,
  type ClaimedRow,
  type JournalRow,
  type TaskRow,
} from '../sql/row.ts'
import { toText } from '../sql/text.ts'
import { toAskedTask, type AskedRow } from './asked.ts'
import { isDataError, isUsableAfter, saysOf, sqlState, toBackendError, UNIQUE_VIOLATION } from './errors.ts'
import { migrate, quote } from './migrate.ts'
import { MIGRATIONS } from './migrations/index.ts'
import {
  endedColumns,
  hashOrNull,
  insertedColumns,
  jsonOrNull,
  parkedColumns,
  textOrNull,
  toBuffer,
  toInserted,
  type InsertedRow,
} from './columns.ts'
import { listTasks } from './sql/admin.ts'
import { statementsOf } from './sql/index.ts'
import type { Statement } from './sql/statement.ts'
import { toReport, type SweptRow } from '../sql/sweep-report.ts'

const MOST_IN_BATCH = 200
const MOST_BYTES_IN_BATCH = 4 * 1024 * 1024
const MOST_WAIT_MS = 2000
/** A row that was in the way may be purged before it can be read; then it is no longer in the way. */
const CREATE_TRIES = 3

/**
 * Tasks on PostgreSQL 13 and newer. Each operation is one statement (a claim reads journals by a second one, when it has the
 * tasks), tried once: after an error its outcome is unknown, and it may be called again. Creations and ends that meet go out
 * together.
 */
export class PostgresTaskStore implements TaskStore, TaskAdmin {
  readonly #pool: Pool
  readonly #reach = new Reach({ server: 'Postgres', saysOf })
  readonly #single: () => Client
  readonly #schema: string
  readonly #sql: ReturnType<typeof statementsOf>
  readonly #creations: Gatherer<NewTask, { task: Task; created: boolean }>
  readonly #ends: Gatherer<TaskEnd, 'done' | 'lost'>
  #closing: Promise<void> | undefined

  /**
   * @param pool ended by {@link close}.
   * @param single makes a connection without a statement time-out, for migrations.
   */
  constructor(pool: Pool, single: () => Client, schema: string) {
    this.#pool = pool
    this.#single = single
    this.#schema = schema
    this.#sql = statementsOf(quote(schema))
    // A connection that breaks while nobody uses it is replaced by the next use; one that breaks in use also fails its statement.
    // Without a listener either would end the process.
    pool.on('error', () => undefined)
    pool.on('connect', (client) => client.on('error', () => undefined))
    const bounds = {
      maxInFlight: 2,
      maxItems: MOST_IN_BATCH,
      maxBytes: MOST_BYTES_IN_BATCH,
      maxWaitMs: MOST_WAIT_MS,
      isOnesFault: (error: unknown) => isDataError((error as Error).cause),
    }
    this.#creations = new Gatherer({
      ...bounds,
      send: (batch) => this.#create(batch),
      sizeOf: ({ args, caller }) => args.length + caller.length,
    })
    this.#ends = new Gatherer({
      ...bounds,
      send: (batch) => this.#finish(batch),
      sizeOf: ({ result, error }) => (result?.length ?? 0) + (error?.length ?? 0),
    })
  }

  create(task: NewTask): Promise<{ task: Task; created: boolean }> {
    return this.#creations.add(task)
  }

  async get(id: string, owner: string): Promise<Task | undefined> {
    if (!isTaskId(id)) return undefined
    const [row] = await this.#run<AskedRow>('get', this.#sql.getTask, [id, owner])
    return row && toAskedTask(row)
  }

  async versions(ids: readonly string[]): Promise<(number | undefined)[]> {
    const known = ids.filter(isTaskId)
    if (known.length === 0) return ids.map(() => undefined)
    const rows = await this.#run<{ id: string; version: number }>('versions', this.#sql.readVersions, [known])
    const versions = new Map(rows.map(({ id, version }) => [id, version]))
    return ids.map((id) => versions.get(id))
  }

  async claim(request: ClaimRequest): Promise<readonly ClaimedTask[]> {
    const { worker, token, queue, tools, handlerRevisions, limit, leaseMs } = request
    const rows = await this.#run<ClaimedRow>('claim', this.#sql.claimTasks, [
      worker,
      token,
      queue,
      tools,
      handlerRevisions,
      limit,
      duration(leaseMs),
    ])
    const ids = rows.filter(({ journal_length }) => journal_length > 0).map(({ id }) => id)
    const journal = ids.length === 0 ? [] : await this.#run<JournalRow>('claim', this.#sql.readJournals, [ids])
    return toClaimed(rows, journal)
  }

  async heartbeat(
    _worker: string,
    leases: readonly { id: string; fence: number; statusMessage?: string | undefined }[],
    leaseMs: number,
  ): Promise<readonly { id: string; fence: number; cancel: boolean }[]> {
    if (leases.length === 0) return []
    return this.#run('heartbeat', this.#sql.renewLeases, [
      leases.map(({ id }) => id),
      leases.map(({ fence }) => fence),
      leases.map(({ statusMessage }) => textOrNull(statusMessage)),
      duration(leaseMs),
    ])
  }

  async recordStep({
    id,
    fence,
    name,
    value,
    leaseMs,
    artifacts,
  }: StepRecord): Promise<'recorded' | 'exists' | 'lost'> {
    const values = [id, fence, toText(name), toBuffer(value), duration(leaseMs), jsonOrNull(artifacts)]
    try {
      const [row] = await this.#run<{ outcome: 'recorded' | 'exists' | 'lost' }>(
        'recordStep',
        this.#sql.recordStep,
        values,
      )
      return row!.outcome
    } catch (error) {
      if (sqlState((error as Error).cause) === UNIQUE_VIOLATION) return 'exists'
      throw error
    }
  }

  async park(id: string, fence: number, until: ParkUntil): Promise<'parked' | 'cancelled' | 'lost'> {
    const asks = 'asks' in until ? until.asks : []
    try {
      const values = [id, fence, ...parkedColumns(until, asks)]
      const [row] = await this.#run<{ cancelled: boolean }>('park', this.#sql.parkTask, values)
      if (row === undefined) return 'lost'
      return row.cancelled ? 'cancelled' : 'parked'
    } catch (error) {
      throw sqlState((error as Error).cause) === UNIQUE_VIOLATION ? askedBefore(asks) : error
    }
  }

  async answer(
    id: string,
    owner: string,
    answers: readonly { name: string; value: Uint8Array }[],
  ): Promise<{ open: number; state: TaskState; queue: string } | undefined> {
    if (!isTaskId(id)) return undefined
    const first = new Map(answers.toReversed().map(({ name, value }) => [toText(name), toBuffer(value)]))
    const [row] = await this.#run<{ open: number; state: number; queue: string }>('answer', this.#sql.answerAsks, [
      id,
      owner,
      [...first.keys()],
      [...first.values()],
    ])
    return row && { open: row.open, state: STATES[row.state]!, queue: row.queue }
  }

  finish(ends: readonly TaskEnd[]): Promise<readonly ('done' | 'lost')[]> {
    return Promise.all(ends.map((end) => this.#ends.add(end)))
  }

  async retry(
    id: string,
    fence: number,
    runAfterMs: number,
    statusMessage?: string,
  ): Promise<'parked' | 'cancelled' | 'lost'> {
    const values = [id, fence, duration(runAfterMs), textOrNull(statusMessage)]
    const [row] = await this.#run<{ ends: boolean }>('retry', this.#sql.retryTask, values)
    if (row === undefined) return 'lost'
    return row.ends ? 'cancelled' : 'parked'
  }

  async release(leases: readonly { id: string; fence: number }[]): Promise<readonly string[]> {
    if (leases.length === 0) return []
    const values = [leases.map(({ id }) => id), leases.map(({ fence }) => fence)]
    const rows = await this.#run<{ id: string }>('release', this.#sql.releaseTasks, values)
    return rows.map(({ id }) => id)
  }

  async cancel(id: string, owner: string): Promise<'cancelled' | 'signalled' | 'ended' | undefined> {
    if (!isTaskId(id)) return undefined
    const [row] = await this.#run<{ state: number }>('cancel', this.#sql.cancelTask, [id, owner])
    if (row === undefined) return undefined
    const state = STATES[row.state]
    if (state === 'leased') return 'signalled'
    return state === 'ready' || state === 'parked' ? 'cancelled' : 'ended'
  }

  async attend(ids: readonly string[], ttlMs: number): Promise<void> {
    const known = ids.filter(isTaskId)
    if (known.length > 0) await this.#run('attend', this.#sql.attendTasks, [known, duration(ttlMs)])
  }

  async isOver(queue: string, bound: number): Promise<boolean> {
    const [row] = await this.#run<{ over: boolean }>('isOver', this.#sql.isOver, [queue, bound])
    return row!.over
  }

  async sweep({
    limit,
    expiredError,
    lostError,
    expiredAnswer,
    crashBackoffMs,
    overdueMs,
    sparesLeases = false,
  }: SweepOptions): Promise<SweepReport> {
    const rows = await this.#run<SweptRow | { kind: 'old' }>('sweep', this.#sql.sweepTasks, [
      limit,
      toBuffer(expiredError),
      toBuffer(lostError),
      duration(crashBackoffMs),
      duration(overdueMs),
      sparesLeases,
      toBuffer(expiredAnswer),
    ])
    const swept = rows.filter((row) => row.kind !== 'old')
    const [purge] =
      swept.length === rows.length ? [] : await this.#run<{ count: number }>('sweep', this.#sql.purgeTasks, [limit])
    return toReport(swept, purge?.count ?? 0)
  }

  /** @throws {HoldfastError} `backend_mismatch` where newer code has changed the schema so that this one must not use it. */
  async migrate(options?: { check?: boolean }): Promise<{ from: number; to: number; pending: readonly string[] }> {
    this.#refuseClosed()
    const client = this.#single()
    client.on('error', () => undefined) // the statement under way is rejected with it
    try {
      await client.connect()
      return await migrate(client, this.#schema, MIGRATIONS, options)
    } catch (error) {
      throw toBackendError('migrate', error)
    } finally {
      await client.end()
    }
  }

  async list(filter: TaskFilter): Promise<{ tasks: readonly Task[]; cursor: string | undefined }> {
    const { text, values } = listTasks(quote(this.#schema), filter)
    const rows = await this.#run<AskedRow>('list', { text }, values)
    const tasks = rows.slice(0, filter.limit).map(toAskedTask)
    return { tasks, cursor: rows.length > filter.limit ? toCursor(tasks.at(-1)!) : undefined }
  }

  async find(id: string): Promise<FoundTask | undefined> {
    if (!isTaskId(id)) return undefined
    const [row] = await this.#run<AskedRow>('find', this.#sql.findTask, [id])
    if (row === undefined) return undefined
    const journal = await this.#run<JournalRow>('find', this.#sql.readJournals, [[id]])
    return { ...toAskedTask(row), journal: journal.map(toEntry) }
  }

  async backlog(queues: readonly string[]): Promise<readonly QueueBacklog[]> {
    const rows = await this.#run<Omit<QueueBacklog, 'oldestReadyMs'> & { oldest_ready_ms: number }>(
      'backlog',
      this.#sql.readBacklog,
      [queues],
    )
    return rows.map(({ oldest_ready_ms, ...counts }) => ({ ...counts, oldestReadyMs: oldest_ready_ms }))
  }

  async namedArtifacts(ids: readonly string[]): Promise<readonly string[]> {
    const rows = await this.#run<{ key: string }>('a read', this.#sql.readArtifacts, [ids.filter(isTaskId)])
    return rows.map(({ key }) => key)
  }

  async redrive(id: string, newId: string): Promise<Task | undefined> {
    if (!isTaskId(id)) return undefined
    const [made] = await this.#run<TaskRow>('redrive', this.#sql.redriveTask, [id, newId])
    if (made !== undefined) return toTask(made)
    const [before] = await this.#run<AskedRow>('redrive', this.#sql.findRedriven, [id, newId])
    return before && toAskedTask(before)
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#pool.end())
  }

  async #create(batch: readonly NewTask[]): Promise<({ task: Task; created: boolean } | Error)[]> {
    const outcomes: ({ task: Task; created: boolean } | undefined)[] = batch.map(() => undefined)
    for (let attempt = 0; attempt < CREATE_TRIES; attempt++) {
      const left = [...batch.entries()].filter(([index]) => outcomes[index] === undefined)
      const tasks = left.map(([, task]) => task)
      const rows = await this.#run<InsertedRow>('create', this.#sql.insertTasks, insertedColumns(tasks))
      const made = new Map(rows.map((row) => [row.id, row]))
      const others: [number, NewTask][] = []
      for (const [index, task] of left) {
        const row = made.get(task.id)
        made.delete(task.id) // the same id again in this batch is a repetition
        if (row === undefined) others.push([index, task])
        else outcomes[index] = { task: toInserted(task, row), created: true }
      }
      if (others.length === 0) break
      const found = await this.#run<TaskRow & { ord: number }>('create', this.#sql.findCreated, [
        others.map(([, { id }]) => id),
        others.map(([, { owner }]) => owner),
        others.map(([, { tool }]) => tool),
        others.map(([, { idempotencyKey }]) => hashOrNull(idempotencyKey)),
      ])
      for (const row of found) outcomes[others[row.ord - 1]![0]] = { task: toTask(row), created: false }
      if (outcomes.every((outcome) => outcome !== undefined)) break
    }
    return outcomes.map(
      (outcome, index) =>
        outcome ??
        new HoldfastError('backend_failed', `A task with the id ${batch[index]!.id} exists, and is another owner's.`),
    )
  }

  async #finish(batch: readonly TaskEnd[]): Promise<('done' | 'lost')[]> {
    // Of two ends by one fence the first counts, as it would if they had not met.
    const first = new Map<string, number>()
    for (const [index, { id, fence }] of batch.entries())
      if (!first.has(`${id} ${fence}`)) first.set(`${id} ${fence}`, index)
    const ends = [...first.values()].map((index) => batch[index]!)
    const rows = await this.#run<{ id: string; fence: number }>('finish', this.#sql.finishTasks, endedColumns(ends))
    const done = new Set(rows.map(({ id, fence }) => first.get(`${id} ${fence}`)))
    return batch.map((_, index) => (done.has(index) ? 'done' : 'lost'))
  }

  #refuseClosed(): void {
    if (this.#closing !== undefined) throw new HoldfastError('closed', 'The task store was used after close().')
  }

  async #run<Row extends QueryResultRow>(
    operation: string,
    query: Statement | { text: string },
    values: readonly unknown[],
  ): Promise<Row[]> {
    this.#refuseClosed()
    try {
      return await this.#reach.use(async () => {
        const client = await this.#pool.connect()
        try {
          const { rows } = await client.query<Row>({ ...query, values: [...values] })
          client.release()
          return rows
        } catch (error) {
          client.release(!isUsableAfter(error))
          throw error
        }
      })
    } catch (error) {
      throw toBackendError(operation, error)
    }
  }
}

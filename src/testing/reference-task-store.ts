import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import type {
  ClaimedTask,
  ClaimRequest,
  FoundTask,
  JournalEntry,
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
  TaskStore,
} from '../ports/task-store.ts'
import * as transitions from '../tasks/transitions.ts'
import type { Row } from '../tasks/transitions.ts'

interface Stored {
  readonly given: NewTask
  row: Row
  createdMs: number
  updatedMs: number
  orderAtMs: number
  /** Artifacts that its records name. */
  readonly artifacts: string[]
}

/** Between two places in a queue, for each task that an owner has ready or leased in it already. */
const QUANTUM_MS = 10
const MOST_BEHIND_MS = 10_000

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
const bytes = (value: string | undefined): Uint8Array | undefined =>
  value === undefined ? undefined : Buffer.from(value, 'latin1')

/**
 * A task store in memory, on the pure functions that say what a task store does. Contract suites compare others with it, and
 * tests of what stands on a task store use it with a clock of their own. Nothing outlives the process.
 */
export class ReferenceTaskStore implements TaskStore, TaskAdmin {
  readonly #clock: Clock
  readonly #tasks = new Map<string, Stored>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async create(given: NewTask): Promise<{ task: Task; created: boolean }> {
    const { id, owner, tool, idempotencyKey } = given
    for (const other of this.#tasks.values()) {
      const isSame =
        idempotencyKey !== undefined &&
        other.given.idempotencyKey === idempotencyKey &&
        other.given.owner === owner &&
        other.given.tool === tool
      if (isSame || (other.given.id === id && other.given.owner === owner))
        return { task: toTask(other), created: false }
    }
    if (this.#tasks.has(id))
      throw new HoldfastError('backend_failed', `A task with the id ${id} exists, and is another owner's.`)
    const nowMs = this.#clock.now()
    const { maxAttempts, maxCrashes, failsWhenLost, isAttended = false, retentionMs, ttlMs, delayMs = 0 } = given
    const settings = { maxAttempts, maxCrashes, failsWhenLost, isAttended, retentionMs, ttlMs, delayMs }
    const stored: Stored = {
      given,
      row: transitions.create(settings, nowMs),
      createdMs: nowMs,
      updatedMs: nowMs,
      orderAtMs: delayMs + this.#placeOf(given),
      artifacts: [],
    }
    this.#tasks.set(id, stored)
    return { task: toTask(stored), created: true }
  }

  async get(id: string, owner: string): Promise<Task | undefined> {
    const stored = this.#tasks.get(id)
    return stored?.given.owner === owner ? toTask(stored) : undefined
  }

  async versions(ids: readonly string[]): Promise<(number | undefined)[]> {
    return ids.map((id) => this.#tasks.get(id)?.row.version)
  }

  async claim(request: ClaimRequest): Promise<readonly ClaimedTask[]> {
    const { worker, token, queue, tools, handlerRevisions, limit, leaseMs } = request
    const repeated = [...this.#tasks.values()].filter(({ row }) => row.state === 'leased' && row.token === token)
    if (repeated.length > 0) return repeated.map(toClaimed)
    const nowMs = this.#clock.now()
    return [...this.#tasks.values()]
      .filter(
        ({ given, row }) =>
          row.state === 'ready' &&
          given.queue === queue &&
          tools.includes(given.tool) &&
          (given.handlerRevision === undefined || handlerRevisions.includes(given.handlerRevision)),
      )
      .sort((a, b) => a.orderAtMs - b.orderAtMs)
      .flatMap((stored) => {
        const { row, outcome } = transitions.claim(stored.row, worker, token, leaseMs, nowMs)
        if (!outcome) return []
        return [{ stored, row }]
      })
      .slice(0, limit)
      .map(({ stored, row }) => {
        this.#put(stored, row)
        return toClaimed(stored)
      })
  }

  async heartbeat(
    _worker: string,
    leases: readonly { id: string; fence: number; statusMessage?: string | undefined }[],
    leaseMs: number,
  ): Promise<readonly { id: string; fence: number; cancel: boolean }[]> {
    return leases.flatMap(({ id, fence, statusMessage }) => {
      const outcome = this.#apply(id, (row, nowMs) => transitions.heartbeat(row, fence, statusMessage, leaseMs, nowMs))
      return outcome === undefined || outcome === 'lost' ? [] : [{ id, fence, cancel: outcome.cancel }]
    })
  }

  async recordStep(step: StepRecord): Promise<'recorded' | 'exists' | 'lost'> {
    const { id, fence, name, value, leaseMs, artifacts = [] } = step
    const recorded =
      this.#apply(id, (row, nowMs) => transitions.recordStep(row, fence, name, text(value), leaseMs, nowMs)) ?? 'lost'
    if (recorded === 'recorded') this.#tasks.get(id)!.artifacts.push(...artifacts)
    return recorded
  }

  async park(id: string, fence: number, until: ParkUntil): Promise<'parked' | 'cancelled' | 'lost'> {
    const how =
      'asks' in until
        ? { ...until, asks: until.asks.map(({ name, request }) => ({ name, request: text(request) })) }
        : until
    const outcome = this.#apply(id, (row, nowMs) => transitions.park(row, fence, how, nowMs)) ?? 'lost'
    if (outcome === 'parked' && 'asks' in until)
      this.#tasks.get(id)!.artifacts.push(...until.asks.flatMap(({ artifacts = [] }) => artifacts))
    return outcome
  }

  async answer(
    id: string,
    owner: string,
    answers: readonly { name: string; value: Uint8Array }[],
  ): Promise<{ open: number; state: Task['state']; queue: string } | undefined> {
    const stored = this.#tasks.get(id)
    if (stored?.given.owner !== owner) return undefined
    const given = answers.map(({ name, value }) => ({ name, value: text(value) }))
    const { open } = this.#apply(id, (row, nowMs) => transitions.answer(row, given, nowMs))!
    return { open, state: stored.row.state, queue: stored.given.queue }
  }

  async finish(ends: readonly TaskEnd[]): Promise<readonly ('done' | 'lost')[]> {
    return ends.map(({ id, fence, state, result, error, dead, artifacts = [], statusMessage }) => {
      const how = {
        state,
        result: result === undefined ? undefined : text(result),
        error: error === undefined ? undefined : text(error),
        dead,
        statusMessage,
      }
      const outcome = this.#apply(id, (row, nowMs) => transitions.finish(row, fence, how, nowMs)) ?? 'lost'
      if (outcome === 'done') this.#tasks.get(id)!.artifacts.push(...artifacts)
      return outcome
    })
  }

  async retry(
    id: string,
    fence: number,
    runAfterMs: number,
    statusMessage?: string,
  ): Promise<'parked' | 'cancelled' | 'lost'> {
    return this.#apply(id, (row, nowMs) => transitions.retry(row, fence, runAfterMs, statusMessage, nowMs)) ?? 'lost'
  }

  async release(leases: readonly { id: string; fence: number }[]): Promise<readonly string[]> {
    return leases.flatMap(({ id, fence }) =>
      this.#apply(id, (row, nowMs) => transitions.release(row, fence, nowMs)) === true ? [id] : [],
    )
  }

  async cancel(id: string, owner: string): Promise<'cancelled' | 'signalled' | 'ended' | undefined> {
    if (this.#tasks.get(id)?.given.owner !== owner) return undefined
    return this.#apply(id, transitions.cancel)
  }

  async attend(ids: readonly string[], ttlMs: number): Promise<void> {
    for (const id of ids) this.#apply(id, (row, nowMs) => transitions.attend(row, ttlMs, nowMs))
  }

  async isOver(queue: string, bound: number): Promise<boolean> {
    return (
      [...this.#tasks.values()].filter(({ given, row }) => given.queue === queue && row.state === 'ready').length >
      bound
    )
  }

  async sweep(options: SweepOptions): Promise<SweepReport> {
    const settings = {
      crashBackoffMs: options.crashBackoffMs,
      expiredError: text(options.expiredError),
      lostError: text(options.lostError),
      expiredAnswer: text(options.expiredAnswer),
      sparesLeases: options.sparesLeases === true,
    }
    const counts = { woken: 0, expired: 0, lost: 0, purged: 0 }
    const changed: { id: string; version: number }[] = []
    const rings = new Map<string, string[]>()
    const ring = ({ given }: Stored): void => void rings.set(given.queue, [...(rings.get(given.queue) ?? []), given.id])
    for (const [id, stored] of this.#tasks) {
      const { version } = stored.row
      const outcome = this.#apply(id, (row, nowMs) => transitions.sweep(row, settings, nowMs))
      if (outcome !== undefined) counts[outcome]++
      if (outcome === 'purged') this.#tasks.delete(id)
      else if (stored.row.version !== version) changed.push({ id, version: stored.row.version })
      const isOverdue = stored.row.state === 'ready' && this.#clock.now() - stored.row.runAtMs >= options.overdueMs
      if (outcome === 'woken' || isOverdue) ring(stored)
    }
    return { ...counts, changed, rings: [...rings].map(([queue, ids]) => ({ queue, ids })) }
  }

  async migrate(): Promise<{ from: number; to: number; pending: readonly string[] }> {
    return { from: 0, to: 0, pending: [] }
  }

  async list(filter: TaskFilter): Promise<{ tasks: readonly Task[]; cursor: string | undefined }> {
    const { state, tool, queue, owner, dead, limit, cursor } = filter
    const after = Number(cursor ?? 0)
    const all = [...this.#tasks.values()]
      .filter(
        ({ given, row }) =>
          (state === undefined || row.state === state) &&
          (tool === undefined || given.tool === tool) &&
          (queue === undefined || given.queue === queue) &&
          (owner === undefined || given.owner === owner) &&
          (dead === undefined || (row.dead !== undefined) === dead),
      )
      .reverse()
    const tasks = all.slice(after, after + limit).map(toTask)
    return { tasks, cursor: after + limit < all.length ? String(after + limit) : undefined }
  }

  async find(id: string): Promise<FoundTask | undefined> {
    const stored = this.#tasks.get(id)
    return stored && { ...toTask(stored), journal: toJournal(stored.row) }
  }

  async backlog(queues: readonly string[]): Promise<readonly QueueBacklog[]> {
    const nowMs = this.#clock.now()
    return queues.map((queue) => {
      const rows = [...this.#tasks.values()].filter(({ given }) => given.queue === queue).map(({ row }) => row)
      const count = (state: string): number => rows.filter((row) => row.state === state).length
      const ready = rows.filter(({ state }) => state === 'ready').map(({ runAtMs }) => nowMs - runAtMs)
      return {
        queue,
        ready: ready.length,
        leased: count('leased'),
        parked: count('parked'),
        oldestReadyMs: Math.max(0, ...ready),
      }
    })
  }

  async namedArtifacts(ids: readonly string[]): Promise<readonly string[]> {
    return ids.flatMap((id) => this.#tasks.get(id)?.artifacts ?? [])
  }

  async redrive(id: string, newId: string): Promise<Task | undefined> {
    const stored = this.#tasks.get(id)
    if (stored?.row.dead === undefined) return undefined
    const { idempotencyKey: _key, delayMs: _delay, isAttended = false, ...given } = stored.given
    const ttlMs = isAttended ? undefined : given.ttlMs
    return (await this.create({ ...given, ttlMs, id: newId, redriveOf: id })).task
  }

  async close(): Promise<void> {
    this.#tasks.clear()
  }

  /** Now, and later the more tasks its owner has ready or leased in the queue: owners take turns. */
  #placeOf({ owner, queue, weight = 1 }: NewTask): number {
    const busy = [...this.#tasks.values()].filter(
      ({ given, row }) =>
        given.owner === owner && given.queue === queue && (row.state === 'ready' || row.state === 'leased'),
    ).length
    return this.#clock.now() + Math.min(MOST_BEHIND_MS, (busy * QUANTUM_MS) / weight)
  }

  #apply<Outcome>(id: string, operation: (row: Row, nowMs: number) => transitions.Step<Outcome>): Outcome | undefined {
    const stored = this.#tasks.get(id)
    if (stored === undefined) return undefined
    const { row, outcome } = operation(stored.row, this.#clock.now())
    this.#put(stored, row)
    return outcome
  }
  #put(stored: Stored, row: Row): void {
    if (stored.row.state === 'parked' && row.state === 'ready') stored.orderAtMs = this.#placeOf(stored.given)
    if (row.version !== stored.row.version) stored.updatedMs = this.#clock.now()
    stored.row = row
  }
}

function toTask({ given, row, createdMs, updatedMs }: Stored): Task {
  return {
    id: given.id,
    owner: given.owner,
    tool: given.tool,
    queue: given.queue,
    state: row.state,
    version: row.version,
    statusMessage: row.statusMessage,
    fence: row.fence,
    doneFence: row.doneFence,
    attempts: row.attempts,
    crashes: row.crashes,
    createdMs,
    updatedMs,
    expiresMs: row.expiresMs,
    argsDigest: given.argsDigest,
    asks: row.journal.flatMap(({ kind, name, request, value }) =>
      kind === 'ask' && value === undefined ? [{ name, request: bytes(request)! }] : [],
    ),
    result: bytes(row.result),
    error: bytes(row.error),
    dead: row.dead,
    caller: given.caller,
  }
}

function toClaimed(stored: Stored): ClaimedTask {
  const { given, row } = stored
  return {
    ...toTask(stored),
    args: given.args,
    cancel: row.cancelAtMs !== undefined,
    maxAttempts: given.maxAttempts,
    leaseUntilMs: row.leaseUntilMs,
    journal: toJournal(row),
  }
}

const toJournal = ({ journal }: Row): JournalEntry[] =>
  journal.map(({ name, kind, request, value }) => ({ name, kind, request: bytes(request), value: bytes(value) }))

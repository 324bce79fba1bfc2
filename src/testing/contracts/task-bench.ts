import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type {
  ClaimedTask,
  ClaimRequest,
  NewTask,
  SweepOptions,
  SweepReport,
  TaskAdmin,
  TaskEnd,
  TaskStore,
} from '../../ports/task-store.ts'

/** A task store under test, empty or shared, and how to let its time pass. */
export interface TaskStoreFixture {
  store: TaskStore & TaskAdmin
  /** Lets at least `ms` pass for the store: by moving an injected clock, or by waiting. */
  pass(ms: number): Promise<void>
}

export const bytes = (text: string): Uint8Array => Buffer.from(text)
export const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString()

/** Long enough not to run out by itself, where a test does not want it to. */
export const LEASE_MS = 60_000
/** What a test lets run out; a real server's clock has to be waited for. */
export const SHORT_MS = 150
export const SWEEP: SweepOptions = {
  limit: 1000,
  expiredError: bytes('{"code":-32603,"message":"expired"}'),
  lostError: bytes('{"code":-32603,"message":"lost"}'),
  expiredAnswer: bytes('null'),
  crashBackoffMs: SHORT_MS,
  overdueMs: 3_600_000,
}

/** What a test of a task store works with: a queue and an owner of its own, and short ways to do what most tests do. */
export class TaskBench {
  readonly store: TaskStore & TaskAdmin
  readonly pass: (ms: number) => Promise<void>
  readonly queue = `queue-${randomUUID()}`
  readonly owner = `owner-${randomUUID()}`

  constructor({ store, pass }: TaskStoreFixture) {
    this.store = store
    this.pass = pass
  }

  readonly newTask = (more: Partial<NewTask> = {}): NewTask => ({
    id: randomUUID(),
    owner: this.owner,
    tool: 'work',
    queue: this.queue,
    maxAttempts: 3,
    maxCrashes: 2,
    failsWhenLost: false,
    ttlMs: undefined,
    retentionMs: 3_600_000,
    argsDigest: bytes('digest'),
    args: bytes('{"a":1}'),
    caller: bytes('sealed'),
    ...more,
  })
  readonly add = async (more?: Partial<NewTask>): Promise<string> =>
    (await this.store.create(this.newTask(more))).task.id

  readonly claim = (more: Partial<ClaimRequest> = {}): Promise<readonly ClaimedTask[]> =>
    this.store.claim({
      worker: 'worker-1',
      token: randomUUID(),
      queue: this.queue,
      tools: ['work'],
      handlerRevisions: [],
      limit: 10,
      leaseMs: LEASE_MS,
      ...more,
    })
  readonly claimOne = async (more: Partial<ClaimRequest> = {}): Promise<ClaimedTask> => {
    const [task] = await this.claim({ limit: 1, ...more })
    assert.ok(task, 'a task was ready, and could not be claimed')
    return task
  }

  readonly end = async (how: TaskEnd): Promise<'done' | 'lost'> => (await this.store.finish([how]))[0]!
  readonly finish = ({ id, fence }: { id: string; fence: number }, result = '"done"'): Promise<'done' | 'lost'> =>
    this.end({ id, fence, state: 'completed', result: bytes(result) })
  readonly stateOf = async (id: string): Promise<string | undefined> => (await this.store.get(id, this.owner))?.state
  /** A shared store may hold others' tasks, so numbers of a sweep say little; the tasks themselves say it. */
  readonly sweep = (more: Partial<SweepOptions> = {}): Promise<SweepReport> => this.store.sweep({ ...SWEEP, ...more })
}

/**
 * Where durable tasks live. The store decides everything about a task: who holds it, what is on record, how it ended. Brokers
 * and buses only tell that there is something to look at.
 *
 * Rules for every implementation:
 * - Each method is one atomic statement; no transaction spans a round trip. Reads are strongly consistent.
 * - The store's clock decides what is due and what has expired. Times go in as durations and come out as epoch milliseconds.
 * - Every write of a worker carries the fence of its claim, and is refused once another claim, a cancel or the end has passed it.
 * - Expected outcomes are return values; an error means that the outcome is unknown, and every method may then be called again.
 */
export interface TaskStore {
  /**
   * Stores a task in state `ready` (or `parked` until `delayMs` has passed). With an idempotency key that its owner has used
   * for this tool, the task of that key is returned and `created` is false: compare `argsDigest`. The same for an id that the
   * owner has used.
   * @throws {HoldfastError} `backend_failed` where another owner's task has the id.
   */
  create(task: NewTask): Promise<{ task: Task; created: boolean }>
  /** A task of this owner; `undefined` where there is none, or it is another's. */
  get(id: string, owner: string): Promise<Task | undefined>
  /** Present versions of tasks, `undefined` where purged: for who waits for many, in case the bus has lost a word. */
  versions(ids: readonly string[]): Promise<(number | undefined)[]>

  /** Takes ready tasks of one queue, best `order_at` first. Each gets the next fence and a lease. The same token gives the same tasks. */
  claim(request: ClaimRequest): Promise<readonly ClaimedTask[]>
  /** Renews leases. What is absent from the answer is lost. A lease that has run out but was not taken over is renewed. */
  heartbeat(
    worker: string,
    leases: readonly { id: string; fence: number; statusMessage?: string | undefined }[],
    leaseMs: number,
  ): Promise<readonly { id: string; fence: number; cancel: boolean }[]>
  /** Puts the result of a step on record, once, and renews the lease. `exists`: the name is on record already. */
  recordStep(step: StepRecord): Promise<'recorded' | 'exists' | 'lost'>
  /**
   * Gives the task up until its questions are answered, or a time has come; its lease ends with this write, which also keeps the
   * status message, where one is given.
   * `cancelled`: a cancel was asked for, and the task is still the caller's.
   * @throws {HoldfastError} `invalid_ask` where a question has a name that is on record already, or comes twice: nothing has
   * changed, and trying again does not help.
   */
  park(id: string, fence: number, until: ParkUntil): Promise<'parked' | 'cancelled' | 'lost'>
  /** Answers open questions of a parked task; the last one makes it ready. Unknown and answered names are passed over. */
  answer(
    id: string,
    owner: string,
    answers: readonly { name: string; value: Uint8Array }[],
  ): Promise<{ open: number; state: TaskState; queue: string } | undefined>
  /** Ends tasks. After an error: read the task, and compare `doneFence`. */
  finish(ends: readonly TaskEnd[]): Promise<readonly ('done' | 'lost')[]>
  /** Gives a task back after an error of its handler, to run again after a while; counts as an attempt. Where a cancel was asked for it ends. */
  retry(id: string, fence: number, runAfterMs: number, statusMessage?: string): Promise<'parked' | 'cancelled' | 'lost'>
  /** Gives tasks back untouched, for a worker that stops; counts as nothing. Those to be cancelled end. Returns those that were the caller's. */
  release(leases: readonly { id: string; fence: number }[]): Promise<readonly string[]>
  /**
   * Cancels. `cancelled`: at once, since nobody held it; `signalled`: its worker is to stop, and ends it; `ended`: too late;
   * `undefined`: there is no such task of this owner.
   */
  cancel(id: string, owner: string): Promise<'cancelled' | 'signalled' | 'ended' | undefined>
  /** Keeps attended tasks alive for another while, those among them that are open; see {@link NewTask.isAttended}. */
  attend(ids: readonly string[], ttlMs: number): Promise<void>
  /**
   * Whether more than `bound` tasks of a queue are ready, and wait for a worker: for admission. Looks at `bound` + 1 of them at
   * most, whatever waits behind; keep the answer for a moment rather than ask for each task.
   */
  isOver(queue: string, bound: number): Promise<boolean>
  /** Does what time has made due, at most `limit` of each kind. Safe to run anywhere, and at once. */
  sweep(options: SweepOptions): Promise<SweepReport>
  close(): Promise<void>
}

/** `ready`: due, waits for a worker. `leased`: a worker has it. `parked`: waits for answers, or for a time. The rest are final. */
export type TaskState = 'ready' | 'leased' | 'parked' | 'completed' | 'failed' | 'cancelled'

/** What {@link TaskStore.create} stores. */
export interface NewTask {
  /** UUID with at least 122 random bits: for anonymous callers a bearer secret. */
  readonly id: string
  /** Hash of issuer, subject and tenant. */
  readonly owner: string
  readonly tool: string
  readonly queue: string
  /** Runs no sooner. Default 0. */
  readonly delayMs?: number
  /** Place in the queue: the later, the more open tasks the owner has; so owners take turns. 1 is usual, 2 twice as important. */
  readonly weight?: number
  readonly maxAttempts: number
  readonly maxCrashes: number
  /** A lost worker ends the task, for what must not run twice. */
  readonly failsWhenLost: boolean
  /** Fails when it has not ended by then; `undefined`: never. */
  readonly ttlMs: number | undefined
  /**
   * Somebody waits for it, and says so ({@link TaskStore.attend}) more often than every `ttlMs`. When nobody has, its time is up,
   * and it ends as cancelled: whoever waited is gone. Default: false.
   */
  readonly isAttended?: boolean
  /** After its end it is kept for so long. */
  readonly retentionMs: number
  readonly idempotencyKey?: string
  /** Of what makes two creations the same. */
  readonly argsDigest: Uint8Array
  /** Only workers that know this revision of the handler may take it. */
  readonly handlerRevision?: string
  /** The dead letter that this is another try of. */
  readonly redriveOf?: string
  readonly args: Uint8Array
  /** The principal and the client, sealed. */
  readonly caller: Uint8Array
}

/** A task as its owner may see it. */
export interface Task {
  readonly id: string
  readonly owner: string
  readonly tool: string
  readonly queue: string
  readonly state: TaskState
  /** Rises with every change that its owner can see. */
  readonly version: number
  readonly statusMessage: string | undefined
  readonly fence: number
  /** The fence of who ended it. */
  readonly doneFence: number | undefined
  readonly attempts: number
  readonly crashes: number
  readonly createdMs: number
  readonly updatedMs: number
  readonly expiresMs: number | undefined
  readonly argsDigest: Uint8Array
  /** Questions without an answer, in the order asked. */
  readonly asks: readonly { readonly name: string; readonly request: Uint8Array }[]
  /** With `completed`. */
  readonly result: Uint8Array | undefined
  /** With `failed`: a JSON-RPC error. */
  readonly error: Uint8Array | undefined
  /** Why nobody could end it well; such tasks can be redriven. */
  readonly dead: DeadReason | undefined
  readonly caller: Uint8Array
}

/** Why a task is a dead letter. */
export type DeadReason = 'attempts' | 'crashes' | 'expired' | 'lost' | 'error'

/** What a worker asks for. */
export interface ClaimRequest {
  readonly worker: string
  /** A UUID for this claim: asked again after a lost reply, it gives the same tasks. */
  readonly token: string
  readonly queue: string
  readonly tools: readonly string[]
  /** Revisions of handlers that this worker knows; tasks without one are for all. */
  readonly handlerRevisions: readonly string[]
  /** Where a doorbell named them: a hint, for stores without a cheap order. */
  readonly ids?: readonly string[]
  readonly limit: number
  readonly leaseMs: number
}

/** A task in the hands of a worker. */
export interface ClaimedTask extends Task {
  readonly args: Uint8Array
  readonly cancel: boolean
  readonly maxAttempts: number
  readonly leaseUntilMs: number
  readonly journal: readonly JournalEntry[]
}

/** What is on record of a task: a step's value, or a question and its answer. */
export interface JournalEntry {
  readonly name: string
  readonly kind: 'step' | 'ask'
  /** The question; with `ask`. */
  readonly request: Uint8Array | undefined
  /** The step's value, or the answer; `undefined` while there is none. */
  readonly value: Uint8Array | undefined
}

/** See {@link TaskStore.recordStep}. */
export interface StepRecord {
  readonly id: string
  readonly fence: number
  readonly name: string
  readonly value: Uint8Array
  readonly leaseMs: number
  /** Artifacts that the value names: they live as long as it. */
  readonly artifacts?: readonly string[]
}

/** See {@link TaskStore.park}. */
export type ParkUntil = {
  /** What its owner is told meanwhile; `undefined`: as before. */
  readonly statusMessage?: string | undefined
} & (
  | {
      readonly asks: readonly TaskAsk[]
      /** Then what is still open is answered by {@link SweepOptions.expiredAnswer}. `undefined`: never. */
      readonly expireAfterMs?: number | undefined
    }
  | { readonly wakeAfterMs: number }
)

/** A question that a task waits for. */
export interface TaskAsk {
  readonly name: string
  readonly request: Uint8Array
  /** Artifacts that it names: they live as long as it is on record. */
  readonly artifacts?: readonly string[]
}

/** See {@link TaskStore.finish}. */
export interface TaskEnd {
  readonly id: string
  readonly fence: number
  readonly state: 'completed' | 'failed' | 'cancelled'
  readonly result?: Uint8Array
  readonly error?: Uint8Array
  readonly dead?: DeadReason
  readonly artifacts?: readonly string[]
  /** What its owner was told last; `undefined`: as before. */
  readonly statusMessage?: string | undefined
}

/** See {@link TaskStore.sweep}. */
export interface SweepOptions {
  readonly limit: number
  /** Ends that the store writes itself: the JSON-RPC error of a task that has expired, or whose workers were lost. */
  readonly expiredError: Uint8Array
  readonly lostError: Uint8Array
  /** The answer to questions that nobody has answered in time. */
  readonly expiredAnswer: Uint8Array
  /** Wait after the first crash; twice as long after each further one, an hour at most. */
  readonly crashBackoffMs: number
  /** Ready tasks that are older than this are rung for again. */
  readonly overdueMs: number
  /**
   * Leaves leases alone that have run out, and attended tasks that are over: their owners could not renew them, and are given
   * time to.
   */
  readonly sparesLeases?: boolean
}

/** What a sweep has done. */
export interface SweepReport {
  /** Parked tasks whose time has come, or whose questions have expired. */
  readonly woken: number
  /** Tasks without a result in time, or that nobody attends any more. */
  readonly expired: number
  /** Leases taken from workers that were lost. */
  readonly lost: number
  readonly purged: number
  /** Ready tasks to ring for, by queue. */
  readonly rings: readonly { readonly queue: string; readonly ids: readonly string[] }[]
  /** Tasks that a client may be waiting for, and have changed. */
  readonly changed: readonly { readonly id: string; readonly version: number }[]
}

/** What operators do; stores have it beside {@link TaskStore}. */
export interface TaskAdmin {
  /** Brings the schema to this version; safe to run from two processes at once. `check: true` changes nothing. */
  migrate(options?: { check?: boolean }): Promise<{ from: number; to: number; pending: readonly string[] }>
  /** Tasks, the newest first. */
  list(filter: TaskFilter): Promise<{ tasks: readonly Task[]; cursor: string | undefined }>
  /** A task of whatever owner, with what is on record of it; `undefined` where there is none. */
  find(id: string): Promise<FoundTask | undefined>
  /** Of each queue: how many are ready, leased and parked, and how long the oldest ready one waits. */
  backlog(queues: readonly string[]): Promise<readonly QueueBacklog[]>
  /** Artifacts that the records of these tasks name: steps, questions and results; one that several name may stand there as often. A task that is gone names none. */
  namedArtifacts(ids: readonly string[]): Promise<readonly string[]>
  /** A new task from a dead letter; `undefined` where it is none. */
  redrive(id: string, newId: string): Promise<Task | undefined>
}

/** See {@link TaskAdmin.find}. */
export interface FoundTask extends Task {
  readonly journal: readonly JournalEntry[]
}

/** See {@link TaskAdmin.list}. */
export interface TaskFilter {
  readonly state?: TaskState
  readonly tool?: string
  readonly queue?: string
  readonly owner?: string
  readonly dead?: boolean
  readonly limit: number
  readonly cursor?: string
}

/** See {@link TaskAdmin.backlog}. */
export interface QueueBacklog {
  readonly queue: string
  readonly ready: number
  readonly leased: number
  readonly parked: number
  readonly oldestReadyMs: number
}

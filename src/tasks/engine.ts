import type { Principal } from '../define/context.ts'
import type { ToolDefinition } from '../define/tool.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { canonical, sha256 } from '../kernel/digest.ts'
import type { KeyRing } from '../kernel/key-ring.ts'
import { ownerOf } from '../kernel/owner.ts'
import { readAnswer } from '../kernel/question.ts'
import { takeRandom } from '../kernel/random.ts'
import { NoAnswer } from '../kernel/replay-host.ts'
import {
  ClientRefusal,
  type TaskEngine,
  type TaskStart,
  type TaskView,
  type TaskWatcher,
} from '../kernel/task-engine.ts'
import type { Clock } from '../ports/clock.ts'
import type { EventBus } from '../ports/event-bus.ts'
import type { TaskQueue } from '../ports/task-queue.ts'
import type { Task, TaskStore } from '../ports/task-store.ts'
import { Attendance } from './attendance.ts'
import { Backlog } from './backlog.ts'
import { sealCaller } from './caller.ts'
import { fromError, fromQuestion, fromResult, toAnswer, toArguments } from './payload.ts'
import { Ringer } from './ringer.ts'
import { TaskAnnouncer } from './task-events.ts'
import { TaskWatch } from './watch.ts'

/** What the engine works with. */
export interface TaskEngineParts {
  readonly store: TaskStore
  readonly queue: Pick<TaskQueue, 'ring'>
  readonly bus: EventBus
  readonly clock: Clock
  readonly keys: KeyRing
  readonly tools: ReadonlyMap<string, ToolDefinition>
  /** Tasks of a queue that may wait for a worker; more are refused. */
  readonly maxBacklog: number
  readonly onError: (message: string, error: unknown) => void
}

/** Tasks in a {@link TaskStore}, rung for by a {@link TaskQueue}. */
export class StoredTaskEngine implements TaskEngine {
  readonly #parts: TaskEngineParts
  readonly #watch: TaskWatch
  readonly #announcer: TaskAnnouncer
  readonly #attendance: Attendance
  readonly #backlog: Backlog
  readonly #ringer: Ringer

  constructor(parts: TaskEngineParts) {
    const { store, bus, clock, onError } = parts
    this.#parts = parts
    this.#watch = new TaskWatch(store, bus, clock, (error) => onError('News of tasks may come late.', error))
    this.#announcer = new TaskAnnouncer(bus, (error) => onError('An event of a task was lost.', error))
    this.#attendance = new Attendance(store, clock, (error) =>
      onError('Tasks that calls wait for could not be kept alive yet.', error),
    )
    this.#ringer = new Ringer(parts.queue, (error) =>
      onError('Workers could not be told of tasks; they will find them.', error),
    )
    this.#backlog = new Backlog(store, clock, parts.maxBacklog)
  }

  async start(start: TaskStart): Promise<TaskView> {
    const { store, keys } = this.#parts
    const { tool, caller, isAttended, idempotencyKey, entries = [], delayMs } = start
    const options = tool.task!
    await this.#backlog.admit(options.queue)
    const argsDigest = Buffer.from(
      sha256([caller.revision, String(isAttended), canonical(start.arguments)]),
      'base64url',
    )
    const { task, created } = await store.create({
      id: newTaskId(),
      owner: ownerOf(caller.principal),
      tool: tool.name,
      queue: options.queue,
      weight: options.priority,
      maxAttempts: options.maxAttempts,
      maxCrashes: options.maxCrashes,
      failsWhenLost: options.onWorkerLost === 'fail',
      ttlMs: isAttended ? this.#attendance.firstMs : options.ttlMs,
      isAttended,
      retentionMs: isAttended ? Math.min(ATTENDED_RETENTION_MS, options.retentionMs) : options.retentionMs,
      argsDigest,
      args: toArguments({
        arguments: start.arguments,
        ...(entries.length === 0 ? {} : { entries }),
        ...(isAttended ? { isAttended } : {}),
      }),
      caller: sealCaller(keys, caller),
      ...(delayMs === undefined ? {} : { delayMs }),
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      ...(options.handlerRevision === undefined ? {} : { handlerRevision: options.handlerRevision }),
    })
    if (created) {
      this.#announcer.announce(task.id)
      if (delayMs === undefined || delayMs === 0) this.#ringer.ring(task.queue, task.id)
    } else if (!Buffer.from(task.argsDigest).equals(argsDigest))
      throw new HoldfastError(
        'idempotency_key_reused',
        'This idempotency key was used with other arguments (or in another way). Use a new key for a new call.',
      )
    return this.toView(task)
  }

  async get(id: string, principal: Principal): Promise<TaskView | undefined> {
    if (!isTaskId(id)) return undefined
    const task = await this.#parts.store.get(id, ownerOf(principal))
    return task === undefined ? undefined : this.toView(task)
  }

  async answer(
    id: string,
    principal: Principal,
    answers: Readonly<Record<string, unknown>>,
    isLast = false,
  ): Promise<boolean> {
    const { store } = this.#parts
    if (!isTaskId(id)) return false
    const owner = ownerOf(principal)
    const task = await store.get(id, owner)
    if (task === undefined) return false
    const fitting: { name: string; value: Uint8Array }[] = []
    for (const { name, request } of task.asks) {
      if (!Object.hasOwn(answers, name)) continue
      const given = answers[name]
      if (given instanceof ClientRefusal) {
        fitting.push({ name, value: toAnswer(new NoAnswer(given.message)) })
        continue
      }
      const question = fromQuestion(request)
      const { problem } = await readAnswer(question.kind, name, question.request, given)
      if (problem === undefined) fitting.push({ name, value: toAnswer(given) })
      else if (isLast)
        fitting.push({
          name,
          value: toAnswer(new NoAnswer(`The client's answer to ${JSON.stringify(name)} does not fit: ${problem}.`)),
        })
    }
    if (fitting.length === 0) return true
    const outcome = await store.answer(id, owner, fitting)
    if (outcome === undefined) return false
    if (outcome.state === 'ready') this.#ringer.ring(outcome.queue, id)
    this.changed(id)
    return true
  }

  async cancel(id: string, principal: Principal): Promise<boolean> {
    if (!isTaskId(id)) return false
    const outcome = await this.#parts.store.cancel(id, ownerOf(principal))
    if (outcome === undefined) return false
    if (outcome === 'signalled') this.#watch.tellCancel(id)
    else if (outcome === 'cancelled') this.changed(id)
    return true
  }

  watch(id: string, watcher: TaskWatcher): () => void {
    return this.#watch.watch(id, watcher)
  }

  attend(id: string, isNew?: boolean): (keepMs?: number) => void {
    return this.#attendance.attend(id, isNew)
  }

  /** Says on every node that a task has changed. */
  changed(id: string): void {
    this.#watch.tell(id)
    this.#announcer.announce(id)
  }

  /** Tells who waits for a task how far it is. */
  progressed(id: string, done: number, total: number | undefined, message: string | undefined): void {
    this.#watch.tellProgress(id, done, total, message)
  }

  async close(): Promise<void> {
    await this.#attendance.close()
    await this.#watch.close()
    await this.#announcer.close()
  }

  /** A task as its owner may see it. */
  toView(task: Task): TaskView {
    const { state, asks, result, error, tool, createdMs, updatedMs, statusMessage, version, id } = task
    const isAsking = state === 'parked' && asks.length > 0
    const isOpen = state === 'ready' || state === 'leased' || state === 'parked'
    const retentionMs = this.#parts.tools.get(tool)?.task?.retentionMs ?? ATTENDED_RETENTION_MS
    // It is kept for so long after its end. As long as that is to come, the promise moves on with time: a client that asks now and
    // then is never told that a task which still runs is not worth asking for.
    const untilMs = isOpen ? Math.max(createdMs, this.#parts.clock.now()) : updatedMs
    return {
      id,
      tool,
      status: isAsking ? 'input_required' : isOpen ? 'working' : state,
      statusMessage,
      createdMs,
      updatedMs,
      ttlMs: untilMs - createdMs + retentionMs,
      version,
      requests: new Map(isAsking ? asks.map(({ name, request }) => [name, fromQuestion(request).request]) : []),
      result: result === undefined ? undefined : fromResult(result),
      error: error === undefined ? undefined : fromError(error),
    }
  }
}

/** A call that waited has its result; it is kept for a repeat of the call, and for who looks into what happened. */
const ATTENDED_RETENTION_MS = 600_000

/** 128 random bits: for anonymous callers an id is a bearer secret. */
function newTaskId(): string {
  const hex = takeRandom(16).toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

const isTaskId = (id: string): boolean => /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(id)

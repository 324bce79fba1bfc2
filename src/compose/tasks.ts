import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isSqliteUrl } from '../backends/sqlite/url.ts'
import type { Principal } from '../define/context.ts'
import type { ServerDefinition } from '../define/server.ts'
import { resolveTrigger } from '../define/trigger.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { createTask, startTask } from '../kernel/create-task.ts'
import { keepSubscribed } from '../kernel/keep-subscribed.ts'
import { TASK_CANCEL_CHANNEL } from '../kernel/keys.ts'
import type { Services } from '../kernel/services.ts'
import type { TaskWatcher } from '../kernel/task-engine.ts'
import type { Unsubscribe } from '../ports/event-bus.ts'
import type { TaskQueue } from '../ports/task-queue.ts'
import type { TaskAdmin, TaskStore } from '../ports/task-store.ts'
import { StoredTaskEngine } from '../tasks/engine.ts'
import { serveState } from '../backends/ipc/primary.ts'
import { Isolates } from '../tasks/isolation/isolates.ts'
import type { IsolateSetup } from '../tasks/isolation/protocol.ts'
import type { LeaseKeeper } from '../tasks/lease-keeper.ts'
import { EXPIRED_ANSWER, toError } from '../tasks/payload.ts'
import { Sweeper } from '../tasks/sweeper.ts'
import { subscribeToTasks, type TaskEvent } from '../tasks/task-events.ts'
import { toTaskInfo, type TaskInfo } from '../tasks/task-info.ts'
import { createTaskRunner } from '../tasks/task-runner.ts'
import { Triggers } from '../tasks/triggers.ts'
import { Worker } from '../tasks/worker.ts'
import { placeOfArtifacts } from './artifacts.ts'
import { MEMORY_URL } from './backends.ts'
import { openLeaseKeeper } from './lease-keeper.ts'
import { openMessageSource } from './message-sources.ts'
import type { ResolvedOptions } from './options.ts'
import { openTaskQueue } from './task-queue.ts'
import { openTaskStore, tasksUrlOf } from './task-store.ts'

/** How a worker works. */
export interface WorkerOptions {
  /** Tasks at once. Default 10. */
  concurrency?: number
  /** Queues that it serves. Default: those of the server's tools. */
  queues?: readonly string[]
  /** A task whose worker has been silent for so long goes to another. Default 30,000. */
  leaseMs?: number
  /** A worker whose event loop has stood still for so long is taken for dead. Default 20,000. */
  hungAfterMs?: number
  /** How often it looks for tasks that no bell rang for. Default 2,000. */
  pollMs?: number
  /**
   * The module that exports the server by default, as a path or a URL (`import.meta.url` in it): tools with `isolation` are
   * loaded from it again. `holdfast serve` and `holdfast worker` know it.
   */
  definition?: string | URL
  /**
   * Called when handlers that ignore `ctx.signal` have held half of the slots for 10 seconds, and when the worker has drained
   * because the thread that keeps its leases has died: close the runtime, and start the process anew. `holdfast serve` and
   * `holdfast worker` end with the exit code 1 after an orderly close. Default: it is logged.
   */
  onStuck?: () => void
  /** Whether it runs the server's triggers, too. Default true. */
  triggers?: boolean
}

type Undefaulted = 'queues' | 'definition' | 'onStuck'
/** {@link WorkerOptions} with every default filled in. */
type ResolvedWorkerOptions = Required<Omit<WorkerOptions, Undefaulted>> & Pick<WorkerOptions, Undefaulted>

const WORKER_DEFAULTS: ResolvedWorkerOptions = {
  concurrency: 10,
  leaseMs: 30_000,
  hungAfterMs: 20_000,
  pollMs: 2_000,
  triggers: true,
}
/** Beside this file; once built, in a folder beside that of the chunks. */
const ISOLATE_ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? './isolate.ts' : '../threads/isolate.js',
  import.meta.url,
)
/** Of the lease: three renewals fit in. */
const RENEWALS_PER_LEASE = 3
/** An idle worker asks its store less than once a second: every two seconds for tasks, every four for what is due. */
const POLLS_PER_SWEEP = 2
/** Wait before a task whose worker was lost runs again; it doubles. */
const CRASH_BACKOFF_MS = 1_000
/** A ready task that is older than this is rung for again. */
const OVERDUE_MS = 10_000
/** An aborted handler has so long to stop when a worker closes. */
const STOP_MS = 2_000

/** A task that code of the server's own starts. */
export interface CreateTaskOptions {
  /** For whom it runs, and who may ask for it. Default: the server itself. */
  principal?: Principal
  /** The same key again gives the same task. */
  idempotencyKey?: string
  /** Runs no sooner. Default 0. */
  delayMs?: number
}

/** The server itself, as the owner of tasks that nobody asked for over the wire. */
const SERVER: Principal = Object.freeze({ issuer: 'local', subject: 'server', scopes: Object.freeze([]) })

/** Tasks, for code outside the tools: see {@link Runtime.tasks}. */
export interface RuntimeTasks {
  /**
   * Starts a task of a tool; resolves when it is committed.
   * @throws {HoldfastError} `invalid_params` where there is no such tool, or the arguments do not fit; `overloaded`.
   */
  create(tool: string, args: Record<string, unknown>, options?: CreateTaskOptions): Promise<TaskInfo>
  /** `undefined`: there is no such task of this principal. */
  get(id: string, principal?: Principal): Promise<TaskInfo | undefined>
  /** `false`: there is no such task of this principal. */
  cancel(id: string, principal?: Principal): Promise<boolean>
  /** Tells of changes of a task from now on, until the returned function is called. */
  watch(id: string, watcher: TaskWatcher): () => void
  /**
   * Tells of every task that changes from now on, whoever it belongs to and whichever node or worker changed it, until the
   * returned function is called. An event holds the task as it is then: states in between may be passed over, and one may be
   * told twice.
   * @param onGap called whenever events may have been missed, at the start too
   */
  subscribe(onEvent: (event: TaskEvent) => void, onGap?: () => void): Promise<Unsubscribe>
}

/** A worker that runs. */
export interface RunningWorker {
  readonly name: string
  /** Tasks that run now. */
  readonly running: number
  /** Handlers that run on, though they were told to stop. */
  readonly abandoned: number
  /** Takes no more tasks, waits for those that run until `deadlineMs`, and has the rest stop. */
  close(deadlineMs: number): Promise<void>
}

/** The tasks of a runtime. */
export interface Tasks {
  readonly engine: StoredTaskEngine
  readonly store: TaskStore & TaskAdmin
  readonly queue: TaskQueue
  /** What outside code may do. */
  readonly outside: RuntimeTasks
  startWorker(services: Services, options: WorkerOptions): Promise<RunningWorker>
  close(): Promise<void>
}

type TaskServices = Pick<Services, 'bus' | 'clock' | 'keys' | 'telemetry' | 'catalog' | 'nodeId'>

/**
 * Opens the store and the queue of a server's tasks; `undefined` where no tool runs as one.
 * @param isMultiple other nodes or workers share what this one has.
 */
export async function openTasks(
  server: ServerDefinition,
  options: ResolvedOptions,
  services: TaskServices,
  isMultiple: boolean,
): Promise<Tasks | undefined> {
  const tools = server.tools.filter(({ task }) => task !== undefined)
  if (tools.length === 0) return undefined
  const { clock, bus, keys, telemetry, catalog } = services
  const onError = (message: string, error: unknown): void => telemetry.failure(undefined, message, error)
  const url = typeof options.tasks === 'string' ? tasksUrlOf(options.tasks, options.dataDir) : undefined
  const store = url === undefined ? (options.tasks as TaskStore & TaskAdmin) : await openTaskStore(url, clock)
  const queue: TaskQueue =
    typeof options.queue === 'string'
      ? await openTaskQueue(options.queue, url, {
          onUp() {},
          onDown: (error) => onError('The task queue is away; workers look for tasks by themselves meanwhile.', error),
          onRefused: (error) => onError('A worker could not act on a bell; it rings again.', error),
        })
      : options.queue
  const engine = new StoredTaskEngine({
    store,
    queue,
    bus,
    clock,
    keys,
    tools: catalog.tools,
    maxBacklog: options.maxTaskBacklog,
    onError,
  })
  const queuesOfTools = [...new Set(tools.map(({ task }) => task!.queue))]
  await queue.ensureTopology(queuesOfTools)

  const requestId = `${services.nodeId}-task`

  return {
    engine,
    store,
    queue,
    outside: {
      create: async (tool, args, given = {}) =>
        toTaskInfo(await createTask(engine, catalog.tools, tool, args, { principal: SERVER, requestId, ...given })),
      subscribe: (onEvent, onGap = () => undefined) =>
        subscribeToTasks({ bus, store, keys, toView: (task) => engine.toView(task), onError }, onEvent, onGap),
      get: async (id, principal = SERVER) => {
        const view = await engine.get(id, principal)
        return view && toTaskInfo(view)
      },
      cancel: (id, principal = SERVER) => engine.cancel(id, principal),
      watch: (id, watcher) => engine.watch(id, watcher),
    },
    async startWorker(all, given) {
      const settings = { ...WORKER_DEFAULTS, queues: queuesOfTools, ...given }
      const { leaseMs, hungAfterMs, pollMs, concurrency, definition, onStuck } = settings
      const isolates = new Isolates({
        services: all,
        entry: ISOLATE_ENTRY,
        definition: definition === undefined ? undefined : toModuleUrl(definition),
        artifacts: reachableArtifacts(options, isMultiple),
        maxCacheBytes: options.maxCacheBytes,
        serveState: (port) => serveState(port, all.state, all.bus),
      })
      const name = `${hostname()}-${process.pid}-${services.nodeId}`
      const renewMs = leaseMs / RENEWALS_PER_LEASE
      /** Filled in below: the keeper is there first. */
      const kept: { worker?: Worker } = {}
      const drainAndTell = async (): Promise<void> => {
        await kept.worker?.drain(Infinity)
        onStuck?.()
      }
      const openKeeper = (): Promise<LeaseKeeper> =>
        openLeaseKeeper({
          url,
          store,
          worker: name,
          clock,
          times: { leaseMs, renewMs },
          hungAfterMs,
          onError: (error: unknown) => onError('The leases of tasks could not be renewed.', error),
          onDied(error: Error) {
            onError('The thread that keeps leases has died; the worker stops.', error)
            void drainAndTell()
          },
        })
      let keeper: LeaseKeeper
      try {
        await isolates.prepare(tools.filter(({ task }) => task!.isolation !== undefined))
        keeper = await openKeeper()
      } catch (error) {
        await isolates.close()
        throw error
      }
      const running = (kept.worker = new Worker({
        name,
        store,
        queue,
        keeper,
        clock,
        run: createTaskRunner(all, engine, isolates),
        onChanged: (id) => engine.changed(id),
        onDue: (afterMs) => sweeper.dueAfter(afterMs),
        onError,
        onStuck() {
          onError(
            'Handlers that ignore `ctx.signal` hold half of the slots; the process should be started anew.',
            new HoldfastError('worker_stuck', `${running.abandoned} handlers run on, though they were told to stop.`),
          )
          onStuck?.()
        },
        tools: tools.map((tool) => tool.name),
        toolConcurrency: new Map(
          tools.flatMap(({ name: tool, task }) => (task!.concurrency === undefined ? [] : [[tool, task!.concurrency]])),
        ),
        queues: settings.queues,
        handlerRevisions: tools.flatMap(({ task }) => task!.handlerRevision ?? []),
        concurrency,
        leaseMs,
        pollMs,
      }))
      const sweeper = new Sweeper({
        store,
        queue,
        clock,
        everyMs: pollMs * POLLS_PER_SWEEP,
        renewMs,
        sweep: {
          expiredError: toError({ code: -32603, message: 'The task has not ended in time.' }),
          lostError: toError({ code: -32603, message: 'The workers that had the task were lost.' }),
          expiredAnswer: EXPIRED_ANSWER,
          crashBackoffMs: CRASH_BACKOFF_MS,
          overdueMs: OVERDUE_MS,
        },
        onChanged: (id) => engine.changed(id),
        onError,
      })
      const unsubscribe = await keepSubscribed(
        bus,
        TASK_CANCEL_CHANNEL,
        (message) => running.cancel(Buffer.from(message).toString()),
        clock,
        (error) => onError('Cancellations of tasks come late.', error),
      )
      const triggers = new Triggers({
        triggers: settings.triggers ? server.triggers.map((trigger) => resolveTrigger(trigger, server.tools)) : [],
        startTask: (tool, args, given) => startTask(engine, tool, args, { requestId, ...given }),
        openSource: openMessageSource,
        clock,
        telemetry,
        bounds: options,
      })
      await running.start()
      sweeper.start()
      const worker: RunningWorker = {
        name,
        get running() {
          return running.running
        },
        get abandoned() {
          return running.abandoned
        },
        async close(deadlineMs) {
          await Promise.all([triggers.close(deadlineMs), running.drain(deadlineMs)])
          await sweeper.close()
          const stopped = new AbortController()
          await Promise.race([running.idle(), clock.sleep(STOP_MS, stopped.signal).catch(() => undefined)])
          stopped.abort()
          await isolates.close()
          await unsubscribe()
          await keeper.close()
        },
      }
      try {
        await triggers.start()
      } catch (error) {
        await worker.close(0)
        throw error
      }
      return worker
    },
    async close() {
      if (queue !== options.queue) await queue.close()
      await engine.close()
      if (url !== undefined) await store.close()
    },
  }
}

/** Where a thread or a process finds the worker's artifacts. */
function reachableArtifacts(options: ResolvedOptions, isMultiple: boolean): IsolateSetup['artifacts'] {
  const url = placeOfArtifacts(options, isMultiple)
  if (typeof url !== 'string' || url === MEMORY_URL) return undefined
  return { url, maxArtifactBytes: options.maxArtifactBytes }
}

const toModuleUrl = (module: string | URL): string =>
  module instanceof URL || module.startsWith('file:') ? String(module) : pathToFileURL(resolve(module)).href

/** Whether tasks lie where other machines reach them. */
export const hasRemoteTasks = (tasks: ResolvedOptions['tasks']): boolean =>
  typeof tasks === 'string' && tasks !== '' && !isSqliteUrl(tasks)

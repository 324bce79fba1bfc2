import { isSqliteUrl } from '../backends/sqlite/url.ts'
import type { Principal } from '../define/context.ts'
import type { ServerDefinition } from '../define/server.ts'
import { createTask } from '../kernel/create-task.ts'
import type { Services } from '../kernel/services.ts'
import type { TaskWatcher } from '../kernel/task-engine.ts'
import type { Unsubscribe } from '../ports/event-bus.ts'
import type { TaskQueue } from '../ports/task-queue.ts'
import type { TaskAdmin, TaskStore } from '../ports/task-store.ts'
import { StoredTaskEngine } from '../tasks/engine.ts'
import { subscribeToTasks, type TaskEvent } from '../tasks/task-events.ts'
import { toTaskInfo, type TaskInfo } from '../tasks/task-info.ts'
import { Topology, watchQueue } from '../tasks/topology.ts'
import type { ResolvedOptions } from './options.ts'
import { openTaskQueue } from './task-queue.ts'
import { openTaskStore, tasksUrlOf } from './task-store.ts'
import { startWorker, type RunningWorker, type WorkerPlace } from './worker.ts'
import type { WorkerOptions } from './worker-options.ts'

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
  const queues = [...new Set(tools.map(({ task }) => task!.queue))]
  const onChange = watchQueue(telemetry)
  const onError = (message: string, error: unknown): void => telemetry.failure(undefined, message, error)
  const url = typeof options.tasks === 'string' ? tasksUrlOf(options.tasks, options.dataDir) : undefined
  const store = url === undefined ? (options.tasks as TaskStore & TaskAdmin) : await openTaskStore(url, clock)
  const queue: TaskQueue =
    typeof options.queue === 'string'
      ? await openTaskQueue(options.queue, url, {
          onUp: () => onChange(undefined),
          onDown: onChange,
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
  const topology = new Topology({ queue, queues, clock, onChange })
  const close = async (): Promise<void> => {
    topology.close()
    if (queue !== options.queue) await queue.close()
    await engine.close()
    if (url !== undefined) await store.close()
  }
  try {
    await topology.start()
  } catch (error) {
    await close()
    throw error
  }
  const requestId = `${services.nodeId}-task`
  const place: WorkerPlace = {
    server,
    options,
    url,
    store,
    queue,
    topology,
    queues,
    engine,
    requestId,
    isMultiple,
    onError,
  }

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
    startWorker: (all, given) => startWorker(place, all, given),
    close,
  }
}

/** Whether tasks lie where other machines reach them. */
export const hasRemoteTasks = (tasks: ResolvedOptions['tasks']): boolean =>
  typeof tasks === 'string' && tasks !== '' && !isSqliteUrl(tasks)

import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ServerDefinition } from '../define/server.ts'
import type { ToolDefinition } from '../define/tool.ts'
import { resolveTrigger } from '../define/trigger.ts'
import { serveState } from '../backends/ipc/primary.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { startTask } from '../kernel/create-task.ts'
import { keepSubscribed } from '../kernel/keep-subscribed.ts'
import { TASK_CANCEL_CHANNEL } from '../kernel/keys.ts'
import type { Services } from '../kernel/services.ts'
import type { TaskQueue } from '../ports/task-queue.ts'
import type { TaskAdmin, TaskStore } from '../ports/task-store.ts'
import type { StoredTaskEngine } from '../tasks/engine.ts'
import { Isolates } from '../tasks/isolation/isolates.ts'
import type { IsolateSetup } from '../tasks/isolation/protocol.ts'
import type { LeaseKeeper } from '../tasks/lease-keeper.ts'
import { EXPIRED_ANSWER, toError } from '../tasks/payload.ts'
import { Sweeper } from '../tasks/sweeper.ts'
import { createTaskRunner } from '../tasks/task-runner.ts'
import type { Topology } from '../tasks/topology.ts'
import { Triggers } from '../tasks/triggers.ts'
import { Worker } from '../tasks/worker.ts'
import { placeOfArtifacts } from './artifacts.ts'
import { MEMORY_URL } from './backends.ts'
import { openLeaseKeeper } from './lease-keeper.ts'
import { openMessageSource } from './message-sources.ts'
import type { ResolvedOptions } from './options.ts'
import { resolveWorkerOptions, type ResolvedWorkerOptions, type WorkerOptions } from './worker-options.ts'

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

/** What the workers of a runtime share. */
export interface WorkerPlace {
  readonly server: ServerDefinition
  readonly options: ResolvedOptions
  /** Where the tasks lie; `undefined`: the store was given as an instance. */
  readonly url: string | undefined
  readonly store: TaskStore & TaskAdmin
  readonly queue: TaskQueue
  readonly topology: Topology
  /** The queues of the tools. */
  readonly queues: readonly string[]
  readonly engine: StoredTaskEngine
  /** Of what no client asked for. */
  readonly requestId: string
  readonly isMultiple: boolean
  readonly onError: (message: string, error: unknown) => void
}

type TaskTool = ToolDefinition & { readonly task: NonNullable<ToolDefinition['task']> }
const isTaskTool = (tool: ToolDefinition): tool is TaskTool => tool.task !== undefined

/**
 * Starts a worker.
 * @throws {HoldfastError} `unknown_option`; `invalid_option` also for a trigger or a tool with isolation that can't run here; where the thread that keeps
 * leases can't reach the store.
 */
export async function startWorker(
  place: WorkerPlace,
  services: Services,
  given: WorkerOptions,
): Promise<RunningWorker> {
  const settings = resolveWorkerOptions(given, place.queues)
  const { server, options, store, queue, topology, engine, requestId, onError } = place
  const { clock, bus, telemetry } = services
  const tools = server.tools.filter(isTaskTool)
  const { definition, queues, concurrency, leaseMs, pollMs } = settings
  const isolates = new Isolates({
    services,
    entry: ISOLATE_ENTRY,
    definition: definition === undefined ? undefined : toModuleUrl(definition),
    artifacts: reachableArtifacts(options, place.isMultiple),
    maxCacheBytes: options.maxCacheBytes,
    serveState: (port) => serveState(port, services.state, services.bus),
  })
  const name = `${hostname()}-${process.pid}-${services.nodeId}`
  /** Filled in below: the keeper is there first. */
  const kept: { worker?: Worker } = {}
  const drainAndTell = async (): Promise<void> => {
    await kept.worker?.drain(Infinity)
    settings.onStuck?.()
  }
  let keeper: LeaseKeeper
  try {
    await isolates.prepare(tools.filter(({ task }) => task.isolation !== undefined))
    keeper = await openKeeper(place, services, settings, name, () => void drainAndTell())
  } catch (error) {
    await isolates.close()
    throw error
  }
  const sweeper = createSweeper(place, services, settings)
  const worker = (kept.worker = new Worker({
    name,
    store,
    queue,
    topology,
    keeper,
    clock,
    run: createTaskRunner(services, engine, isolates),
    onChanged: (id) => engine.changed(id),
    onDue: (afterMs) => sweeper.dueAfter(afterMs),
    onError,
    onStuck() {
      onError(
        'Handlers that ignore `ctx.signal` hold half of the slots; the process should be started anew.',
        new HoldfastError('worker_stuck', `${worker.abandoned} handlers run on, though they were told to stop.`),
      )
      settings.onStuck?.()
    },
    tools: tools.map((tool) => tool.name),
    toolConcurrency: new Map(
      tools.flatMap(({ name: tool, task }) => (task.concurrency === undefined ? [] : [[tool, task.concurrency]])),
    ),
    queues,
    handlerRevisions: tools.flatMap(({ task }) => task.handlerRevision ?? []),
    concurrency,
    leaseMs,
    pollMs,
  }))
  const unsubscribe = await keepSubscribed(
    bus,
    TASK_CANCEL_CHANNEL,
    (message) => worker.cancel(Buffer.from(message).toString()),
    clock,
    (error) => onError('Cancellations of tasks come late.', error),
  )
  const triggers = new Triggers({
    triggers: settings.triggers ? server.triggers.map((trigger) => resolveTrigger(trigger, server.tools)) : [],
    startTask: (tool, args, more) => startTask(engine, tool, args, { requestId, ...more }),
    openSource: openMessageSource,
    clock,
    telemetry,
    bounds: options,
  })
  await worker.start()
  sweeper.start()
  const running: RunningWorker = {
    name,
    get running() {
      return worker.running
    },
    get abandoned() {
      return worker.abandoned
    },
    async close(deadlineMs) {
      await Promise.all([triggers.close(deadlineMs), worker.drain(deadlineMs)])
      await sweeper.close()
      const stopped = new AbortController()
      await Promise.race([worker.idle(), clock.sleep(STOP_MS, stopped.signal).catch(() => undefined)])
      stopped.abort()
      await isolates.close()
      await unsubscribe()
      await keeper.close()
    },
  }
  try {
    await triggers.start()
  } catch (error) {
    await running.close(0)
    throw error
  }
  return running
}

function openKeeper(
  { url, store, onError }: WorkerPlace,
  { clock }: Services,
  { leaseMs, hungAfterMs }: ResolvedWorkerOptions,
  worker: string,
  onDied: () => void,
): Promise<LeaseKeeper> {
  return openLeaseKeeper({
    url,
    store,
    worker,
    clock,
    times: { leaseMs, renewMs: leaseMs / RENEWALS_PER_LEASE },
    hungAfterMs,
    onError: (error: unknown) => onError('The leases of tasks could not be renewed.', error),
    onDied(error: Error) {
      onError('The thread that keeps leases has died; the worker stops.', error)
      onDied()
    },
  })
}

const createSweeper = (
  { store, queue, engine, onError }: WorkerPlace,
  { clock }: Services,
  { pollMs, leaseMs }: ResolvedWorkerOptions,
): Sweeper =>
  new Sweeper({
    store,
    queue,
    clock,
    everyMs: pollMs * POLLS_PER_SWEEP,
    renewMs: leaseMs / RENEWALS_PER_LEASE,
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

/** Where a thread or a process finds the worker's artifacts. */
function reachableArtifacts(options: ResolvedOptions, isMultiple: boolean): IsolateSetup['artifacts'] {
  const url = placeOfArtifacts(options, isMultiple)
  if (typeof url !== 'string' || url === MEMORY_URL) return undefined
  return { url, maxArtifactBytes: options.maxArtifactBytes }
}

const toModuleUrl = (module: string | URL): string =>
  module instanceof URL || module.startsWith('file:') ? String(module) : pathToFileURL(resolve(module)).href

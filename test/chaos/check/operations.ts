// From events to operations, and those of one task together.
import type { ChaosEvent, Op } from '../history.ts'

/** An operation with its two ends. */
export interface Operation {
  readonly process: string
  readonly op: Op
  readonly task: string | undefined
  readonly fence: number | undefined
  readonly name: string | undefined
  /** What it was begun with. */
  readonly given: unknown
  /** What it ended with. */
  readonly value: unknown
  /** It can't have happened before. */
  readonly fromMs: number
  /** If it happened, it had by then. `Infinity`: nobody knows. */
  readonly toMs: number
  /** When whoever began it was done with it, whatever it knew then. */
  readonly overMs: number
  readonly outcome: 'ok' | 'fail' | 'unknown'
}

/** What a run was told to be; the value of `run`. */
export interface RunSettings {
  readonly store: string
  readonly queue: string
  readonly seed: number
  readonly leaseMs: number
  readonly retentionMs: number
  /** By so much clocks of the processes were set apart, at most. */
  readonly skewMs: number
}

/** What a task was created with; the value of `create`. */
export interface Creation {
  readonly owner: string
  readonly kind: string
  readonly maxAttempts: number
  readonly maxCrashes: number
}

/** What a client was told of a task; the value of `read`. */
export interface Seen {
  readonly state: 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled' | 'missing'
  /** With `completed`: what the handler returned. */
  readonly result?: Returned | undefined
  /** With `failed`. */
  readonly error?: unknown
}

/** What a handler returns: who it was, and what it had been given. */
export interface Returned {
  readonly fence: number
  readonly [name: string]: unknown
}

/** A task as it lay in the store; the value of `row`. */
export interface AuditedRow {
  readonly state: string
  readonly fence: number
  readonly doneFence?: number | undefined
  readonly attempts: number
  readonly crashes: number
  readonly dead?: string | undefined
  /** Digest of the stored result. */
  readonly result?: string | undefined
}

/** What the nemesis did; the value of `fault`. */
export interface FaultNote {
  readonly name: string
  /** Processes that it touched; `all`: whoever uses the store or the broker. */
  readonly targets: readonly string[] | 'all'
  readonly part: 'process' | 'store' | 'queue'
}

/** Everything that is known of one task. */
export interface TaskHistory {
  readonly id: string
  /** In the order of their beginnings. */
  of(op: Op): readonly Operation[]
}

/** A whole run. */
export interface RunHistory {
  readonly settings: RunSettings
  readonly hasEnded: boolean
  readonly tasks: ReadonlyMap<string, TaskHistory>
  /** Creations that were answered with a task. */
  readonly created: ReadonlyMap<string, Creation>
  of(op: Op): readonly Operation[]
}

const isEnd = ({ phase }: ChaosEvent): boolean => phase !== 'invoke'

/**
 * Joins the ends of operations. A claim has one invocation and an end for each task that it gave.
 * @throws Error where the history does not begin with its settings.
 */
export function toRun(events: readonly ChaosEvent[]): RunHistory {
  const invocations = new Map<string, ChaosEvent>()
  const operations: Operation[] = []
  const ended = new Set<string>()
  for (const event of events) {
    if (event.phase === 'invoke') invocations.set(event.opId, event)
    else ended.add(event.opId)
  }
  for (const event of events) {
    if (!isEnd(event) && ended.has(event.opId)) continue
    const invoke = invocations.get(event.opId) ?? event
    const outcome = event.phase === 'invoke' ? 'unknown' : event.phase
    operations.push({
      process: event.process,
      op: event.op,
      task: event.task ?? invoke.task,
      fence: event.fence ?? invoke.fence,
      name: event.name ?? invoke.name,
      given: invoke.phase === 'invoke' ? invoke.value : undefined,
      value: isEnd(event) ? event.value : undefined,
      fromMs: invoke.t,
      toMs: outcome === 'unknown' ? Infinity : event.t,
      overMs: isEnd(event) ? event.t : Infinity,
      outcome,
    })
  }
  operations.sort((a, b) => a.fromMs - b.fromMs || a.toMs - b.toMs)
  const run = operations.find(({ op }) => op === 'run')
  if (run === undefined) throw new Error('The history has no settings: it must begin with `run`.')
  const perTask = Map.groupBy(
    operations.filter(({ task }) => task !== undefined),
    ({ task }) => task!,
  )
  const creations = operations.filter(
    ({ op, outcome, task }) => op === 'create' && outcome === 'ok' && task !== undefined,
  )
  return {
    settings: run.given as RunSettings,
    hasEnded: run.outcome === 'ok',
    tasks: new Map([...perTask].map(([id, all]) => [id, { id, of: index(all) }])),
    created: new Map(creations.map(({ task, given }) => [task!, given as Creation])),
    of: index(operations),
  }
}

function index(operations: readonly Operation[]): (op: Op) => readonly Operation[] {
  const byOp = Map.groupBy(operations, ({ op }) => op)
  return (op) => byOp.get(op) ?? []
}

/** Whether one operation was over before the other began. */
export const precedes = (a: Operation, b: Operation): boolean => a.toMs < b.fromMs

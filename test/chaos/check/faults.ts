// Which faults hit tasks in flight, which tasks changed hands, and whether a fault explains it.
import type { FaultNote, Operation, RunHistory, TaskHistory } from './operations.ts'

/** A worker's hold on a task: from its claim until it gave it up or died. */
export interface Hold {
  readonly task: string
  readonly fence: number
  readonly process: string
  readonly fromMs: number
  readonly toMs: number
  /** By what it ended; `undefined`: the worker did not end it. */
  readonly endedBy: 'finish' | 'park' | 'retry' | 'release' | undefined
}

/** A fault as the history has it. */
export interface Fault extends FaultNote {
  readonly isDone: boolean
  readonly fromMs: number
  readonly toMs: number
}

/** What became of a kind of fault. */
export interface FaultCount {
  times: number
  /** Of these, could not be done, or in part: a process that was down already could not be told anything. */
  failed: number
  /** Tasks that it met while a worker it touched held them; of stores and brokers: that were open. */
  hits: number
}

const GIVES_UP = ['finish', 'park', 'retry', 'release'] as const
/** What a fault broke may be felt so long after its end: a reconnection, a process's start, work that had piled up. */
const AFTERMATH_MS = 2000
/** Of the lease: an operation that takes so long says that the store is slow. */
const SLOW = 0.2
/** Of the lease: a hold that lasts so long was renewed. */
const OUTLIVES = 1.25

export const faultsOf = (run: RunHistory): Fault[] =>
  run.of('fault').map(({ given, fromMs, toMs, outcome }) => ({
    ...(given as FaultNote),
    fromMs,
    toMs,
    isDone: outcome !== 'fail',
  }))

/** All holds of all tasks, each task's in the order of their fences. */
export function holdsOf(run: RunHistory): Hold[] {
  return [...run.tasks.values()].flatMap((task) => {
    const claims = new Map<number, Operation>()
    for (const claim of task.of('claim'))
      if (claim.outcome === 'ok' && !claims.has(claim.fence!)) claims.set(claim.fence!, claim)
    return [...claims.values()]
      .sort((a, b) => a.fence! - b.fence!)
      .map((claim, index, all) => holdOf(task, claim, all[index + 1]))
  })
}

function holdOf(task: TaskHistory, claim: Operation, next: Operation | undefined): Hold {
  const ends = GIVES_UP.flatMap((op) => task.of(op).map((operation) => ({ op, operation })))
    .filter(({ operation: { fence, outcome, value } }) => fence === claim.fence && outcome === 'ok' && value !== 'lost')
    .sort((a, b) => a.operation.toMs - b.operation.toMs)
  return {
    task: task.id,
    fence: claim.fence!,
    process: claim.process,
    fromMs: claim.toMs,
    // Who lost it may have held it until the next one came, or its end was seen.
    toMs: ends[0]?.operation.toMs ?? Math.min(next?.fromMs ?? Infinity, lifeOf(task).toMs),
    endedBy: ends[0]?.op,
  }
}

/** Holds that another claim followed though their worker had not given them up: the task changed hands. */
export function takeoversOf(holds: readonly Hold[]): { from: Hold; to: Hold }[] {
  return [...Map.groupBy(holds, ({ task }) => task).values()].flatMap((ofTask) =>
    ofTask.flatMap((from, index) => {
      const to = ofTask[index + 1]
      return from.endedBy === undefined && to !== undefined ? [{ from, to }] : []
    }),
  )
}

const touches = ({ targets, part }: FaultNote, process: string): boolean =>
  part !== 'queue' && (targets === 'all' || targets.includes(process))

/** Counts faults and what they hit, by name. */
export function countFaults(run: RunHistory, holds: readonly Hold[]): Record<string, FaultCount> {
  const counts: Record<string, FaultCount> = {}
  const lives = [...run.created.keys()].map((id) => lifeOf(run.tasks.get(id)!))
  for (const fault of faultsOf(run)) {
    const count = (counts[fault.name] ??= { times: 0, failed: 0, hits: 0 })
    count.times++
    if (!fault.isDone) count.failed++
    // A crash point is armed for a while, and hits at one moment, or never.
    const moment = fault.name.startsWith('killed after-') ? crashWithin(run, fault) : fault
    const overlaps = (one: { fromMs: number; toMs: number }): boolean =>
      moment !== undefined && one.fromMs <= moment.toMs && one.toMs >= moment.fromMs
    const held = holds.filter((hold) => touches(fault, hold.process) && overlaps(hold))
    // Clients that were talking to a node that it touched.
    const asked = [...run.of('create'), ...run.of('read'), ...run.of('answer'), ...run.of('cancel')].filter(
      (operation) =>
        fault.targets !== 'all' &&
        fault.targets.includes(viaOf(operation)) &&
        overlaps({ ...operation, toMs: operation.overMs }),
    )
    const open = fault.targets === 'all' ? lives.filter(overlaps) : []
    count.hits += new Set(
      [...held, ...asked.flatMap(({ task }) => (task === undefined ? [] : [{ task }])), ...open].map(
        ({ task }) => task,
      ),
    ).size
  }
  return counts
}

const crashWithin = (run: RunHistory, { fromMs, toMs, targets }: Fault): Operation | undefined =>
  run.of('crash').find((crash) => targets.includes(crash.process) && crash.fromMs >= fromMs && crash.fromMs <= toMs)
const viaOf = ({ given }: Operation): string => (given as { via?: string } | undefined)?.via ?? ''

/** From a task's creation until its end was first seen. */
function lifeOf(task: TaskHistory): { task: string; fromMs: number; toMs: number } {
  const ends = [...task.of('read'), ...task.of('row')].filter(({ value }) =>
    ['completed', 'failed', 'cancelled'].includes((value as { state?: string } | undefined)?.state ?? ''),
  )
  return {
    task: task.id,
    fromMs: Math.min(...task.of('create').map(({ fromMs }) => fromMs)),
    toMs: Math.min(...ends.map(({ toMs }) => toMs)),
  }
}

/**
 * Tasks that workers lost although nothing had touched them, against long ones that they kept: where more are lost than kept, no
 * fault explains it, but leases that nobody renews. One may be lost to the machine.
 * `stall`s and `crash`es that processes tell of themselves explain a loss as well as a fault does, and so does a store that was
 * slow to answer them: then renewals were, too.
 */
export function unexplained(run: RunHistory, holds: readonly Hold[]): { count: number; problems: string[] } {
  const slow = (['claim', 'record', 'park', 'retry', 'finish'] as const)
    .flatMap((op) => run.of(op))
    .filter(({ fromMs, toMs }) => toMs - fromMs > SLOW * run.settings.leaseMs)
    .map((operation) => ({ ...operation, toMs: Math.min(operation.toMs, operation.fromMs + run.settings.leaseMs) }))
  const causes = [
    ...faultsOf(run).filter(({ part }) => part !== 'queue'),
    ...[...run.of('stall'), ...run.of('crash'), ...slow].map((own) => ({ ...own, targets: [own.process] })),
  ]
  const isUndisturbed = (hold: Hold, toMs: number): boolean =>
    !causes.some(
      (cause) =>
        (cause.targets === 'all' || cause.targets.includes(hold.process)) &&
        cause.fromMs <= toMs &&
        cause.toMs + AFTERMATH_MS >= hold.fromMs,
    )
  const lost = takeoversOf(holds).filter(({ from, to }) => isUndisturbed(from, to.fromMs))
  const kept = holds.filter(
    (hold) =>
      hold.endedBy !== undefined &&
      hold.toMs - hold.fromMs > OUTLIVES * run.settings.leaseMs &&
      isUndisturbed(hold, hold.toMs),
  )
  const isBad = lost.length >= 2 && lost.length > kept.length
  const shown = lost.slice(0, 3).map(({ from }) => `${from.task}, fence ${from.fence}, from ${from.process}`)
  const problem = `${lost.length} were taken from workers that nothing had touched, and ${kept.length} outlived a lease: ${shown.join('; ')}`
  return { count: lost.length, problems: isBad ? [problem] : [] }
}

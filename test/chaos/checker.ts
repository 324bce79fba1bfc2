// The verdict on a run. It reads the history and nothing else.
import { countFaults, holdsOf, takeoversOf, unexplained, type FaultCount } from './check/faults.ts'
import { INVARIANTS } from './check/invariants.ts'
import { toRun, type AuditedRow, type RunHistory, type Seen } from './check/operations.ts'
import { readHistory, type ChaosEvent, type Op } from './history.ts'

/** What came of a run. */
export interface Verdict {
  /** Each begins with the name of what does not hold. None: the run is good. */
  readonly problems: string[]
  readonly counts: {
    readonly events: number
    /** Acknowledged tasks, and how they ended. */
    readonly tasks: number
    readonly completed: number
    readonly failed: number
    readonly cancelled: number
    /** Creations whose outcome no client learned. */
    readonly unknownCreations: number
    readonly claims: number
    /** Claims of tasks that another worker had not given up. */
    readonly takeovers: number
    readonly steps: number
    readonly answers: number
    /** Writes that a fence refused. */
    readonly refusedWrites: number
    readonly crashPoints: number
    /** Takeovers that no fault explains. */
    readonly unexplained: number
  }
  readonly faults: Readonly<Record<string, FaultCount>>
}

/** Reads a history file, and judges it. */
export const checkFile = (path: string): Verdict => check(readHistory(path))

/** Judges a history. */
export function check(events: readonly ChaosEvent[]): Verdict {
  const run = toRun(events)
  const holds = holdsOf(run)
  const takeovers = takeoversOf(holds)
  const faults = countFaults(run, holds)
  const lost = unexplained(run, holds)
  const problems = Object.entries(INVARIANTS).flatMap(([name, invariant]) =>
    invariant(run).map((problem) => `${name}: ${problem}`),
  )
  problems.push(...lost.problems.map((problem) => `undisturbed workers keep their tasks: ${problem}`))
  if (!run.hasEnded) problems.push('the run is complete: the history ends before the run does')
  if (!Object.values(faults).some(({ hits }) => hits > 0))
    problems.push('faults hit work: no fault of this run hit a task in flight, so it has shown nothing')
  if (takeovers.length === 0)
    problems.push('tasks change hands: no task of this run was taken over, so it has shown nothing')
  const ends = [...run.created.keys()].map((id) => endOf(run, id))
  const countOf = (op: Op, values: readonly unknown[]): number =>
    run.of(op).filter(({ outcome, value }) => outcome === 'ok' && values.includes(value)).length
  return {
    problems,
    counts: {
      events: events.length,
      tasks: run.created.size,
      completed: ends.filter((end) => end === 'completed').length,
      failed: ends.filter((end) => end === 'failed').length,
      cancelled: ends.filter((end) => end === 'cancelled').length,
      unknownCreations: run.of('create').filter(({ outcome }) => outcome === 'unknown').length,
      claims: holds.length,
      takeovers: takeovers.length,
      steps: countOf('record', ['recorded']),
      answers: run.of('answer').filter(({ outcome }) => outcome === 'ok').length,
      refusedWrites: (['record', 'park', 'retry', 'release', 'finish'] as const).reduce(
        (sum, op) => sum + countOf(op, ['lost']),
        0,
      ),
      crashPoints: run.of('crash').length,
      unexplained: lost.count,
    },
    faults,
  }
}

function endOf(run: RunHistory, id: string): string | undefined {
  const task = run.tasks.get(id)!
  const states = [...task.of('read'), ...task.of('row')].map(
    ({ value }) => (value as Seen | AuditedRow | undefined)?.state,
  )
  return states.find((state) => ['completed', 'failed', 'cancelled'].includes(state ?? ''))
}

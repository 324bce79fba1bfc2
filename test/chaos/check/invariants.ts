// What must hold of every history. Each invariant names itself in what it finds.
import { isDeepStrictEqual } from 'node:util'
import type { Op } from '../history.ts'
import {
  precedes,
  type AuditedRow,
  type Operation,
  type RunHistory,
  type Seen,
  type TaskHistory,
} from './operations.ts'

/** Says what is wrong, one line each; nothing where nothing is. */
export type Invariant = (run: RunHistory) => string[]

const FINAL = ['completed', 'failed', 'cancelled']
const seenBy = ({ value }: Operation): Seen => value as Seen
const rowOf = ({ value }: Operation): AuditedRow => value as AuditedRow
const good = (operations: readonly Operation[]): Operation[] => operations.filter(({ outcome }) => outcome === 'ok')
const show = (value: unknown): string => JSON.stringify(value) ?? 'nothing'
const at = ({ process, fromMs }: Operation): string => `${process} at ${Math.round(fromMs)} ms`

/** Reads that found the task, and rows that hold it, in one form: its end, or `undefined`. */
function endsSeen(task: TaskHistory): { operation: Operation; state: string }[] {
  const reads = good(task.of('read')).map((operation) => ({ operation, state: seenBy(operation).state }))
  const rows = good(task.of('row')).map((operation) => ({ operation, state: rowOf(operation).state }))
  return [...reads, ...rows].filter(({ state }) => state !== 'missing')
}
const lastRow = (task: TaskHistory): AuditedRow | undefined => {
  const row = good(task.of('row')).at(-1)
  return row === undefined ? undefined : rowOf(row)
}
const acknowledged = (run: RunHistory): TaskHistory[] => [...run.created.keys()].map((id) => run.tasks.get(id)!)
const all = (run: RunHistory, check: (task: TaskHistory) => string[]): string[] =>
  [...run.tasks.values()].flatMap((task) => check(task).map((problem) => `the task ${task.id} ${problem}`))

/** Every task whose creation was acknowledged ends. */
const resolves: Invariant = (run) =>
  acknowledged(run)
    .filter((task) => !endsSeen(task).some(({ state }) => FINAL.includes(state)))
    .map((task) => {
      const last = endsSeen(task).at(-1)
      return `the task ${task.id} (${run.created.get(task.id)!.kind}) never ended; it was last seen as ${last?.state ?? 'nothing'}`
    })

/** A task has one end, and reads after one that saw it see the same, for ever. */
const endsOnce: Invariant = (run) =>
  all(run, (task) => {
    const problems: string[] = []
    const seen = endsSeen(task)
    const ends = seen.filter(({ state }) => FINAL.includes(state))
    const [first] = ends
    for (const end of ends.slice(1))
      if (end.state !== first!.state)
        problems.push(`was ${first!.state} to ${at(first!.operation)}, and ${end.state} to ${at(end.operation)}`)
    for (const { operation, state } of seen)
      if (!FINAL.includes(state) && ends.some((end) => precedes(end.operation, operation)))
        problems.push(`was ${state} again to ${at(operation)}, after its end had been seen`)
    const reads = good(task.of('read')).filter((read) => FINAL.includes(seenBy(read).state))
    for (const read of reads.slice(1))
      if (!isDeepStrictEqual(seenBy(read), seenBy(reads[0]!)))
        problems.push(`was ${show(reads[0]!.value)} to ${at(reads[0]!)}, and ${show(read.value)} to ${at(read)}`)
    const rows = good(task.of('row')).filter((row) => FINAL.includes(rowOf(row).state))
    for (const row of rows.slice(1))
      if (!isDeepStrictEqual(row.value, rows[0]!.value))
        problems.push(`lay in the store as ${show(rows[0]!.value)}, and then as ${show(row.value)}`)
    const done = good(task.of('finish')).filter(({ value }) => value === 'done')
    const fences = [...new Set(done.map(({ fence }) => fence))]
    if (fences.length > 1) problems.push(`was ended under the fences ${fences.join(' and ')}`)
    return problems
  })

/** No read finds an acknowledged task missing before its time: retention runs from its end, which was after it was last seen open. */
const staysReadable: Invariant = (run) =>
  acknowledged(run).flatMap((task) => {
    const creation = run.of('create').find(({ task: id, outcome }) => id === task.id && outcome === 'ok')!
    const reads = good(task.of('read'))
    return reads
      .filter((read) => seenBy(read).state === 'missing' && precedes(creation, read))
      .filter((missing) => {
        const open = reads.filter(
          (read) => precedes(read, missing) && ['working', 'input_required'].includes(seenBy(read).state),
        )
        const aliveMs = Math.max(creation.fromMs, ...open.map(({ fromMs }) => fromMs))
        return missing.toMs < aliveMs + run.settings.retentionMs - run.settings.skewMs
      })
      .map((read) => `the task ${task.id} was missing to ${at(read)}, before its time`)
  })

/** Fences rise with every claim, and no two claims share one. */
const fencesRise: Invariant = (run) =>
  all(run, (task) => {
    const claims = good(task.of('claim'))
    const problems: string[] = []
    for (const [index, claim] of claims.entries())
      for (const later of claims.slice(index + 1)) {
        if (claim.fence === later.fence && !isDeepStrictEqual(claim.given, later.given))
          problems.push(`was claimed under the fence ${claim.fence} by ${at(claim)} and by ${at(later)}`)
        if (precedes(claim, later) && later.fence! < claim.fence!)
          problems.push(`was claimed under the fence ${later.fence} by ${at(later)}, after ${claim.fence}`)
      }
    return problems
  })

/** The result is the one that the holder of `doneFence` sent; an end under nobody's fence is one of those that stores write. */
const resultIsTheHolders: Invariant = (run) =>
  all(run, (task) => {
    const row = lastRow(task)
    const problems: string[] = []
    for (const read of good(task.of('read'))) {
      const { result } = seenBy(read)
      if (result === undefined) continue
      if (row?.doneFence !== undefined && result.fence !== row.doneFence)
        problems.push(`has the result of fence ${result.fence} to ${at(read)}, and was ended by ${row.doneFence}`)
      const left = task.of('leave').filter(({ fence }) => fence === result.fence)
      if (!left.some(({ value }) => isDeepStrictEqual(value, result)))
        problems.push(`has a result to ${at(read)} that its handler under fence ${result.fence} did not return`)
    }
    if (row === undefined || !FINAL.includes(row.state)) return problems
    const { doneFence, state } = row
    const claims = good(task.of('claim'))
    const under = (op: Op): Operation[] => task.of(op).filter(({ fence }) => fence === doneFence)
    if (claims.some(({ fence }) => fence === doneFence)) {
      const sent = under('finish').some(({ given }) => {
        const end = given as { state: string; result?: string }
        return end.state === state && end.result === row.result
      })
      // Who gives back a task that is to be cancelled ends it.
      const gaveBack = state === 'cancelled' && [...under('retry'), ...under('release')].length > 0
      if (!sent && !gaveBack) problems.push(`ended ${state} by the fence ${doneFence}, whose holder did not send that`)
    } else {
      const isOfStore = state === 'cancelled' || (state === 'failed' && row.dead !== 'error' && row.dead !== undefined)
      if (!isOfStore) problems.push(`ended ${state} by the fence ${doneFence}, which no claim had`)
      if (claims.some(({ fence }) => fence! > doneFence!))
        problems.push(`was claimed under a later fence than that of its end, ${doneFence}`)
    }
    for (const finish of good(task.of('finish')))
      if (finish.value === 'done' && finish.fence !== doneFence)
        problems.push(`was ended by ${at(finish)} under the fence ${finish.fence}, and its row says ${doneFence}`)
    return problems
  })

/** Handlers of these runs do nothing that fails for good: who completes has a result, and only lost workers use a task up. */
const tasksEndWell: Invariant = (run) =>
  all(run, (task) => [
    ...good(task.of('read'))
      .filter((read) => seenBy(read).state === 'completed' && seenBy(read).result === undefined)
      .map((read) => `completed without a result that its handler had returned, to ${at(read)}: ${show(read.value)}`),
    ...good(task.of('row'))
      .filter((row) => rowOf(row).state === 'failed' && rowOf(row).dead !== 'crashes')
      .map((row) => `failed (${rowOf(row).dead}), and nothing in it fails: ${show(task.of('read').at(-1)?.value)}`),
  ])

/** Attempts and crashes stay within their bounds, and so do claims. */
const attemptsAreBounded: Invariant = (run) =>
  all(run, (task) => {
    const creation = run.created.get(task.id)
    const row = lastRow(task)
    if (creation === undefined || row === undefined) return []
    const problems: string[] = []
    const { maxAttempts, maxCrashes } = creation
    if (row.attempts > maxAttempts) problems.push(`had ${row.attempts} attempts, and may have ${maxAttempts}`)
    if (row.crashes > maxCrashes + 1) problems.push(`counted ${row.crashes} crashes, and may have ${maxCrashes + 1}`)
    const claims = new Set(good(task.of('claim')).map(({ fence }) => fence)).size
    // Whatever is on record starts the count of crashes again; what was given up comes back by another claim.
    const records = task.of('record').filter(({ value }) => value !== 'lost').length + task.of('park').length
    const most =
      (records + 1) * (maxCrashes + 1) +
      task.of('park').length +
      task.of('retry').length +
      task.of('release').length +
      1
    if (claims > most) problems.push(`was claimed ${claims} times, and ${most} are accounted for`)
    return problems
  })

/** A step is recorded once, runs under no fence that was claimed after its record, and is the same to all who use it. */
const stepsAreRecordedOnce: Invariant = (run) =>
  all(run, (task) => {
    const problems: string[] = []
    const claims = good(task.of('claim'))
    const recorded = good(task.of('record')).filter(({ value }) => value === 'recorded')
    for (const [name, records] of Map.groupBy(recorded, ({ name }) => name)) {
      const [first] = records
      for (const record of records.slice(1))
        problems.push(`has the step ${name} recorded by ${at(first!)} and again by ${at(record)}`)
      for (const step of task.of('run-step').filter((one) => one.name === name)) {
        const claim = claims.find(({ fence }) => fence === step.fence)
        if (claim !== undefined && precedes(first!, claim))
          problems.push(`ran the step ${name} again under fence ${step.fence}, claimed after it was on record`)
      }
    }
    for (const [name, uses] of Map.groupBy(task.of('use'), ({ name }) => name)) {
      const record = recorded.find((one) => one.name === name)
      const expected = record === undefined ? uses[0]!.value : record.given
      for (const use of uses)
        if (!isDeepStrictEqual(use.value, expected))
          problems.push(
            `got ${show(use.value)} from the step ${name} by ${at(use)}, and ${show(expected)} is on record`,
          )
    }
    return problems
  })

/** Every delivery of an answer, on each replay, is the first one accepted; and none is lost. */
const answersStay: Invariant = (run) =>
  all(run, (task) => {
    const problems: string[] = []
    for (const [name, deliveries] of Map.groupBy(task.of('deliver'), ({ name }) => name)) {
      const answers = task.of('answer').filter((one) => one.name === name && one.outcome !== 'fail')
      const [first] = deliveries
      for (const delivery of deliveries.slice(1))
        if (!isDeepStrictEqual(delivery.value, first!.value))
          problems.push(
            `got ${show(delivery.value)} for the question ${name} by ${at(delivery)}, and ${show(first!.value)} before`,
          )
      const given = answers.filter((answer) => isDeepStrictEqual(answer.given, first!.value))
      if (!given.some((answer) => answer.fromMs < first!.fromMs))
        problems.push(`got ${show(first!.value)} for the question ${name}, which nobody had answered`)
      else if (given.every((answer) => answers.some((other) => !given.includes(other) && precedes(other, answer))))
        problems.push(`got ${show(first!.value)} for the question ${name}, which another answer had come before`)
    }
    // A handler that completed has had an answer to each of its questions.
    const end = good(task.of('read')).find((read) => seenBy(read).state === 'completed')
    const result = end === undefined ? undefined : seenBy(end).result
    for (const answer of good(task.of('answer')))
      if (
        result !== undefined &&
        !task.of('deliver').some(({ name, fence }) => name === answer.name && fence === result.fence)
      )
        problems.push(`completed without the answer to ${answer.name}, which had been acknowledged`)
    return problems
  })

/** A cancel that met its task ready or parked ends it as cancelled, and nobody who claims after that runs it. */
const cancelsHold: Invariant = (run) =>
  all(run, (task) => {
    const problems: string[] = []
    for (const cancel of good(task.of('cancel-met')).filter(({ value }) => value === 'cancelled')) {
      for (const { operation, state } of endsSeen(task))
        if (precedes(cancel, operation) && state !== 'cancelled')
          problems.push(`was cancelled by ${at(cancel)}, and ${state} to ${at(operation)}`)
      const claims = good(task.of('claim'))
      for (const enter of task.of('enter').filter((one) => precedes(cancel, one))) {
        // Who had claimed it before, and stood still since, may begin late.
        const claim = claims.find(({ fence }) => fence === enter.fence)
        if (claim === undefined || precedes(cancel, claim))
          problems.push(`was cancelled by ${at(cancel)}, and its handler was entered by ${at(enter)}`)
      }
    }
    return problems
  })

/** No owner reads another's task. */
const ownersAreApart: Invariant = (run) =>
  good(run.of('peek'))
    .filter((peek) => seenBy(peek).state !== 'missing')
    .map((peek) => `the task ${peek.task} was shown to ${at(peek)}, who does not own it: ${show(peek.value)}`)

/** Whatever breaks, clients are told to try again; nothing that they ask is refused for good. */
const nothingIsRefused: Invariant = (run) =>
  (['create', 'read', 'answer', 'cancel', 'peek'] as const)
    .flatMap((op) => run.of(op))
    .filter(({ outcome }) => outcome === 'fail')
    .map(
      (operation) =>
        `${operation.op} of the task ${operation.task} was refused to ${at(operation)}: ${show(operation.value)}`,
    )

/** After retention nothing is left. */
const nothingIsLeft: Invariant = (run) =>
  run.of('rest').flatMap((rest) =>
    Object.entries(rest.value as Record<string, number>)
      .filter(([, count]) => count > 0)
      .map(([what, count]) => `${count} ${what} are left after retention`),
  )

/** Handlers run under a fence that was claimed, by the worker that claimed it. */
const handlersHaveClaims: Invariant = (run) =>
  all(run, (task) =>
    task
      .of('enter')
      .filter(
        (enter) =>
          !good(task.of('claim')).some(
            ({ fence, process, toMs }) => fence === enter.fence && process === enter.process && toMs <= enter.fromMs,
          ),
      )
      .map((enter) => `was entered by ${at(enter)} under the fence ${enter.fence}, which it had not claimed`),
  )

/** All of them, by the name that their findings begin with. */
export const INVARIANTS: Readonly<Record<string, Invariant>> = {
  'every acknowledged task ends': resolves,
  'a task ends once': endsOnce,
  'a task stays readable': staysReadable,
  'fences rise': fencesRise,
  'handlers hold their claim': handlersHaveClaims,
  "the result is the holder's": resultIsTheHolders,
  'tasks end well': tasksEndWell,
  'attempts are bounded': attemptsAreBounded,
  'steps are recorded once': stepsAreRecordedOnce,
  'answers stay as they were accepted': answersStay,
  'cancels hold': cancelsHold,
  'owners are apart': ownersAreApart,
  'nothing is refused': nothingIsRefused,
  'nothing is left': nothingIsLeft,
}

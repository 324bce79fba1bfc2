// What happened in a run: one JSON line an event, written by clients and by who does the damage. The verdict reads nothing else.
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'

/** One end of an operation, one try of it, or a fault. */
export interface HistoryEvent {
  /** Milliseconds of the host's monotonic clock. */
  t: number
  process: string
  op: string
  /** Joins the events of one operation, or of one fault. */
  opId: number
  /** `invoke` and `ok` or `fail` are the ends of an operation (`begin` and `end`, of a fault); `try` is one request of it. */
  phase: 'invoke' | 'ok' | 'fail' | 'try' | 'begin' | 'end'
  /** Of a try. */
  outcome?: TryOutcome
  ms?: number
  why?: string
}

/**
 * What a client saw of one request: an answer; an error that says to try again; a connection that broke; nothing within the
 * client's time-out; or anything else, which no client should see.
 */
export type TryOutcome = 'ok' | 'retry' | 'broken' | 'late' | 'bad'

/** Writes events to a file, each before what follows it. */
export class History {
  readonly file: string
  #opId = 0

  constructor(file: string) {
    this.file = file
    writeFileSync(file, '')
  }

  nextOpId(): number {
    return ++this.#opId
  }

  write(event: Omit<HistoryEvent, 't'>): void {
    appendFileSync(this.file, `${JSON.stringify({ t: Math.round(performance.now()), ...event })}\n`)
  }

  /** Runs a fault, with its beginning and its end written down. */
  async fault<T>(name: string, run: () => Promise<T>): Promise<T> {
    const event = { process: 'nemesis', op: name, opId: this.nextOpId() }
    this.write({ ...event, phase: 'begin' })
    try {
      return await run()
    } finally {
      this.write({ ...event, phase: 'end' })
    }
  }
}

/** Counts of a run, and what must not have happened. */
export interface Verdict {
  operations: Record<string, { ok: number; failed: number }>
  tries: Record<TryOutcome, number>
  /** Why clients were told, or had, to try again, with counts. */
  reasons: Record<string, number>
  faults: Record<
    string,
    { times: number; /** Requests under way while it lasted that were disturbed, or took long. */ hits: number }
  >
  /** The longest a single request took, in ms. */
  slowestMs: number
  problems: string[]
}

/**
 * Reads a history.
 * @param mayBeLate names of faults during which a request may hang until the client's own time-out (a paused node)
 */
export function judge(file: string, mayBeLate: readonly string[] = []): Verdict {
  const events = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as HistoryEvent)
  const verdict: Verdict = {
    operations: {},
    tries: { ok: 0, retry: 0, broken: 0, late: 0, bad: 0 },
    reasons: {},
    faults: {},
    slowestMs: 0,
    problems: [],
  }
  const faults = faultsOf(events)
  for (const { op } of faults) verdict.faults[op] = { times: (verdict.faults[op]?.times ?? 0) + 1, hits: 0 }
  const open = new Map<number, HistoryEvent>()
  for (const event of events) {
    const { phase, op, opId, outcome, ms = 0, why = '', t } = event
    const operation = (verdict.operations[op] ??= { ok: 0, failed: 0 })
    if (phase === 'begin' || phase === 'end') delete verdict.operations[op]
    else if (phase === 'invoke') open.set(opId, event)
    else if (phase === 'try') {
      verdict.tries[outcome!]++
      if (outcome !== 'late') verdict.slowestMs = Math.max(verdict.slowestMs, ms)
      if (outcome === 'ok') {
        if (ms > SLOW_MS)
          for (const { op } of faults.filter(({ from, to }) => from <= t && to >= t - ms)) verdict.faults[op]!.hits++
        continue
      }
      verdict.reasons[why] = (verdict.reasons[why] ?? 0) + 1
      const during = faults.filter(({ from, to }) => from <= t && to >= t - ms)
      for (const fault of during) verdict.faults[fault.op]!.hits++
      if (outcome === 'bad') verdict.problems.push(`${op} at ${t} ms: ${why}`)
      if (outcome === 'late' && !during.some((fault) => mayBeLate.includes(fault.op)))
        verdict.problems.push(`${op} at ${t} ms hung until the client gave up: ${why}`)
      if (during.length === 0) verdict.problems.push(`${op} at ${t} ms was disturbed while nothing was broken: ${why}`)
    } else {
      open.delete(opId)
      if (phase === 'ok') operation.ok++
      else {
        operation.failed++
        verdict.problems.push(`${op} at ${t} ms failed for good: ${why}`)
      }
    }
  }
  for (const { op, t } of open.values()) verdict.problems.push(`${op}, begun at ${t} ms, never ended`)
  return verdict
}

/** What takes longer was held up: no operation takes so long by itself. */
const SLOW_MS = 1000
/** Time after a fault's end in which what it broke may still be felt: a reconnection, a node's start. */
const AFTERMATH_MS = 5000

function faultsOf(events: readonly HistoryEvent[]): { op: string; from: number; to: number }[] {
  const begun = new Map<number, { op: string; from: number; to: number }>()
  for (const { phase, op, opId, t } of events) {
    if (phase === 'begin') begun.set(opId, { op, from: t, to: Infinity })
    const fault = begun.get(opId)
    if (phase === 'end' && fault !== undefined) fault.to = t + AFTERMATH_MS
  }
  return [...begun.values()]
}

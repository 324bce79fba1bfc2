// What happened in a run: one JSON line an event, appended to one file by every process of the run, each before the act that it
// announces. A kill can end a process, and not take back what it had written.
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'

/**
 * One event. An operation that takes time has two, `invoke` and its end, joined by `opId`; what has no duration has its end alone.
 * An operation without an end, or that ended `unknown`, may have happened.
 */
export interface ChaosEvent {
  /** Milliseconds of the machine's monotonic clock, which all its processes share. */
  readonly t: number
  readonly process: string
  readonly op: Op
  readonly opId: string
  readonly phase: 'invoke' | 'ok' | 'fail' | 'unknown'
  readonly task?: string | undefined
  readonly fence?: number | undefined
  readonly attempt?: number | undefined
  /** Of a step or a question. */
  readonly name?: string | undefined
  readonly value?: unknown
}

/**
 * - By clients: `create`, `read`, `answer`, `cancel`; `peek`, a read by somebody else.
 * - By the stores of workers and nodes: `claim`, `record` (of a step), `park`, `retry`, `release`, `finish`, and `cancel-met`, which
 *   says in what state a cancel met its task.
 * - By handlers: `enter`, `run-step` (its function), `use` (what a step gave), `deliver` (what a question gave), `leave`.
 * - By workers of themselves: `stall` (their event loop stood still, which nobody had ordered), `crash` (a crash point).
 * - By the nemesis: `fault`. By the auditor: `row` (a task as it lies in the store), `rest` (what is left in the end).
 * - `run`: the settings, first of all; its end, last of all.
 */
export type Op =
  | 'create'
  | 'read'
  | 'answer'
  | 'cancel'
  | 'peek'
  | 'claim'
  | 'record'
  | 'park'
  | 'retry'
  | 'release'
  | 'finish'
  | 'cancel-met'
  | 'enter'
  | 'run-step'
  | 'use'
  | 'deliver'
  | 'leave'
  | 'stall'
  | 'crash'
  | 'fault'
  | 'row'
  | 'rest'
  | 'run'

/** What an event is about. */
export type About = Pick<ChaosEvent, 'task' | 'fence' | 'attempt' | 'name' | 'value'>

/** The other end of an operation that has begun. */
export interface Begun {
  readonly opId: string
  ok(about?: About): void
  fail(about?: About): void
  unknown(about?: About): void
}

/** Milliseconds of the machine's monotonic clock. */
export const monotonicMs = (): number => Math.round(Number(process.hrtime.bigint() / 1000n)) / 1000

/** Of all writers of this process, so that no two operations share an id. */
let count = 0

/** Writes the events of one process, or of one client in it. */
export class HistoryWriter {
  readonly #file: number
  readonly #process: string

  constructor(path: string, processName: string) {
    this.#file = openSync(path, 'a')
    this.#process = processName
  }

  /** Something without a duration. */
  note(op: Op, about: About = {}): void {
    this.#write({ op, opId: this.#nextId(), phase: 'ok', ...about })
  }

  /** Something that takes time: what follows may happen from now on. */
  begin(op: Op, about: About = {}): Begun {
    const opId = this.#nextId()
    this.#write({ op, opId, phase: 'invoke', ...about })
    const end =
      (phase: 'ok' | 'fail' | 'unknown') =>
      (more: About = {}): void =>
        this.#write({ op, opId, phase, ...(about.task === undefined ? {} : { task: about.task }), ...more })
    return { opId, ok: end('ok'), fail: end('fail'), unknown: end('unknown') }
  }

  close(): void {
    closeSync(this.#file)
  }

  #nextId(): string {
    return `${process.pid}.${++count}`
  }

  /** One system call, so that lines of several processes never mix. */
  #write(event: Omit<ChaosEvent, 't' | 'process'>): void {
    writeSync(this.#file, `${JSON.stringify({ t: monotonicMs(), process: this.#process, ...event })}\n`)
  }
}

/** The events of a file, in the order of time. */
export function readHistory(path: string): ChaosEvent[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line, index) => {
      try {
        return JSON.parse(line) as ChaosEvent
      } catch (error) {
        throw new Error(`Line ${index + 1} of ${path} is no event: ${line.slice(0, 200)}`, { cause: error })
      }
    })
    .sort((a, b) => a.t - b.t)
}

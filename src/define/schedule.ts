import { createRequire } from 'node:module'
import { invalid, quote } from './names.ts'

/** For a worker to be replaced. */
const DEFAULT_CATCH_UP_MS = 60_000

/** When a schedule starts a task. */
export interface Schedule {
  /**
   * Five fields (minute, hour, day of month, month, day of week), or six with seconds before them; `L`, `W`, `#` and `@daily`
   * and its siblings too.
   */
  cron: string
  /** Time zone that the fields are read in, by its IANA name. Default `UTC`, wherever a worker runs. */
  timeZone?: string
  /**
   * A time that has passed while no worker ran, or none could reach the task store, is made up for if it is no longer ago than
   * this. Not longer than the tool's `retentionMs`. Default 60,000, or the tool's `retentionMs` where that is shorter.
   */
  catchUpMs?: number
}

/** A schedule, made ready. */
export interface CompiledSchedule {
  readonly cron: string
  readonly timeZone: string
  readonly catchUpMs: number | undefined
  /** The first time after this one, in milliseconds since the epoch. */
  next(afterMs: number): number | undefined
}

/** @throws {HoldfastError} `invalid_definition` for what is no schedule, and for one that never comes. */
export function compileSchedule(schedule: Schedule, where: string): CompiledSchedule {
  // Loaded with the first schedule: it takes some milliseconds that others need not spend.
  const { Cron } = createRequire(import.meta.url)('croner') as typeof import('croner')
  const { cron, timeZone = 'UTC', catchUpMs } = schedule
  if (typeof timeZone !== 'string' || !isTimeZone(timeZone))
    invalid(
      where,
      `\`from.timeZone\` is ${quote(timeZone)}.`,
      'Give the IANA name of a time zone, such as "Europe/Tallinn".',
    )
  if (catchUpMs !== undefined && !(Number.isSafeInteger(catchUpMs) && catchUpMs >= 0))
    invalid(
      where,
      `\`from.catchUpMs\` is ${quote(catchUpMs)}.`,
      'It must be a whole number of milliseconds, 0 or more.',
    )
  const remedy = 'Write five fields, such as "0 6 * * *" for six o\'clock, or six with seconds first.'
  if (typeof cron !== 'string' || cron.length > 200) invalid(where, `\`from.cron\` is ${quote(cron)}.`, remedy)
  try {
    const parsed = new Cron(cron, { timezone: timeZone, mode: '5-or-6-parts', paused: true })
    if (parsed.getOnce() !== null) invalid(where, `\`from.cron\` is ${quote(cron)}, a date.`, remedy)
    const next = (afterMs: number): number | undefined => parsed.nextRun(new Date(afterMs))?.getTime()
    if (next(0) === undefined) invalid(where, `\`from.cron\` is ${quote(cron)}, a time that never comes.`, remedy)
    return Object.freeze({ cron, timeZone, catchUpMs, next })
  } catch (cause) {
    if (!(cause instanceof TypeError || cause instanceof RangeError)) throw cause
    return invalid(where, `\`from.cron\` is ${quote(cron)} (${cause.message}).`, remedy, cause)
  }
}

/**
 * How late a time may be made up for. A tool's tasks are known for as long as they are kept; later, a worker could not tell
 * whether a time has had its task.
 * @throws {HoldfastError} `invalid_definition`
 */
export function resolveCatchUp({ catchUpMs }: CompiledSchedule, retentionMs: number, where: string): number {
  if (catchUpMs !== undefined && catchUpMs > retentionMs)
    invalid(
      where,
      `\`from.catchUpMs\` is ${catchUpMs}, and the tool's tasks are kept for ${retentionMs} ms.`,
      'Raise `retentionMs` of the tool, or lower `catchUpMs`: of what is not kept any more a second task would be made.',
    )
  return catchUpMs ?? Math.min(DEFAULT_CATCH_UP_MS, retentionMs)
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }) instanceof Intl.DateTimeFormat
  } catch (error) {
    if (error instanceof RangeError) return false
    throw error
  }
}

// Moments at which the death of a process asks the most of the others.
import type { HistoryWriter } from '../history.ts'

/** The moments, each with what is so then. */
export const CRASH_POINTS = {
  'after-create': 'a task is committed, and its creation not yet answered',
  'after-reply': 'the creation is committed, and nobody was told of the task',
  'after-claim': 'tasks are claimed, and their handlers not begun',
  'after-step-effect': "a step's function has returned, and its value is not on record",
  'after-handler': 'a handler has returned, and its result was not sent',
  'after-finish': 'a task has ended, and its worker does not know',
  'after-park': 'a task is parked, and its worker still has the slot',
  'after-answer': 'the last answer is committed, and nobody was told',
} as const
/** Name of a crash point. */
export type CrashPoint = keyof typeof CRASH_POINTS

/** Kills its process at a point that it was armed for. */
export class Crash {
  readonly #history: HistoryWriter
  #armed: CrashPoint | undefined

  constructor(history: HistoryWriter) {
    this.#history = history
  }

  /** The next time that this point is passed is the last. `undefined`: none is. */
  arm(point: CrashPoint | undefined): void {
    this.#armed = point
  }

  at(point: CrashPoint): void {
    if (this.#armed !== point) return
    this.#history.note('crash', { value: point })
    process.kill(process.pid, 'SIGKILL')
  }
}

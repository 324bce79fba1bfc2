// A task store that writes into the history what its process asks of it and is told, and that kills its process where it is armed to.
import { hash } from 'node:crypto'
import type { HistoryWriter, About, Begun, Op } from '../history.ts'
import type { TaskQueue } from '../../../src/ports/task-queue.ts'
import type { ClaimedTask, TaskStore } from '../../../src/ports/task-store.ts'

/** Moments at which the death of a process asks the most of the others. */
export const CRASH_POINTS = {
  'after-create': 'a task is committed, and its creation not yet answered',
  'after-reply': 'the creation was answered, and nobody was told of the task',
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

/** Digest of bytes, for the history. */
export const digestOf = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : hash('sha256', bytes).slice(0, 16)

/** Runs an operation with its two ends on record; one that throws may have happened. */
async function recorded<T>(begun: Begun, run: () => Promise<T>, toAbout: (value: T) => About): Promise<T> {
  try {
    const value = await run()
    begun.ok(toAbout(value))
    return value
  } catch (error) {
    begun.unknown({ value: (error as Error).message })
    throw error
  }
}

/** Stands before the store of a worker or a node. */
export class RecordedTaskStore implements TaskStore {
  readonly #store: TaskStore
  readonly #history: HistoryWriter
  readonly #crash: Crash
  readonly #fences = new Map<string, number>()

  constructor(store: TaskStore, history: HistoryWriter, crash: Crash) {
    this.#store = store
    this.#history = history
    this.#crash = crash
  }

  /** The fence of this process' latest claim of a task: a handler that begins now runs under it. */
  fenceOf(task: string): number | undefined {
    return this.#fences.get(task)
  }

  async create(...args: Parameters<TaskStore['create']>): ReturnType<TaskStore['create']> {
    const created = await this.#store.create(...args)
    this.#crash.at('after-create')
    return created
  }
  get(...args: Parameters<TaskStore['get']>): ReturnType<TaskStore['get']> {
    return this.#store.get(...args)
  }
  versions(...args: Parameters<TaskStore['versions']>): ReturnType<TaskStore['versions']> {
    return this.#store.versions(...args)
  }
  heartbeat(...args: Parameters<TaskStore['heartbeat']>): ReturnType<TaskStore['heartbeat']> {
    return this.#store.heartbeat(...args)
  }
  attend(...args: Parameters<TaskStore['attend']>): ReturnType<TaskStore['attend']> {
    return this.#store.attend(...args)
  }
  isOver(...args: Parameters<TaskStore['isOver']>): ReturnType<TaskStore['isOver']> {
    return this.#store.isOver(...args)
  }
  sweep(...args: Parameters<TaskStore['sweep']>): ReturnType<TaskStore['sweep']> {
    return this.#store.sweep(...args)
  }
  close(): Promise<void> {
    return this.#store.close()
  }

  async claim(...args: Parameters<TaskStore['claim']>): ReturnType<TaskStore['claim']> {
    const begun = this.#history.begin('claim', { value: { token: args[0].token } })
    let claimed: readonly ClaimedTask[]
    try {
      claimed = await this.#store.claim(...args)
    } catch (error) {
      begun.unknown({ value: (error as Error).message })
      throw error
    }
    if (claimed.length === 0) begun.fail()
    for (const { id, fence, attempts } of claimed) {
      begun.ok({ task: id, fence, attempt: attempts })
      this.#fences.set(id, fence)
    }
    if (claimed.length > 0) this.#crash.at('after-claim')
    return claimed
  }
  recordStep(step: Parameters<TaskStore['recordStep']>[0]): ReturnType<TaskStore['recordStep']> {
    this.#crash.at('after-step-effect')
    const { id, fence, name, value } = step
    const begun = this.#begin('record', id, fence, {
      name,
      value: JSON.parse(Buffer.from(value).toString()) as unknown,
    })
    return recorded(
      begun,
      () => this.#store.recordStep(step),
      (outcome) => ({ value: outcome }),
    )
  }
  async park(...args: Parameters<TaskStore['park']>): ReturnType<TaskStore['park']> {
    const begun = this.#begin('park', args[0], args[1])
    const outcome = await recorded(
      begun,
      () => this.#store.park(...args),
      (value) => ({ value }),
    )
    if (outcome === 'parked') this.#crash.at('after-park')
    return outcome
  }
  async answer(...args: Parameters<TaskStore['answer']>): ReturnType<TaskStore['answer']> {
    const answered = await this.#store.answer(...args)
    if (answered?.open === 0) this.#crash.at('after-answer')
    return answered
  }
  async finish(...args: Parameters<TaskStore['finish']>): ReturnType<TaskStore['finish']> {
    const [ends] = args
    this.#crash.at('after-handler')
    const begun = ends.map(({ id, fence, state, result }) =>
      this.#begin('finish', id, fence, { value: { state, result: digestOf(result) } }),
    )
    try {
      const outcomes = await this.#store.finish(...args)
      for (const [index, value] of outcomes.entries()) begun[index]!.ok({ value })
      this.#crash.at('after-finish')
      return outcomes
    } catch (error) {
      for (const one of begun) one.unknown({ value: (error as Error).message })
      throw error
    }
  }
  retry(...args: Parameters<TaskStore['retry']>): ReturnType<TaskStore['retry']> {
    return recorded(
      this.#begin('retry', args[0], args[1]),
      () => this.#store.retry(...args),
      (value) => ({ value }),
    )
  }
  async release(...args: Parameters<TaskStore['release']>): ReturnType<TaskStore['release']> {
    const begun = args[0].map(({ id, fence }) => ({ id, end: this.#begin('release', id, fence) }))
    try {
      const released = await this.#store.release(...args)
      for (const { id, end } of begun) end.ok({ value: released.includes(id) ? 'released' : 'lost' })
      return released
    } catch (error) {
      for (const { end } of begun) end.unknown({ value: (error as Error).message })
      throw error
    }
  }
  cancel(...args: Parameters<TaskStore['cancel']>): ReturnType<TaskStore['cancel']> {
    return recorded(
      this.#history.begin('cancel-met', { task: args[0] }),
      () => this.#store.cancel(...args),
      (value) => ({ value }),
    )
  }

  #begin(op: Op, task: string, fence: number, about: About = {}): Begun {
    return this.#history.begin(op, { task, fence, ...about })
  }
}

/** Stands before the queue: a process may die before it rings. */
export const withCrash = (queue: TaskQueue, crash: Crash): TaskQueue => ({
  ensureTopology: (queues) => queue.ensureTopology(queues),
  ring: async (...args) => {
    crash.at('after-reply')
    return queue.ring(...args)
  },
  listen: (...args) => queue.listen(...args),
  depth: (name) => queue.depth(name),
  close: () => queue.close(),
})

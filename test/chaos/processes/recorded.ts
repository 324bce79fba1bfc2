// A task store and a queue that write into the history what their process asks of them and is told, and that kill the process
// where it is armed to.
import { hash } from 'node:crypto'
import { sha256 } from '../../../src/kernel/digest.ts'
import type { TaskQueue } from '../../../src/ports/task-queue.ts'
import type { ClaimedTask, TaskStore } from '../../../src/ports/task-store.ts'
import { fromEntryValue } from '../../../src/tasks/payload.ts'
import type { About, Begun, HistoryWriter } from '../history.ts'
import type { Crash } from './crash.ts'
import { other } from './other.ts'

/** What a handler of this process runs under, as far as it is not told by its context. */
export interface Holding {
  readonly task: string
  readonly fence: number
  readonly attempt: number
}

/** The latest claims of this process, by the idempotency key that a handler is given. */
export class Holdings {
  readonly #held = new Map<string, Holding>()

  add({ id, fence, attempts }: ClaimedTask): void {
    this.#held.set(sha256(['task', id]), { task: id, fence, attempt: attempts })
  }

  /** @throws Error where this process has claimed no such task. */
  of(idempotencyKey: string): Holding {
    const held = this.#held.get(idempotencyKey)
    if (held === undefined) throw new Error(`No task of the key ${idempotencyKey} was claimed here.`)
    return held
  }
}

/** Digest of bytes, for the history. */
export const digestOf = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : hash('sha256', bytes).slice(0, 16)

/** Runs an operation with its ends on record; one that throws may have happened. */
async function recorded<T>(
  begun: readonly Begun[],
  run: () => Promise<T>,
  toAbout: (value: T, index: number) => About,
): Promise<T> {
  let value: T
  try {
    value = await run()
  } catch (error) {
    for (const one of begun) one.unknown({ value: (error as Error).message })
    throw error
  }
  for (const [index, one] of begun.entries()) one.ok(toAbout(value, index))
  return value
}
const outcome = (value: unknown): About => ({ value })

/** Stands before the store of a worker or a node. */
export function recordStore<Store extends TaskStore>(
  store: Store,
  history: HistoryWriter,
  crash: Crash,
  holdings: Holdings,
): Store {
  const changed: Partial<TaskStore> = {
    async create(task) {
      const created = await store.create(task)
      crash.at('after-create')
      return created
    },
    async claim(request) {
      const begun = history.begin('claim', { value: { token: request.token } })
      let claimed: readonly ClaimedTask[]
      try {
        claimed = await store.claim(request)
      } catch (error) {
        begun.unknown({ value: (error as Error).message })
        throw error
      }
      if (claimed.length === 0) begun.fail()
      for (const task of claimed) {
        begun.ok({ task: task.id, fence: task.fence, attempt: task.attempts })
        holdings.add(task)
      }
      if (claimed.length > 0) crash.at('after-claim')
      return claimed
    },
    recordStep(step) {
      crash.at('after-step-effect')
      const { id, fence, name } = step
      const [, , value] = fromEntryValue(name, step.value)
      return recorded(
        [history.begin('record', { task: id, fence, name, value })],
        () => store.recordStep(step),
        outcome,
      )
    },
    async park(id, fence, until) {
      const parked = await recorded(
        [history.begin('park', { task: id, fence })],
        () => store.park(id, fence, until),
        outcome,
      )
      if (parked === 'parked') crash.at('after-park')
      return parked
    },
    retry: (id, fence, ...more) =>
      recorded([history.begin('retry', { task: id, fence })], () => store.retry(id, fence, ...more), outcome),
    release: (leases) =>
      recorded(
        leases.map(({ id, fence }) => history.begin('release', { task: id, fence })),
        () => store.release(leases),
        (released, index) => outcome(released.includes(leases[index]!.id) ? 'released' : 'lost'),
      ),
    async finish(ends) {
      crash.at('after-handler')
      const begun = ends.map(({ id, fence, state, result }) =>
        history.begin('finish', { task: id, fence, value: { state, result: digestOf(result) } }),
      )
      const outcomes = await recorded(
        begun,
        () => store.finish(ends),
        (all, index) => outcome(all[index]),
      )
      crash.at('after-finish')
      return outcomes
    },
    async answer(...args) {
      const answered = await store.answer(...args)
      if (answered?.open === 0) crash.at('after-answer')
      return answered
    },
    cancel: (id, owner) =>
      recorded([history.begin('cancel-met', { task: id })], () => store.cancel(id, owner), outcome),
  }
  return other(store, changed as Partial<Store>)
}

/** Stands before the queue: a process may die before it rings. */
export const recordQueue = (queue: TaskQueue, crash: Crash): TaskQueue =>
  other(queue, {
    ring(...args) {
      crash.at('after-reply')
      return queue.ring(...args)
    },
  })

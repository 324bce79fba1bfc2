import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import type { TaskStore } from '../ports/task-store.ts'

/** What was counted is believed for so long: counting for each task would cost as much as creating it. */
const BELIEVED_MS = 1_000
const RETRY_AFTER_MS = 5_000

/** Refuses new tasks where too many wait already. It may be late by what is created in a second. */
export class Backlog {
  readonly #store: Pick<TaskStore, 'isOver'>
  readonly #clock: Clock
  readonly #bound: number
  readonly #known = new Map<string, { readonly atMs: number; readonly isOver: Promise<boolean> }>()

  constructor(store: Pick<TaskStore, 'isOver'>, clock: Clock, bound: number) {
    this.#store = store
    this.#clock = clock
    this.#bound = bound
  }

  /** @throws {HoldfastError} `overloaded` */
  async admit(queue: string): Promise<void> {
    const nowMs = this.#clock.monotonic()
    let known = this.#known.get(queue)
    if (known === undefined || nowMs - known.atMs >= BELIEVED_MS) {
      // A store that can't count will not create either, and says so better.
      known = { atMs: nowMs, isOver: this.#store.isOver(queue, this.#bound).catch(() => false) }
      this.#known.set(queue, known)
    }
    if (await known.isOver)
      throw new HoldfastError('overloaded', `More than ${this.#bound} tasks wait in the queue "${queue}".`, {
        data: { retryAfterMs: RETRY_AFTER_MS },
      })
  }
}

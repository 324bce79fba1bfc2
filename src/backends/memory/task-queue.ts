import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { QueueListener, TaskQueue } from '../../ports/task-queue.ts'

type OnRing = Parameters<TaskQueue['listen']>[1]
interface Listening {
  readonly queues: ReadonlySet<string>
  readonly onRing: OnRing
  isPaused: boolean
  /** Tasks rung for while it was paused, by queue. */
  missed: Map<string, Set<string>>
}

/** Tasks remembered for a listener that is paused; more are found by looking. */
const MAX_MISSED = 1000

/** Doorbells within one process. A bell goes to every listener: they share a store, and looking costs little. */
export class MemoryTaskQueue implements TaskQueue {
  readonly #listeners = new Set<Listening>()
  readonly #onError: (error: unknown) => void
  #isClosed = false

  /** @param onError hears of claims that failed; the next bell, or the next look of the worker, tries again. */
  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  async ensureTopology(): Promise<void> {
    this.#check()
  }

  async ring(queue: string, taskIds: readonly string[]): Promise<void> {
    this.#check()
    for (const listening of this.#listeners)
      if (listening.queues.has(queue)) {
        if (listening.isPaused) this.#remember(listening, queue, taskIds)
        else this.#tell(listening, queue, taskIds)
      }
  }

  async listen(queues: readonly string[], onRing: OnRing): Promise<QueueListener> {
    this.#check()
    const listening: Listening = { queues: new Set(queues), onRing, isPaused: false, missed: new Map() }
    this.#listeners.add(listening)
    return {
      pause: () => void (listening.isPaused = true),
      resume: () => {
        listening.isPaused = false
        const missed = listening.missed
        listening.missed = new Map()
        for (const [queue, ids] of missed) this.#tell(listening, queue, [...ids])
      },
      close: async () => void this.#listeners.delete(listening),
    }
  }

  async depth(queue: string): Promise<number | undefined> {
    return Math.max(0, ...[...this.#listeners].map(({ missed }) => missed.get(queue)?.size ?? 0))
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#listeners.clear()
  }

  #tell({ onRing }: Listening, queue: string, taskIds: readonly string[]): void {
    onRing({ queue, taskIds }).catch(this.#onError)
  }

  #remember({ missed }: Listening, queue: string, taskIds: readonly string[]): void {
    const ids = missed.get(queue) ?? new Set()
    missed.set(queue, ids)
    for (const id of taskIds) if (ids.size < MAX_MISSED) ids.add(id)
  }

  #check(): void {
    if (this.#isClosed) throw new HoldfastError('closed', 'The task queue was closed.')
  }
}

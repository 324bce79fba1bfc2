import type { Clock } from '../ports/clock.ts'
import type { TaskStore } from '../ports/task-store.ts'

/** A task that nobody waits for ends after so long; who waits says so three times as often. */
const ATTENDANCE_MS = 60_000
/** After a failure it is said again soon: sweepers wait for it only some seconds once the store is back. */
const AGAIN_MS = 1_000

/** Keeps the tasks alive that calls on this node wait for: all of them in one statement. */
export class Attendance {
  readonly #store: Pick<TaskStore, 'attend'>
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  /** How many wait for each. */
  readonly #attended = new Map<string, number>()
  readonly #stop = new AbortController()
  #running: Promise<void> | undefined

  constructor(store: Pick<TaskStore, 'attend'>, clock: Clock, onError: (error: unknown) => void) {
    this.#store = store
    this.#clock = clock
    this.#onError = onError
  }

  /** For how long a new task lives until it is attended. */
  get firstMs(): number {
    return ATTENDANCE_MS
  }

  /** @param isNew it was started just now: its first minute has begun. */
  attend(id: string, isNew = false): (keepMs?: number) => void {
    // Who waited before may be gone for most of a minute: the next round could come too late.
    if (!isNew) this.#store.attend([id], ATTENDANCE_MS).catch(this.#onError)
    this.#attended.set(id, (this.#attended.get(id) ?? 0) + 1)
    this.#running ??= this.#run()
    let isOver = false
    return (keepMs) => {
      if (isOver) return
      isOver = true
      const left = this.#attended.get(id)! - 1
      if (left > 0) this.#attended.set(id, left)
      else this.#attended.delete(id)
      if (keepMs !== undefined) this.#store.attend([id], keepMs).catch(this.#onError)
    }
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    let waitMs = ATTENDANCE_MS / 3
    while (!this.#stop.signal.aborted) {
      try {
        await this.#clock.sleep(waitMs, this.#stop.signal)
      } catch {
        break // closed
      }
      if (this.#attended.size === 0) break
      try {
        await this.#store.attend([...this.#attended.keys()], ATTENDANCE_MS)
        waitMs = ATTENDANCE_MS / 3
      } catch (error) {
        this.#onError(error)
        waitMs = AGAIN_MS * (0.5 + Math.random())
      }
    }
    this.#running = undefined
  }
}

import { TASK_CANCEL_CHANNEL, taskChannel } from '../kernel/keys.ts'
import type { TaskWatcher } from '../kernel/task-engine.ts'
import type { Clock } from '../ports/clock.ts'
import type { EventBus, Unsubscribe } from '../ports/event-bus.ts'
import type { TaskStore } from '../ports/task-store.ts'

const LOOK_EVERY_MS = 5_000

interface Watched {
  readonly watchers: Set<TaskWatcher>
  readonly unsubscribe: Promise<Unsubscribe | undefined>
  version: number | undefined
}

/**
 * Tells who waits for tasks that one has changed. The bus brings the word; since it may lose one, the versions of all tasks that
 * are watched are read every few seconds, in one go.
 */
export class TaskWatch {
  readonly #store: Pick<TaskStore, 'versions'>
  readonly #bus: EventBus
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #watched = new Map<string, Watched>()
  readonly #stop = new AbortController()
  #isLooking = false

  constructor(store: Pick<TaskStore, 'versions'>, bus: EventBus, clock: Clock, onError: (error: unknown) => void) {
    this.#store = store
    this.#bus = bus
    this.#clock = clock
    this.#onError = onError
  }

  /** Says on every node that a task has changed. */
  tell(id: string): void {
    this.#bus.publish(taskChannel(id), Buffer.of(1)).catch(this.#onError)
  }

  /** Says on every node how far a task is; only who watches it hears of it. */
  tellProgress(id: string, done: number, total: number | undefined, message: string | undefined): void {
    this.#bus.publish(taskChannel(id), Buffer.from(JSON.stringify([done, total, message]))).catch(this.#onError)
  }

  /** Tells the worker that has a task to stop it; the lease tells it too, later. */
  tellCancel(id: string): void {
    this.#bus.publish(TASK_CANCEL_CHANNEL, Buffer.from(id)).catch(this.#onError)
  }

  /** Tells of changes from now on, until the returned function is called; a change may be told twice. */
  watch(id: string, watcher: TaskWatcher): () => void {
    const watched = this.#watched.get(id) ?? this.#open(id)
    watched.watchers.add(watcher)
    void this.#look()
    return () => {
      if (!watched.watchers.delete(watcher) || watched.watchers.size > 0 || this.#watched.get(id) !== watched) return
      this.#watched.delete(id)
      watched.unsubscribe.then((unsubscribe) => unsubscribe?.()).catch(this.#onError)
    }
  }

  async close(): Promise<void> {
    this.#stop.abort()
    const all = [...this.#watched.values()]
    this.#watched.clear()
    await Promise.all(all.map(async ({ unsubscribe }) => (await unsubscribe)?.()))
  }

  #open(id: string): Watched {
    const tell = (): void => {
      for (const watcher of Array.from(this.#watched.get(id)?.watchers ?? [])) watcher.onChange()
    }
    const hear = (message: Uint8Array): void => {
      if (message.length === 1) return tell()
      const [done, total, text] = JSON.parse(Buffer.from(message).toString()) as [number, number?, string?]
      for (const { onProgress } of Array.from(this.#watched.get(id)?.watchers ?? []))
        onProgress?.(done, total ?? undefined, text ?? undefined)
    }
    const unsubscribe = this.#bus.subscribe(taskChannel(id), hear, tell).catch((error: unknown) => {
      this.#onError(error) // the look every few seconds goes on
      return undefined
    })
    const watched: Watched = { watchers: new Set(), unsubscribe, version: undefined }
    this.#watched.set(id, watched)
    return watched
  }

  async #look(): Promise<void> {
    if (this.#isLooking) return
    this.#isLooking = true
    while (this.#watched.size > 0 && !this.#stop.signal.aborted) {
      try {
        await this.#clock.sleep(LOOK_EVERY_MS, this.#stop.signal)
      } catch {
        break // closed
      }
      const ids = [...this.#watched.keys()]
      try {
        const versions = await this.#store.versions(ids)
        for (const [index, id] of ids.entries()) {
          const watched = this.#watched.get(id)
          if (watched === undefined) continue
          // What was read before the first look is not known here, so that look is always told of.
          const isNews = watched.version !== (versions[index] ?? -1)
          watched.version = versions[index] ?? -1
          if (isNews) for (const watcher of Array.from(watched.watchers)) watcher.onChange()
        }
      } catch (error) {
        this.#onError(error)
      }
    }
    this.#isLooking = false
  }
}

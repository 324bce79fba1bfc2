import type { Clock } from '../ports/clock.ts'
import type { EventBus, Unsubscribe } from '../ports/event-bus.ts'
import type { TaskStore } from '../ports/task-store.ts'

const LOOK_EVERY_MS = 5_000

/** Channel on which changes of a task are told. */
export const taskChannel = (id: string): string => `task:${id}`

interface Watched {
  readonly listeners: Set<() => void>
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

  /** Calls `onChange` after each change from now on, until the returned function is called; a change may be told twice. */
  watch(id: string, onChange: () => void): () => void {
    const watched = this.#watched.get(id) ?? this.#open(id)
    watched.listeners.add(onChange)
    void this.#look()
    return () => {
      if (!watched.listeners.delete(onChange) || watched.listeners.size > 0 || this.#watched.get(id) !== watched) return
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
      for (const listener of Array.from(this.#watched.get(id)?.listeners ?? [])) listener()
    }
    const unsubscribe = this.#bus.subscribe(taskChannel(id), tell, tell).catch((error: unknown) => {
      this.#onError(error) // the look every few seconds goes on
      return undefined
    })
    const watched: Watched = { listeners: new Set(), unsubscribe, version: undefined }
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
          if (isNews) for (const listener of Array.from(watched.listeners)) listener()
        }
      } catch (error) {
        this.#onError(error)
      }
    }
    this.#isLooking = false
  }
}

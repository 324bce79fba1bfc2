import { TASK_CANCEL_CHANNEL, taskChannel } from '../kernel/keys.ts'
import type { TaskWatcher } from '../kernel/task-engine.ts'
import type { Clock } from '../ports/clock.ts'
import type { EventBus, Unsubscribe } from '../ports/event-bus.ts'
import type { TaskStore } from '../ports/task-store.ts'

/** Mean time between two looks. */
const LOOK_EVERY_MS = 5_000
/** The same while the bus is known to lose words. */
const LOOK_AWAY_MS = 1_000
/** So long after the last word that could not be sent, or channel that could not be subscribed to, the bus counts as away. */
const AWAY_MS = 10_000

interface Watched {
  readonly watchers: Set<TaskWatcher>
  readonly unsubscribe: Promise<Unsubscribe | undefined>
  version: number | undefined
}

/**
 * Tells who waits for tasks that one has changed. The bus brings the word; since it may lose one, the versions of all tasks that
 * are watched are read every few seconds, in one go, and every second while the bus is away. Who waits on the node that has a word
 * to send hears it in any case.
 */
export class TaskWatch {
  readonly #store: Pick<TaskStore, 'versions'>
  readonly #bus: EventBus
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #watched = new Map<string, Watched>()
  readonly #stop = new AbortController()
  #isLooking = false
  /** When the bus last failed, by the monotonic clock. */
  #failedMs = -Infinity
  /** Ends the wait for the next look. */
  #wait = new AbortController()

  constructor(store: Pick<TaskStore, 'versions'>, bus: EventBus, clock: Clock, onError: (error: unknown) => void) {
    this.#store = store
    this.#bus = bus
    this.#clock = clock
    this.#onError = onError
  }

  /** Says on every node that a task has changed. */
  tell(id: string): void {
    this.#bus.publish(taskChannel(id), Buffer.of(1)).catch((error: unknown) => {
      this.#failed(error)
      this.#tellHere(id)
    })
  }

  /** Says on every node how far a task is; only who watches it hears of it. */
  tellProgress(id: string, done: number, total: number | undefined, message: string | undefined): void {
    const progress = [done, total, message] as const
    this.#bus.publish(taskChannel(id), Buffer.from(JSON.stringify(progress))).catch((error: unknown) => {
      this.#failed(error)
      this.#tellProgressHere(id, ...progress)
    })
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
    const tell = (): void => this.#tellHere(id)
    const hear = (message: Uint8Array): void => {
      if (message.length === 1) return tell()
      const [done, total, text] = JSON.parse(Buffer.from(message).toString()) as [number, number?, string?]
      this.#tellProgressHere(id, done, total ?? undefined, text ?? undefined)
    }
    const unsubscribe = this.#bus.subscribe(taskChannel(id), hear, tell).catch((error: unknown) => {
      this.#failed(error)
      return undefined
    })
    const watched: Watched = { watchers: new Set(), unsubscribe, version: undefined }
    this.#watched.set(id, watched)
    return watched
  }

  #tellHere(id: string): void {
    for (const watcher of Array.from(this.#watched.get(id)?.watchers ?? [])) watcher.onChange()
  }

  #tellProgressHere(id: string, done: number, total: number | undefined, message: string | undefined): void {
    for (const { onProgress } of Array.from(this.#watched.get(id)?.watchers ?? [])) onProgress?.(done, total, message)
  }

  /** The looks go on; from now on there are more of them. */
  #failed(error: unknown): void {
    this.#onError(error)
    const nowMs = this.#clock.monotonic()
    if (nowMs - this.#failedMs > AWAY_MS) this.#wait.abort()
    this.#failedMs = nowMs
  }

  /** Nodes that lost the bus together should not look together. */
  async #untilNextLook(): Promise<void> {
    this.#wait = new AbortController()
    const isAway = this.#clock.monotonic() - this.#failedMs <= AWAY_MS
    const everyMs = isAway ? LOOK_AWAY_MS : LOOK_EVERY_MS
    try {
      const signal = AbortSignal.any([this.#stop.signal, this.#wait.signal])
      await this.#clock.sleep(everyMs * (0.75 + Math.random() / 2), signal)
    } catch {
      // closed; or the bus has gone away, and the wait is a shorter one
      if (!this.#stop.signal.aborted) await this.#untilNextLook()
    }
  }

  async #look(): Promise<void> {
    if (this.#isLooking) return
    this.#isLooking = true
    while (this.#watched.size > 0 && !this.#stop.signal.aborted) {
      await this.#untilNextLook()
      if (this.#stop.signal.aborted) break
      const ids = [...this.#watched.keys()]
      try {
        const versions = await this.#store.versions(ids)
        for (const [index, id] of ids.entries()) {
          const watched = this.#watched.get(id)
          if (watched === undefined) continue
          // What was read before the first look is not known here, so that look is always told of.
          const isNews = watched.version !== (versions[index] ?? -1)
          watched.version = versions[index] ?? -1
          if (isNews) this.#tellHere(id)
        }
      } catch (error) {
        this.#onError(error)
      }
    }
    this.#isLooking = false
  }
}

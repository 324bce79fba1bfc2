import type { Principal } from '../define/context.ts'
import type { KeyRing } from '../kernel/key-ring.ts'
import { TASK_EVENTS_CHANNEL } from '../kernel/keys.ts'
import type { TaskView } from '../kernel/task-engine.ts'
import type { EventBus, Unsubscribe } from '../ports/event-bus.ts'
import type { Task, TaskAdmin } from '../ports/task-store.ts'
import { openCaller } from './caller.ts'
import { toTaskInfo, type TaskInfo } from './task-info.ts'

/** A task that has changed, as it is now. */
export interface TaskEvent {
  readonly task: TaskInfo
  /** Whom it belongs to. */
  readonly principal: Principal
}

/** Changes go out together, at most so often: nobody may be listening. */
const GATHER_MS = 20
const IDS_PER_MESSAGE = 200
/** Tasks that a subscriber has yet to hear of. Beyond, it is told of a gap. */
const MAX_WAITING = 10_000
/** Tasks that are read at once. */
const READS = 8

/** Says on every node which tasks have changed, a few times a second. */
export class TaskAnnouncer {
  readonly #bus: EventBus
  readonly #onError: (error: unknown) => void
  readonly #changed = new Set<string>()
  #timer: NodeJS.Timeout | undefined

  constructor(bus: EventBus, onError: (error: unknown) => void) {
    this.#bus = bus
    this.#onError = onError
  }

  announce(id: string): void {
    this.#changed.add(id)
    this.#timer ??= setTimeout(() => void this.#flush(), GATHER_MS).unref()
  }

  /** Says what is left to say. */
  async close(): Promise<void> {
    clearTimeout(this.#timer)
    await this.#flush()
  }

  async #flush(): Promise<void> {
    this.#timer = undefined
    const ids = [...this.#changed]
    this.#changed.clear()
    for (let from = 0; from < ids.length; from += IDS_PER_MESSAGE) {
      const message = Buffer.from(JSON.stringify(ids.slice(from, from + IDS_PER_MESSAGE)))
      await this.#bus.publish(TASK_EVENTS_CHANNEL, message).catch(this.#onError)
    }
  }
}

/** What events are made of. */
export interface TaskEventParts {
  readonly bus: EventBus
  readonly store: Pick<TaskAdmin, 'find'>
  readonly keys: KeyRing
  readonly toView: (task: Task) => TaskView
  readonly onError: (message: string, error: unknown) => void
}

/**
 * Tells of every task that changes, on any node, until the returned function is called. The bus brings ids, the store says what
 * became of them: so an event is as new as it can be, states in between may be passed over, and one may come twice.
 *
 * @param onGap called whenever some may have been missed, at the start too
 */
export async function subscribeToTasks(
  { bus, store, keys, toView, onError }: TaskEventParts,
  onEvent: (event: TaskEvent) => void,
  onGap: () => void,
): Promise<Unsubscribe> {
  const waiting = new Set<string>()
  /** One task is read by one at a time: else an older state could be told of last. */
  const reading = new Set<string>()
  let isOver = false

  const read = async (id: string): Promise<void> => {
    reading.add(id)
    try {
      const task = await store.find(id)
      if (isOver || task === undefined) return
      onEvent({ task: toTaskInfo(toView(task)), principal: openCaller(keys, task.caller).principal })
    } catch (error) {
      onError('An event of a task was lost.', error)
      if (!isOver) onGap()
    } finally {
      reading.delete(id)
      next()
    }
  }
  const next = (): void => {
    for (const id of waiting) {
      if (isOver || reading.size >= READS) return
      if (reading.has(id)) continue
      waiting.delete(id)
      void read(id)
    }
  }
  const unsubscribe = await bus.subscribe(
    TASK_EVENTS_CHANNEL,
    (message) => {
      for (const id of JSON.parse(Buffer.from(message).toString()) as string[]) waiting.add(id)
      if (waiting.size > MAX_WAITING) {
        waiting.clear()
        onGap()
      }
      next()
    },
    onGap,
  )
  return async () => {
    isOver = true
    waiting.clear()
    await unsubscribe()
  }
}

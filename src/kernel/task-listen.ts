import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Invocation } from './invocation.ts'
import { META } from './protocol.ts'
import { mayUse } from './scopes.ts'
import type { TaskEngine, TaskView } from './task-engine.ts'
import { canBeAsked, requireTasks, toDetailedFields } from './task-methods.ts'

/** Tasks that one stream reads at once: after a gap of the bus all that it follows are read. */
const MAX_READS = 8
/** Before a task whose read failed is read again. */
const RETRY_MS = 2000

interface Followed {
  /** Of the state that was sent last. */
  version: number
  /** `undefined` before it is watched, and after. */
  unwatch: (() => void) | undefined
}

/**
 * The tasks that one `subscriptions/listen` follows (SEP-2663, "Task Status Notifications").
 *
 * 1. A task is told of whole, as `tasks/get` would tell it, and each version once; versions rise.
 * 2. Word of a change only has a task be read: what is sent is what the store says.
 * 3. A task whose open questions need more than the client declared is not told of while they are open; `tasks/get` says
 *    what is missing.
 * 4. After its end a task is not watched any more: nothing changes in it.
 */
export class FollowedTasks {
  readonly #invocation: Invocation
  readonly #engine: TaskEngine
  readonly #send: (notification: string) => void
  readonly #tasks: Map<string, Followed>
  readonly #unread = new Set<string>()
  readonly #failed = new Set<string>()
  #reads = 0
  #isClosed = false
  #retryMs = 0

  private constructor(
    invocation: Invocation,
    engine: TaskEngine,
    ids: readonly string[],
    send: (notification: string) => void,
  ) {
    this.#invocation = invocation
    this.#engine = engine
    this.#send = send
    this.#tasks = new Map(ids.map((id) => [id, { version: -1, unwatch: undefined }]))
  }

  /**
   * Finds those of the ids asked for that the caller may follow; `undefined` where none are asked for, or this server has
   * no tasks.
   * @throws {HoldfastError} `client_capability_missing`, `invalid_params`
   */
  static async find(
    invocation: Invocation,
    asked: unknown,
    send: (notification: string) => void,
  ): Promise<FollowedTasks | undefined> {
    const { facts, principal, services } = invocation
    const { catalog, options, tasks: engine } = services
    if (asked === undefined || engine === undefined) return undefined
    requireTasks(facts.client, 'To follow tasks')
    if (!(Array.isArray(asked) && asked.every((id): id is string => typeof id === 'string')))
      throw new HoldfastError('invalid_params', '`params.notifications.taskIds` must be an array of strings.')
    const ids = [...new Set(asked)]
    if (ids.length > options.maxSubscriptions)
      throw new HoldfastError(
        'invalid_params',
        `One stream may follow ${options.maxSubscriptions} tasks; this one names ${ids.length}.`,
      )
    const found = new Set<string>()
    let next = 0
    const look = async (): Promise<void> => {
      while (next < ids.length) {
        const id = ids[next++]!
        const view = await engine.get(id, principal)
        if (view !== undefined && mayUse(principal, catalog.tools.get(view.tool) ?? {})) found.add(id)
      }
    }
    try {
      await Promise.all(Array.from({ length: MAX_READS }, look))
    } finally {
      next = ids.length // where one failed, the others stop
    }
    return new FollowedTasks(
      invocation,
      engine,
      ids.filter((id) => found.has(id)),
      send,
    )
  }

  get ids(): readonly string[] {
    return [...this.#tasks.keys()]
  }

  /** Sends the present state of each, and from then on what becomes of it. */
  start(): void {
    for (const [id, followed] of this.#tasks) {
      followed.unwatch = this.#engine.watch(id, { onChange: () => this.#read(id) })
      this.#read(id)
    }
  }

  /** Sends the present states again: the client may have missed some. */
  resend(): void {
    for (const [id, followed] of this.#tasks) {
      followed.version = -1
      this.#read(id)
    }
  }

  tick(nowMs: number): void {
    if (this.#failed.size === 0 || nowMs < this.#retryMs) return
    this.#retryMs = nowMs + RETRY_MS
    const failed = [...this.#failed]
    this.#failed.clear()
    for (const id of failed) this.#read(id)
  }

  close(): void {
    this.#isClosed = true
    this.#unread.clear()
    for (const followed of this.#tasks.values()) stopWatching(followed)
  }

  #read(id: string): void {
    if (this.#isClosed) return
    this.#unread.add(id)
    if (this.#reads < MAX_READS) void this.#readAll()
  }

  async #readAll(): Promise<void> {
    this.#reads++
    for (const id of this.#unread) {
      this.#unread.delete(id)
      try {
        const view = await this.#engine.get(id, this.#invocation.principal)
        if (this.#isClosed) break
        this.#tell(id, view)
      } catch {
        this.#invocation.services.telemetry.count('degraded', 'task_listen')
        this.#failed.add(id)
      }
    }
    this.#reads--
  }

  #tell(id: string, view: TaskView | undefined): void {
    const followed = this.#tasks.get(id)
    if (followed === undefined) return
    if (view === undefined) {
      // Its time is over; it was told of its end before.
      stopWatching(followed)
      this.#tasks.delete(id)
      return
    }
    if (view.version <= followed.version) return
    followed.version = view.version
    const { facts } = this.#invocation
    if (canBeAsked(facts.client, view)) {
      const meta = JSON.stringify({ [META.subscriptionId]: facts.rpcId })
      this.#send(
        `{"jsonrpc":"2.0","method":"notifications/tasks","params":{${toDetailedFields(view)},"_meta":${meta}}}`,
      )
    }
    if (ENDED.has(view.status)) stopWatching(followed)
  }
}

const ENDED: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled'])

function stopWatching(followed: Followed): void {
  followed.unwatch?.()
  followed.unwatch = undefined
}

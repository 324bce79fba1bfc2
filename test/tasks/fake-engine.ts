import type { Principal } from '../../src/define/context.ts'
import { HoldfastError } from '../../src/errors/holdfast-error.ts'
import { ownerOf } from '../../src/kernel/owner.ts'
import type { TaskEngine, TaskStart, TaskView, TaskWatcher } from '../../src/kernel/task-engine.ts'

/** An engine that runs nothing: the test says what becomes of a task, and what watchers hear of it. */
export class FakeEngine implements TaskEngine {
  readonly #tasks = new Map<string, { owner: string; view: TaskView }>()
  readonly #watchers = new Map<string, Set<TaskWatcher>>()
  readonly started: TaskStart[] = []
  readonly answered: { id: string; answers: Readonly<Record<string, unknown>> }[] = []
  /** Calls {@link change} as a real engine would: with the answer to the last question a task goes on. */
  goesOn = false
  /** Ids that were looked up. */
  readonly looked: string[] = []
  /** How many keep each task alive. */
  readonly attended = new Map<string, number>()
  readonly cancelled: string[] = []
  isDown = false
  /** Most reads that ran at the same time. */
  peak = 0
  #reading = 0
  #counter = 0

  put(principal: Principal, view: Partial<TaskView> = {}): string {
    const id = view.id ?? `task-${++this.#counter}`
    const full: TaskView = {
      id,
      tool: 'job',
      status: 'working',
      statusMessage: undefined,
      createdMs: Date.UTC(2026, 0, 2, 3, 4, 5),
      updatedMs: Date.UTC(2026, 0, 2, 3, 4, 6),
      ttlMs: 60_000,
      version: 1,
      requests: new Map(),
      result: undefined,
      error: undefined,
      ...view,
    }
    this.#tasks.set(id, { owner: ownerOf(principal), view: full })
    return id
  }

  /** Changes a task, and tells of it as often as `times` says. */
  change(id: string, patch: Partial<TaskView>, times = 1): void {
    const task = this.#tasks.get(id)!
    task.view = { ...task.view, version: task.view.version + 1, ...patch }
    for (let time = 0; time < times; time++) this.tell(id)
  }

  tell(id: string): void {
    for (const { onChange } of Array.from(this.#watchers.get(id) ?? [])) onChange()
  }

  /** Tells how far a task is. */
  progress(id: string, done: number): void {
    for (const { onProgress } of Array.from(this.#watchers.get(id) ?? [])) onProgress?.(done, 10, undefined)
  }

  forget(id: string): void {
    this.#tasks.delete(id)
  }

  watched(id: string): number {
    return this.#watchers.get(id)?.size ?? 0
  }

  async start(start: TaskStart): Promise<TaskView> {
    this.started.push(start)
    const id = this.put(start.caller.principal, { tool: start.tool.name })
    return this.#tasks.get(id)!.view
  }

  async get(id: string, principal: Principal): Promise<TaskView | undefined> {
    this.looked.push(id)
    this.peak = Math.max(this.peak, ++this.#reading)
    await new Promise((resolve) => setImmediate(resolve))
    this.#reading--
    this.#checkUp()
    const task = this.#tasks.get(id)
    return task?.owner === ownerOf(principal) ? task.view : undefined
  }

  async answer(id: string, principal: Principal, answers: Readonly<Record<string, unknown>>): Promise<boolean> {
    if ((await this.get(id, principal)) === undefined) return false
    this.answered.push({ id, answers })
    if (this.goesOn) this.change(id, { status: 'working', requests: new Map() })
    return true
  }

  async cancel(id: string, principal: Principal): Promise<boolean> {
    const view = await this.get(id, principal)
    if (view === undefined) return false
    this.cancelled.push(id)
    if (['working', 'input_required'].includes(view.status))
      this.change(id, { status: 'cancelled', requests: new Map() })
    return true
  }

  watch(id: string, watcher: TaskWatcher): () => void {
    const watchers = this.#watchers.get(id) ?? new Set()
    this.#watchers.set(id, watchers)
    watchers.add(watcher)
    return () => watchers.delete(watcher)
  }

  attend(id: string): () => void {
    this.attended.set(id, (this.attended.get(id) ?? 0) + 1)
    return () => this.attended.set(id, this.attended.get(id)! - 1)
  }

  #checkUp(): void {
    if (this.isDown) throw new HoldfastError('backend_failed', 'connect ECONNREFUSED 10.0.0.7:5432')
  }
}

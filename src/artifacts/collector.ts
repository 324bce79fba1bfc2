import type { ListedArtifact } from '../ports/artifact-store.ts'
import type { Clock } from '../ports/clock.ts'
import type { StateStore } from '../ports/state-store.ts'
import type { TaskAdmin, TaskStore } from '../ports/task-store.ts'
import type { Telemetry } from '../ports/telemetry.ts'
import type { Artifacts } from './artifacts.ts'
import type { KeyFacts } from './keys.ts'

/** What a collector works with. */
export interface CollectorParts {
  readonly artifacts: Artifacts
  /** Where tasks are on record, and how long an attempt at one can last; `undefined`: nothing here runs as a task. */
  readonly tasks:
    | {
        readonly store: Pick<TaskStore, 'get'> & Pick<TaskAdmin, 'namedArtifacts'>
        readonly longestAttemptMs: number
      }
    | undefined
  /** How long what a call wrote is kept. */
  readonly callTtlMs: number
  readonly state: Pick<StateStore, 'acquire' | 'release'>
  readonly clock: Clock
  readonly telemetry: Pick<Telemetry, 'count' | 'failure'>
}

const HOUR_MS = 3_600_000
/** Between two runs, more or less. */
const EVERY_MS = HOUR_MS
/** Clocks differ, and a write takes its time. */
const MARGIN_MS = HOUR_MS
/** No upload lasts longer, but those of attempts that may. */
const LONGEST_UPLOAD_MS = 24 * HOUR_MS
const LOCK = 'artifacts:collector'
const LOCK_MS = 10 * 60_000

/**
 * Deletes what nobody needs any more. Any number may run; a lock keeps them from doing the same work twice, and nothing rests
 * on it.
 *
 * 1. What a call wrote goes when it is old.
 * 2. What an attempt at a task wrote goes when it is older than the longest attempt, and no record of the task names it:
 *    a step, or the result. A task that is gone names nothing.
 * 3. But never while the attempt that wrote it still has the task: a record of it may be on its way.
 * 4. Where the task store does not answer nothing of tasks goes; and what has a key of another make, or of a ring that was
 *    thrown away, is left alone.
 */
export class Collector {
  readonly #parts: CollectorParts
  readonly #stop = new AbortController()
  #running: Promise<void> | undefined

  constructor(parts: CollectorParts) {
    this.#parts = parts
  }

  /** Begins to look about once an hour; called when this process has come to use artifacts at all. May be called again. */
  start(): void {
    this.#running ??= this.#run()
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { clock, state, telemetry } = this.#parts
    for (;;) {
      try {
        // Not all nodes at once.
        await clock.sleep(EVERY_MS * (0.5 + Math.random()), this.#stop.signal)
      } catch {
        return // stopped
      }
      try {
        const token = await state.acquire(LOCK, LOCK_MS)
        if (token === undefined) continue
        await this.collect()
        await state.release(LOCK, token)
      } catch (error) {
        telemetry.failure(undefined, 'Artifacts that nobody needs could not be collected.', error)
      }
    }
  }

  /** Goes through all artifacts once; resolves to how many were deleted. */
  async collect(): Promise<number> {
    const { artifacts, tasks, telemetry } = this.#parts
    const store = await artifacts.store()
    let count = 0
    let cursor: string | undefined
    do {
      const page = await store.list('', cursor)
      const orphans = await this.#orphansAmong(page.objects)
      if (orphans.length > 0) await store.delete(orphans)
      for (const _ of orphans) telemetry.count('artifacts', 'collected')
      count += orphans.length
      cursor = page.cursor
    } while (cursor !== undefined && !this.#stop.signal.aborted)
    await store.clearUploads(Math.max(LONGEST_UPLOAD_MS, tasks?.longestAttemptMs ?? 0) + MARGIN_MS)
    return count
  }

  async #orphansAmong(objects: readonly ListedArtifact[]): Promise<string[]> {
    const { artifacts, tasks, callTtlMs, clock } = this.#parts
    const nowMs = clock.now()
    const old: (KeyFacts & { readonly key: string })[] = []
    for (const { key, writtenMs } of objects) {
      const facts = artifacts.factsOf(key)
      if (facts === undefined || (facts.taskId !== undefined && tasks === undefined)) continue
      const keptMs = facts.taskId === undefined ? callTtlMs : tasks!.longestAttemptMs + MARGIN_MS
      if (nowMs - writtenMs > keptMs) old.push({ ...facts, key })
    }
    const ids = [...new Set(old.flatMap(({ taskId }) => taskId ?? []))]
    const named = new Set(ids.length === 0 ? [] : await tasks!.store.namedArtifacts(ids))
    const orphans: string[] = []
    for (const { key, owner, taskId, fence } of old) {
      if (named.has(key)) continue
      const task = taskId === undefined ? undefined : await tasks!.store.get(taskId, owner)
      if (task?.state !== 'leased' || task.fence !== fence) orphans.push(key)
    }
    return orphans
  }
}

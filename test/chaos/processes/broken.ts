// Builds that are broken on purpose, in one place each: a run that does not find them proves nothing.
import type { TaskStore } from '../../../src/ports/task-store.ts'
import { other } from './other.ts'

/** What each lacks. */
export const BROKEN = {
  'no-fence': 'writes of workers count whoever holds the task, and nobody tells them that they have lost it',
  'ack-before-commit': 'a creation is answered before it is committed',
  'no-sweeper': 'nobody looks for what time has made due',
  'lease-not-renewed': 'leases run out under workers that are well',
} as const
/** Name of a broken build. */
export type BrokenBuild = keyof typeof BROKEN

/** A creation is on its way for so long after it was answered. */
const COMMIT_AFTER_MS = 1500

/** Stands between a process and its store. */
export function broken<Store extends TaskStore>(build: BrokenBuild, store: Store): Store {
  return other(store, CHANGES[build](store) as Partial<Store>)
}

const CHANGES: Readonly<Record<BrokenBuild, (store: TaskStore) => Partial<TaskStore>>> = {
  'no-fence'(store) {
    const owners = new Map<string, string>()
    /** The fence that the task has now, in place of the one that the caller was given. */
    const present = async (id: string, fence: number): Promise<number> =>
      (await store.get(id, owners.get(id)!))?.fence ?? fence
    return {
      async claim(request) {
        const claimed = await store.claim(request)
        for (const { id, owner } of claimed) owners.set(id, owner)
        return claimed
      },
      async heartbeat(worker, leases, leaseMs) {
        const asked = await Promise.all(
          leases.map(async (lease) => ({ ...lease, fence: await present(lease.id, lease.fence) })),
        )
        const alive = await store.heartbeat(worker, asked, leaseMs)
        return leases.flatMap(({ id, fence }) => alive.filter((one) => one.id === id).map((one) => ({ ...one, fence })))
      },
      recordStep: async (step) => store.recordStep({ ...step, fence: await present(step.id, step.fence) }),
      park: async (id, fence, until) => store.park(id, await present(id, fence), until),
      retry: async (id, fence, ...more) => store.retry(id, await present(id, fence), ...more),
      finish: async (ends) =>
        store.finish(await Promise.all(ends.map(async (end) => ({ ...end, fence: await present(end.id, end.fence) })))),
    }
  },
  'ack-before-commit': (store) => ({
    async create(task) {
      setTimeout(() => void store.create(task).catch(() => undefined), COMMIT_AFTER_MS)
      const nowMs = Date.now()
      const { id, owner, tool, queue, argsDigest, caller } = task
      const fresh = { state: 'ready', version: 1, fence: 0, attempts: 0, crashes: 0, asks: [] } as const
      const unset = { statusMessage: undefined, doneFence: undefined, expiresMs: undefined, result: undefined } as const
      const times = { createdMs: nowMs, updatedMs: nowMs, error: undefined, dead: undefined } as const
      return { created: true, task: { id, owner, tool, queue, argsDigest, caller, ...fresh, ...unset, ...times } }
    },
  }),
  'no-sweeper': () => ({
    sweep: async () => ({ woken: 0, expired: 0, lost: 0, purged: 0, rings: [], changed: [] }),
  }),
  'lease-not-renewed': () => ({
    heartbeat: async (_worker, leases) => leases.map(({ id, fence }) => ({ id, fence, cancel: false })),
  }),
}

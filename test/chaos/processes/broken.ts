// Builds that are broken on purpose, in one place each: a run that does not find them proves nothing.
import type { TaskStore } from '../../../src/ports/task-store.ts'

/** What each lacks. */
export const BROKEN = {
  'no-fence': 'writes of workers count whoever holds the task',
  'ack-before-commit': 'a creation is answered before it is committed',
  'no-sweeper': 'nobody looks for what time has made due',
  'lease-not-renewed': 'leases run out under workers that are well',
} as const
/** Name of a broken build. */
export type BrokenBuild = keyof typeof BROKEN

/** A creation is on its way for so long after it was answered. */
const COMMIT_AFTER_MS = 1500

/** Stands between a process and its store; owners are needed to look up a task's present fence. */
export function broken(
  build: BrokenBuild | undefined,
  store: TaskStore,
  ownerOf: (id: string) => string | undefined,
): TaskStore {
  const other = (changed: Partial<TaskStore>): TaskStore =>
    new Proxy(store, {
      get(target, name) {
        const method = changed[name as keyof TaskStore] ?? (target[name as keyof TaskStore] as unknown)
        return typeof method === 'function' ? (method.bind(target) as unknown) : method
      },
    })
  /** The fence that the task has now, in place of the one that the caller was given. */
  const present = async (id: string, fence: number): Promise<number> =>
    (await store.get(id, ownerOf(id) ?? ''))?.fence ?? fence
  switch (build) {
    case undefined:
      return store
    case 'no-fence':
      return other({
        async heartbeat(worker, leases, leaseMs) {
          const asked = await Promise.all(
            leases.map(async (lease) => ({ ...lease, fence: await present(lease.id, lease.fence) })),
          )
          const alive = await store.heartbeat(worker, asked, leaseMs)
          return leases.flatMap(({ id, fence }) =>
            alive.filter((one) => one.id === id).map((one) => ({ ...one, fence })),
          )
        },
        recordStep: async (step) => store.recordStep({ ...step, fence: await present(step.id, step.fence) }),
        park: async (id, fence, until) => store.park(id, await present(id, fence), until),
        retry: async (id, fence, ...more) => store.retry(id, await present(id, fence), ...more),
        finish: async (ends) =>
          store.finish(
            await Promise.all(ends.map(async (end) => ({ ...end, fence: await present(end.id, end.fence) }))),
          ),
      })
    case 'ack-before-commit':
      return other({
        async create(task) {
          const nowMs = Date.now()
          setTimeout(() => store.create(task).catch(() => undefined), COMMIT_AFTER_MS)
          return {
            created: true,
            task: {
              id: task.id,
              owner: task.owner,
              tool: task.tool,
              queue: task.queue,
              state: 'ready',
              version: 1,
              statusMessage: undefined,
              fence: 0,
              doneFence: undefined,
              attempts: 0,
              crashes: 0,
              createdMs: nowMs,
              updatedMs: nowMs,
              expiresMs: undefined,
              argsDigest: task.argsDigest,
              asks: [],
              result: undefined,
              error: undefined,
              dead: undefined,
              caller: task.caller,
            },
          }
        },
      })
    case 'no-sweeper':
      return other({ sweep: async () => ({ woken: 0, expired: 0, lost: 0, purged: 0, rings: [], changed: [] }) })
    case 'lease-not-renewed':
      return other({
        heartbeat: async (_worker, leases) => leases.map(({ id, fence }) => ({ id, fence, cancel: false })),
      })
  }
}

/** Tasks as a store holds them, for what is measured of a store alone. */
import { randomBytes, randomUUID } from 'node:crypto'
import type { ClaimedTask, NewTask, TaskStore } from '../../src/ports/task-store.ts'

const args = randomBytes(200)
const caller = randomBytes(300)
const result = randomBytes(200)
const inOneClaim = 500

/** A task of an owner of its own. */
export const newTask = (more: Partial<NewTask> = {}): NewTask => ({
  id: randomUUID(),
  owner: randomUUID(),
  tool: 'noop',
  queue: 'default',
  maxAttempts: 3,
  maxCrashes: 3,
  failsWhenLost: false,
  ttlMs: undefined,
  retentionMs: 3_600_000,
  argsDigest: args.subarray(0, 32),
  args,
  caller,
  ...more,
})

/** Claims for an hour. */
export const claim = (store: TaskStore, limit: number, queue = 'default'): Promise<readonly ClaimedTask[]> =>
  store.claim({
    worker: 'bench',
    token: randomUUID(),
    queue,
    tools: ['noop'],
    handlerRevisions: [],
    limit,
    leaseMs: 3_600_000,
  })

/** Completes. */
export const finish = (store: TaskStore, tasks: readonly ClaimedTask[]): Promise<unknown> =>
  store.finish(tasks.map(({ id, fence }) => ({ id, fence, state: 'completed', result })))

/** So many tasks in a queue, a third each ready, waiting and ended. @param together creations at once */
export async function fill(store: TaskStore, queue: string, rows: number, together = 1000): Promise<void> {
  const add = async (count: number, more: Partial<NewTask>): Promise<void> => {
    for (let left = count; left > 0; left -= together)
      await Promise.all(
        Array.from({ length: Math.min(together, left) }, () => store.create(newTask({ queue, ...more }))),
      )
  }
  const third = Math.floor(rows / 3)
  await add(third, {})
  for (
    let tasks = await claim(store, inOneClaim, queue);
    tasks.length > 0;
    tasks = await claim(store, inOneClaim, queue)
  )
    await finish(store, tasks)
  await add(third, { delayMs: 3_600_000 })
  await add(third, {})
}

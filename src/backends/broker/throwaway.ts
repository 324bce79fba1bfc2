import { randomBytes } from 'node:crypto'
import type { TaskQueue } from '../../ports/task-queue.ts'

/** Queues on a broker that are there for a while, under names of their own. */
export interface ThrowawayQueues extends AsyncDisposable {
  readonly url: string
  open(): Promise<TaskQueue>
}

/** Deliveries of a bell in a throwaway: tests wait for them. */
export const THROWAWAY_DELIVERIES = 3

/** What begins the names of a throwaway. */
export const throwawayName = (): string => `verify-${randomBytes(4).toString('hex')}`

/**
 * Remembers what is declared, so that it can be removed.
 * @param remove the queues of these names, and what was declared beside them
 */
export function throwawayQueues(
  url: string,
  open: (url: string) => Promise<TaskQueue>,
  remove: (url: string, queues: readonly string[]) => Promise<void>,
): ThrowawayQueues {
  const declared = new Set<string>()
  return {
    url,
    async open() {
      const queue = await open(url)
      return {
        ensureTopology(queues) {
          for (const name of queues) declared.add(name)
          return queue.ensureTopology(queues)
        },
        ring: (name, taskIds) => queue.ring(name, taskIds),
        listen: (queues, onRing, options) => queue.listen(queues, onRing, options),
        depth: (name) => queue.depth(name),
        close: () => queue.close(),
      }
    },
    [Symbol.asyncDispose]: () => remove(url, [...declared]),
  }
}

import { LoopLeaseKeeper, type LeaseKeeper } from '../tasks/lease-keeper.ts'
import { ThreadLeaseKeeper, type ThreadKeeperParts } from '../tasks/thread-lease-keeper.ts'
import { isSharedTaskUrl } from './task-store.ts'

/** Beside this file; once built, in a folder beside that of the chunks. */
const ENTRY = new URL(import.meta.url.endsWith('.ts') ? './lease-thread.ts' : '../threads/leases.js', import.meta.url)

/** What keeps the leases of a worker is made of. */
export interface LeaseKeeperOptions extends Omit<ThreadKeeperParts, 'entry' | 'url'> {
  /** `undefined`: the store was given as an instance, which no other thread can reach. */
  readonly url: string | undefined
}

/**
 * Keeps the leases of a worker from a thread with a connection of its own. From the worker's own event loop where no thread can
 * reach the store (`sqlite::memory:`, an instance): there a loop that is blocked for longer than the lease loses its tasks.
 * @throws {HoldfastError} where the thread can't open the store.
 */
export async function openLeaseKeeper({ url, ...parts }: LeaseKeeperOptions): Promise<LeaseKeeper> {
  if (url === undefined || !isSharedTaskUrl(url)) return new LoopLeaseKeeper(parts)
  return ThreadLeaseKeeper.open({ ...parts, url, entry: ENTRY })
}

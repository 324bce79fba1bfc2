// Takes the place of what the runtime opens its tasks with, in the processes of a run: see member.ts.
import * as keepers from '../../../src/compose/lease-keeper.ts'
import * as queues from '../../../src/compose/task-queue.ts'
import * as stores from '../../../src/compose/task-store.ts'
import { broken } from './broken.ts'
import { other } from './other.ts'
import { recordQueue, recordStore } from './recorded.ts'
import { crash, history, holdings, settings } from './this-process.ts'

export * from '../../../src/compose/lease-keeper.ts'
export * from '../../../src/compose/task-queue.ts'
export * from '../../../src/compose/task-store.ts'

export const openTaskStore: typeof stores.openTaskStore = async (url, clock) => {
  const store = await stores.openTaskStore(url, clock)
  return recordStore(settings.build === undefined ? store : broken(settings.build, store), history, crash, holdings)
}

export const openTaskQueue: typeof queues.openTaskQueue = async (...args) =>
  recordQueue(await queues.openTaskQueue(...args), crash)

/** A thread with a store of its own would not meet what is broken in this one; and who has no fence is told of no loss. */
export const openLeaseKeeper: typeof keepers.openLeaseKeeper = async (options) => {
  if (settings.build === undefined) return keepers.openLeaseKeeper(options)
  const keeper = await keepers.openLeaseKeeper({ ...options, url: undefined })
  if (settings.build !== 'no-fence') return keeper
  return other(keeper, {
    hold: (leases, sentMs) =>
      keeper.hold(
        leases.map((held) => ({ ...held, onLoss: (loss) => loss === 'cancelled' && held.onLoss(loss) })),
        sentMs,
      ),
  })
}

// Takes the place of what the runtime opens its task store and keeps its leases with, in the processes of a run: see member.ts.
import * as keepers from '../../../src/compose/lease-keeper.ts'
import * as stores from '../../../src/compose/task-store.ts'
import { broken } from './broken.ts'
import { recordStore } from './recorded.ts'
import { crash, history, holdings, settings } from './this-process.ts'

export * from '../../../src/compose/task-store.ts'

export const openTaskStore: typeof stores.openTaskStore = async (url, clock) => {
  const store = await stores.openTaskStore(url, clock)
  return recordStore(settings.build === undefined ? store : broken(settings.build, store), history, crash, holdings)
}

/** A thread with a store of its own would not meet what is broken in this one. */
export const openLeaseKeeper: typeof keepers.openLeaseKeeper = (options) =>
  keepers.openLeaseKeeper(settings.build === undefined ? options : { ...options, url: undefined })

// A thread of leases that dies of its second renewal, as one would that runs out of memory.
import { parentPort, workerData } from 'node:worker_threads'
import { openTaskStore } from '../../src/compose/task-store.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { serveLeases, type LeaseThreadData } from '../../src/tasks/lease-thread.ts'

await serveLeases(parentPort!, workerData as LeaseThreadData, async (url) => {
  const store = await openTaskStore(url, systemClock)
  let renewals = 0
  return {
    heartbeat: (...args) => (++renewals === 2 ? process.exit(7) : store.heartbeat(...args)),
    close: () => store.close(),
  }
})

import { afterEach, beforeEach, describe, test } from 'vitest'
import { MemoryTaskQueue } from '../../src/backends/memory/task-queue.ts'
import { taskQueueContract } from '../../src/testing/contracts/task-queue.ts'

taskQueueContract({ describe, test, beforeEach, afterEach }, 'memory', async () => {
  const queue = new MemoryTaskQueue(() => undefined, { maxDeliveries: 3 })
  return { here: queue, there: queue, maxDeliveries: 3 }
})

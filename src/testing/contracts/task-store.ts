import type { TestRunner } from './suite.ts'
import { TaskBench, type TaskStoreFixture } from './task-bench.ts'
import { taskStoreClaims } from './task-store-claims.ts'
import { taskStoreHostile } from './task-store-hostile.ts'
import { taskStoreJournal } from './task-store-journal.ts'
import { taskStoreModel } from './task-store-model.ts'
import { taskStoreReads } from './task-store-reads.ts'
import { taskStoreTurns } from './task-store-turns.ts'
import { taskStoreUpkeep } from './task-store-upkeep.ts'
import { taskStoreWaits } from './task-store-waits.ts'

/** What every `TaskStore` must do. Queues and owners are unique to each test, so that a shared server may be used. */
export function taskStoreContract(runner: TestRunner, name: string, create: () => Promise<TaskStoreFixture>): void {
  const { describe, test, beforeEach, afterEach } = runner
  describe(`task store contract: ${name}`, () => {
    let current: TaskBench
    beforeEach(async () => void (current = new TaskBench(await create())))
    afterEach(() => current.store.close())

    const bench = (): TaskBench => current
    taskStoreClaims(test, bench)
    taskStoreJournal(test, bench)
    taskStoreUpkeep(test, bench)
    taskStoreReads(test, bench)
    taskStoreTurns(test, bench)
    taskStoreWaits(test, bench)
    taskStoreHostile(test, bench)
    taskStoreModel(test, bench)

    test('closing twice is closing once', async () => {
      const { store } = bench()
      await store.close()
      await store.close()
    })
  })
}

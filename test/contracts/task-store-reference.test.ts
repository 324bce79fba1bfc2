import { afterEach, beforeEach, describe, test } from 'vitest'
import { taskStoreFaultContract } from '../../src/testing/contracts/task-store-faults.ts'
import { taskStoreContract } from '../../src/testing/contracts/task-store.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { ReferenceTaskStore } from '../../src/testing/reference-task-store.ts'

const runner = { describe, test, beforeEach, afterEach }

taskStoreContract(runner, 'reference', async () => {
  const clock = new FakeClock()
  return { store: new ReferenceTaskStore(clock), pass: (ms) => clock.advance(ms) }
})
taskStoreFaultContract(runner, 'reference', async () => {
  const clock = new FakeClock()
  return { store: new ReferenceTaskStore(clock), pass: (ms) => clock.advance(ms) }
})

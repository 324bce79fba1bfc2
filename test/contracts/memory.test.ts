import { afterEach, beforeEach, describe, test } from 'vitest'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { eventBusContract, FakeClock, stateStoreContract } from '../../src/testing/index.ts'

const runner = { describe, test, beforeEach, afterEach }

stateStoreContract(runner, 'memory', async () => {
  const clock = new FakeClock()
  return { store: new MemoryStateStore(clock), pass: (ms) => clock.advance(ms) }
})

eventBusContract(runner, 'memory', async () => {
  const bus = new MemoryEventBus()
  return { here: bus, there: bus }
})

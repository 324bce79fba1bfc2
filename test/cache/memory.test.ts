import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { cacheContract } from './contract.ts'

cacheContract('memory', async () => ({
  state: new MemoryStateStore(new FakeClock()),
  bus: new MemoryEventBus(),
  close: async () => undefined,
}))

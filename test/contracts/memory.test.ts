import { afterEach, beforeEach, describe, test } from 'vitest'
import { MemoryArtifactStore } from '../../src/backends/memory/artifact-store.ts'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { systemClock } from '../../src/ports/clock.ts'
import {
  artifactStoreContract,
  artifactStoreFaultContract,
  eventBusContract,
  eventBusFaultContract,
  FakeClock,
  FaultyEventBus,
  FaultyStateStore,
  seededFaults,
  stateStoreContract,
  stateStoreFaultContract,
  type ArtifactStoreFixture,
  type EventBusFixture,
  type StateStoreFixture,
} from '../../src/testing/index.ts'

const runner = { describe, test, beforeEach, afterEach }

const store = async (): Promise<StateStoreFixture> => {
  const clock = new FakeClock()
  return { store: new MemoryStateStore(clock), pass: (ms) => clock.advance(ms) }
}
const buses = async (): Promise<EventBusFixture> => {
  const bus = new MemoryEventBus()
  return { here: bus, there: bus }
}
const artifacts = async (): Promise<ArtifactStoreFixture> => {
  const store = new MemoryArtifactStore(systemClock)
  return { store, there: store }
}
const late = [{ delayMs: 0 }, { delayMs: 1 }, { delayMs: 3 }]

stateStoreContract(runner, 'memory', store)
stateStoreFaultContract(runner, 'memory', store)
stateStoreContract(runner, 'memory, late at random', async () => {
  const { store: inner, pass } = await store()
  return { store: new FaultyStateStore(inner, seededFaults(1, 0.5, late)), pass }
})
eventBusContract(runner, 'memory', buses)
eventBusFaultContract(runner, 'memory', buses)
eventBusContract(runner, 'memory, without faults behind the decorator', async () => {
  const bus = new FaultyEventBus(new MemoryEventBus())
  return { here: bus, there: bus }
})
artifactStoreContract(runner, 'memory', artifacts)
artifactStoreFaultContract(runner, 'memory', artifacts)

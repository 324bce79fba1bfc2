import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { FakeClock, FaultyEventBus, FaultyStateStore, type OperationFault } from '../../src/testing/index.ts'
import { TestNode, type Shared } from './nodes.ts'

/** Nodes that share a store, and a clock of their own. Keys are unique to each test. */
export interface Setting extends AsyncDisposable {
  readonly clock: FakeClock
  readonly nodes: readonly [TestNode, TestNode, TestNode]
  readonly one: TestNode
  readonly two: TestNode
  /** What goes wrong with operations of the store, and with messages, from now on. */
  readonly faults: { fault: OperationFault | undefined; isMute: boolean }
}

/** Opens what nodes share. */
export type OpenShared = () => Promise<Shared & { close(): Promise<void> }>

/** @param open a store and a bus of real make; called once. */
export async function openSetting(open: OpenShared): Promise<Setting> {
  const shared = await open()
  const clock = new FakeClock()
  const server = `cache-${randomUUID()}`
  const faults: { fault: OperationFault | undefined; isMute: boolean } = { fault: undefined, isMute: false }
  const faulty: Shared = {
    state: new FaultyStateStore(shared.state, () => faults.fault, clock),
    bus: new FaultyEventBus(shared.bus, () => (faults.isMute ? 'drop' : undefined), clock),
  }
  const start = (): Promise<TestNode> => TestNode.start(faulty, { clock, server })
  const nodes = await Promise.all([start(), start(), start()] as const)
  return {
    clock,
    nodes,
    one: nodes[0],
    two: nodes[1],
    faults,
    async [Symbol.asyncDispose]() {
      faults.fault = undefined
      await Promise.all(nodes.map(({ cache }) => cache.close()))
      await shared.close()
    },
  }
}

/** Lets waits pass until something has happened: far more of them than it takes, since a real store answers in its own time. */
export const until = async (clock: FakeClock, done: () => boolean): Promise<void> => {
  for (let passedMs = 0; !done(); passedMs += 50) {
    expect(passedMs, 'waited for too long').toBeLessThanOrEqual(100_000)
    await clock.advance(50)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

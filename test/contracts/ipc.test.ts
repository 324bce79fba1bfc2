import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { IpcChannel, type IpcPort } from '../../src/backends/ipc/channel.ts'
import { IpcEventBus } from '../../src/backends/ipc/event-bus.ts'
import { serveState } from '../../src/backends/ipc/primary.ts'
import { IpcStateStore } from '../../src/backends/ipc/state-store.ts'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import {
  eventBusContract,
  eventBusFaultContract,
  FakeClock,
  stateStoreContract,
  stateStoreFaultContract,
  type EventBusFixture,
  type StateStoreFixture,
} from '../../src/testing/index.ts'

const runner = { describe, test, beforeEach, afterEach }
const toPort = (port: MessagePort): IpcPort => ({
  send: (message) => port.postMessage(message),
  onMessage: (listener) => port.on('message', listener),
  onClose: (listener) => port.on('close', listener),
})

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** A worker's end of a channel whose other end serves the given store and bus. */
function worker(state: MemoryStateStore, bus: MemoryEventBus): { store: IpcStateStore; bus: IpcEventBus } {
  const { port1, port2 } = new MessageChannel()
  const served = serveState(toPort(port1), state, bus)
  const workerBus: IpcEventBus = new IpcEventBus(() => channel)
  const channel = new IpcChannel(toPort(port2), { message: workerBus.deliver })
  ends.push(() => {
    void served.drop()
    port2.close()
  })
  return { store: new IpcStateStore(channel), bus: workerBus }
}

const store = async (): Promise<StateStoreFixture> => {
  const clock = new FakeClock()
  return { store: worker(new MemoryStateStore(clock), new MemoryEventBus()).store, pass: (ms) => clock.advance(ms) }
}
const buses = async (): Promise<EventBusFixture> => {
  const state = new MemoryStateStore(new FakeClock())
  const bus = new MemoryEventBus()
  return { here: worker(state, bus).bus, there: worker(state, bus).bus }
}
stateStoreContract(runner, 'ipc', store)
stateStoreFaultContract(runner, 'ipc', store)
eventBusContract(runner, 'ipc', buses)
eventBusFaultContract(runner, 'ipc', buses)

test('a call whose other end goes away is rejected, not left waiting', async () => {
  const { port1, port2 } = new MessageChannel()
  const channel = new IpcChannel(toPort(port2), {})
  const call = channel.call('getMany', ['a'])
  port1.close()
  await expect(call).rejects.toMatchObject({ code: 'backend_failed' })
  await expect(channel.call('getMany', ['a'])).rejects.toMatchObject({ code: 'backend_failed' })
})

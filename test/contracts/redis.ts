import { afterEach, beforeEach, describe, test } from 'vitest'
import { openRedis, type RedisBackends, type RedisEvents } from '../../src/backends/redis/open.ts'
import {
  eventBusContract,
  eventBusFaultContract,
  stateStoreContract,
  stateStoreFaultContract,
  type EventBusFixture,
  type StateStoreFixture,
} from '../../src/testing/index.ts'
import { sharedServer } from '../servers/shared.ts'

type SharedName = Parameters<typeof sharedServer>[0]

const runner = { describe, test, beforeEach, afterEach }
const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
/** In these tests nothing is ever lost. */
const steady: RedisEvents = {
  onUp() {},
  onDown(error) {
    throw error
  },
}

/** A URL for one run: keys of its own, and the authority of a server with TLS. */
export function withOptions({ url, caFile }: { url: string; caFile?: string }, prefix: string): string {
  const separator = url.includes('?') ? '&' : '?'
  return `${url}${separator}prefix=${prefix}:${caFile === undefined ? '' : `&ca=${encodeURIComponent(caFile)}`}`
}

/** Runs both suites against a server that the run shares. Installs what it takes, so call it at the top of a file. */
export async function redisContracts(name: SharedName): Promise<void> {
  const url = withOptions(await sharedServer(name), `contract-${process.pid}`)
  const open = (): Promise<RedisBackends> => openRedis(url, steady)
  const store = async (): Promise<StateStoreFixture> => {
    const { state, bus } = await open()
    await bus.close()
    return { store: state, pass }
  }
  const buses = async (): Promise<EventBusFixture> => {
    const [here, there] = await Promise.all([open(), open()])
    await Promise.all([here.state.close(), there.state.close()])
    return { here: here.bus, there: there.bus }
  }
  stateStoreContract(runner, name, store)
  stateStoreFaultContract(runner, name, store)
  eventBusContract(runner, name, buses)
  eventBusFaultContract(runner, name, buses)
}

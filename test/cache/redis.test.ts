import { openRedis } from '../../src/backends/redis/open.ts'
import { withOptions } from '../contracts/redis.ts'
import { sharedServer } from '../servers/shared.ts'
import { cacheContract } from './contract.ts'

for (const name of ['redis', 'redis-cluster'] as const) {
  const url = withOptions(await sharedServer(name), `cache-${process.pid}`)
  cacheContract(name, async () => {
    const { state, bus } = await openRedis(url, { onUp: () => undefined, onDown: () => undefined })
    return { state, bus, close: async () => void (await Promise.all([state.close(), bus.close()])) }
  })
}

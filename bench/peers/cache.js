/** bentocache as its documentation sets it up for several processes: memory, Redis, and a bus between them. */
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis'

/** @param {string} url of Redis */
export function open(url) {
  const { hostname, port } = new URL(url)
  const connection = { host: hostname, port: Number(port) }
  const store = bentostore()
    .useL1Layer(memoryDriver({ maxSize: '64mb' }))
    .useL2Layer(redisDriver({ connection }))
    .useBus(redisBusDriver({ connection }))
  const bento = new BentoCache({ default: 'tiers', stores: { tiers: store } })
  return {
    get: (key, compute) => bento.getOrSet({ key, ttl: '10m', factory: compute }),
    close: () => bento.disconnectAll(),
  }
}

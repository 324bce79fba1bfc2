import { startRedis } from '../../servers/redis.ts'
import type { Backend } from '../backend.ts'

const UNAVAILABLE = { gone: { fails: 'state_unavailable' } } as const

/** State and messages that nodes share. */
export const redis: Backend = {
  label: 'Redis',
  async start(toxiproxy, stack) {
    const server = stack.use(await startRedis())
    const link = await toxiproxy.proxy('redis', server)
    const timeouts = 'connectTimeoutMs=500&commandTimeoutMs=1000'
    return { links: [link], options: { state: `redis://${link.host}:${link.port}?${timeouts}` } }
  },
  // Three commands, one after the other.
  boundMs: 4000,
  slowMs: 8000,
  recoverMs: 3000,
  attemptsPerSecond: 40,
  cells: {
    start: { gone: { fails: 'not ready' }, words: 'starts, and is not ready' },
    key: UNAVAILABLE,
    listen: UNAVAILABLE,
    news: { gone: { fails: 'unheard' } },
  },
}

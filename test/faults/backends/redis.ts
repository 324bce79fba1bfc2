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
  // Connections within a second, and limits ask again within 2.25 s.
  recoverMs: 4500,
  attemptsPerSecond: 40,
  cells: {
    start: { gone: { fails: 'not ready' }, words: 'starts, and is not ready' },
    key: UNAVAILABLE,
    askAfterStep: UNAVAILABLE,
    guarded: { gone: { fails: 'limits_unavailable' } },
    // The streams of 2025 that were opened before linger, and the lists that they follow are followed at this node already.
    listen: {
      gone: { fails: 'ok and state_unavailable' },
      words: '`state_unavailable`, unless the node follows the same already',
    },
    news: { gone: { fails: 'unheard' }, words: 'not heard; all that is followed is told anew afterwards' },
    cached: { gone: 'works', words: 'works, of what lies in memory' },
    cachedByTag: { gone: 'works', words: 'is computed each time' },
    invalidate: UNAVAILABLE,
  },
}

import { startRedis } from '../../servers/redis.ts'
import type { Backend } from '../backend.ts'

/** Who waits for another node's task looks every second, and a bit later on a machine that is busy with the load. */
const BY_LOOKING = { gone: 'works', withinMs: 6000 } as const
const UNAVAILABLE = { gone: { fails: 'state_unavailable' } } as const

/** State and messages that nodes share. */
export const redis: Backend = {
  label: 'Redis',
  async start(toxiproxy, stack) {
    const server = stack.use(await startRedis())
    const link = await toxiproxy.proxy('redis', server)
    const timeouts = 'connectTimeoutMs=500&commandTimeoutMs=1500'
    return { links: [link], options: { state: `redis://${link.host}:${link.port}?${timeouts}` } }
  },
  // Three commands, one after the other.
  boundMs: 5500,
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
    task: BY_LOOKING,
    taskCall: BY_LOOKING,
    bigTask: BY_LOOKING,
    cached: { gone: 'works', words: 'works, of what lies in memory' },
    cachedByTag: { gone: 'works', words: 'is computed each time' },
    invalidate: UNAVAILABLE,
  },
}

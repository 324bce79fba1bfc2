// `npm run example:cluster`: three nodes, the Redis that they share, and a proxy before them, until Ctrl-C.
// What starts the processes is what the tests use, so nothing is left behind, however this one ends.
import { once } from 'node:events'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startNodes } from '../../test/cluster/nodes.ts'
import { startRoundRobinProxy } from '../../test/cluster/round-robin-proxy.ts'
import { startHaproxy } from '../../test/servers/haproxy.ts'
import { startRedis } from '../../test/servers/redis.ts'
import { which } from '../../test/servers/tools.ts'

const NODES = 3
const LOOK_MS = 250

const { values } = parseArgs({ options: { port: { type: 'string', short: 'p', default: '8080' } } })
const stopped = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
await using stack = new AsyncDisposableStack()

let stateUrl = process.env['HOLDFAST_STATE_URL'] || process.env['REDIS_URL']
if (!stateUrl) {
  const hasRedis = (await which('redis-server')) !== undefined
  stateUrl = stack.use(await startRedis({ flavour: hasRedis ? 'redis' : 'valkey' })).url
}
const definition = resolve(import.meta.dirname, 'server.ts')
// HAProxy looks every 500 ms and needs two bad answers.
const env = { HOLDFAST_STATE_URL: stateUrl, HOLDFAST_DRAIN_DELAY_MS: '2000' }
const nodes = await startNodes(NODES, { definition, env })
for (const node of nodes) stack.use(node)
const hasHaproxy = (await which('haproxy')) !== undefined
const port = Number(values.port)
const proxy = stack.use(
  await (hasHaproxy
    ? startHaproxy(
        nodes.map(({ host, port }) => `${host}:${port}`),
        port,
      )
    : startRoundRobinProxy(nodes, port)),
)

console.log(`
  endpoint  ${proxy.origin}/mcp
  proxy     ${hasHaproxy ? 'HAProxy' : 'the round-robin proxy of the tests (HAProxy is not installed)'}, no affinity
${nodes.map(({ origin, process }, index) => `  node ${index + 1}    ${origin}, process ${process.pid}`).join('\n')}
  state     ${stateUrl}

  Kill a node (kill -9) or restart it in order (kill): it is started again. Ctrl-C ends everything.
`)

// What a process manager would do.
const isOver = stopped.then(() => true)
while (!(await Promise.race([isOver, sleep(LOOK_MS, false)])))
  for (const [index, { process }] of nodes.entries())
    if (process.pid === undefined) {
      await process.start()
      console.log(`  node ${index + 1} was started again, process ${process.pid}`)
    }

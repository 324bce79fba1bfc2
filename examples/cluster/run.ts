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

const givenUrl = process.env['HOLDFAST_STATE_URL'] || process.env['REDIS_URL']
const flavour = (await which('redis-server')) === undefined ? 'valkey' : 'redis'
const redis = givenUrl ? undefined : stack.use(await startRedis({ flavour }))
const stateUrl = givenUrl || redis!.url
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

// What a process manager would do: whatever ends is started again, Redis too where it is ours.
const kept = [
  ...nodes.map(({ process }, index) => ({ name: `node ${index + 1}`, process })),
  ...(redis === undefined ? [] : [{ name: 'Redis', process: redis.process }]),
]
const starting = new Set<string>()
const startAgain = async ({ name, process }: (typeof kept)[number]): Promise<void> => {
  starting.add(name)
  try {
    await process.start()
    console.log(`  ${name} was started again, process ${process.pid}`)
  } catch (error) {
    if (!over.signal.aborted)
      console.log(`  ${name} could not be started again: ${(error as Error).message.split('\n', 1)[0]!}`)
  } finally {
    starting.delete(name)
  }
}
const over = new AbortController()
void stopped.then(() => over.abort())
while (!over.signal.aborted) {
  await Promise.race([stopped, sleep(LOOK_MS)])
  for (const one of kept)
    if (!over.signal.aborted && one.process.pid === undefined && !starting.has(one.name)) {
      console.log(`  ${one.name} has ended`)
      void startAgain(one)
    }
}

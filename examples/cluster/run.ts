// `npm run example:cluster`: three nodes behind a proxy, two workers, and what they share, until Ctrl-C.
// What starts the processes is what the tests use, so nothing is left behind, however this one ends.
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs, promisify } from 'node:util'
import { clusterEnv, startNodes, startWorker } from '../../test/cluster/nodes.ts'
import { startRoundRobinProxy } from '../../test/cluster/round-robin-proxy.ts'
import { CLI } from '../../test/conformance/server.ts'
import { startHaproxy } from '../../test/servers/haproxy.ts'
import { startPostgres } from '../../test/servers/postgres.ts'
import { startRabbitmq } from '../../test/servers/rabbitmq.ts'
import { startRedis } from '../../test/servers/redis.ts'
import { which } from '../../test/servers/tools.ts'

const NODES = 3
const WORKERS = 2
const LOOK_MS = 250

const { values } = parseArgs({ options: { port: { type: 'string', short: 'p', default: '8080' } } })
const stopped = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
await using stack = new AsyncDisposableStack()

/** The server that a variable names, or one that is started for the occasion. */
async function given<Server extends AsyncDisposable & { url: string }>(
  names: readonly string[],
  start: () => Promise<Server>,
): Promise<{ url: string; own?: Server }> {
  const url = names.map((name) => process.env[name]).find(Boolean)
  if (url) return { url }
  const own = stack.use(await start())
  return { url: own.url, own }
}
const [state, database, queue] = await Promise.all([
  given(['HOLDFAST_STATE_URL', 'REDIS_URL'], async () =>
    startRedis({ flavour: (await which('redis-server')) === undefined ? 'valkey' : 'redis' }),
  ),
  given(['DATABASE_URL'], () => startPostgres()),
  given(['HOLDFAST_QUEUE_URL'], () => startRabbitmq()),
])
const artifacts = await mkdtemp(join(tmpdir(), 'cluster-artifacts-'))
stack.defer(() => rm(artifacts, { recursive: true, force: true }))

const definition = resolve(import.meta.dirname, 'server.ts')
const env = clusterEnv({
  HOLDFAST_STATE_URL: state.url,
  DATABASE_URL: database.url,
  HOLDFAST_QUEUE_URL: queue.url,
  HOLDFAST_ARTIFACTS_URL: `file:${artifacts}`,
  // HAProxy looks every 500 ms and needs two bad answers.
  HOLDFAST_DRAIN_DELAY_MS: '2000',
})
// As before each deploy: the tables of tasks. Docs desk makes its own.
await promisify(execFile)(process.execPath, [CLI, 'migrate'], { env: { ...process.env, ...env } })

const [nodes, workers] = await Promise.all([
  startNodes(NODES, { definition, env, flags: ['--no-worker'] }),
  Promise.all(Array.from({ length: WORKERS }, async () => stack.use(await startWorker({ definition, env })))),
])
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
${workers.map(({ process }, index) => `  worker ${index + 1}  process ${process.pid}`).join('\n')}
  state     ${state.url}
  tasks     ${database.url}, and the index of the documents
  queue     ${queue.url}
  artifacts ${artifacts}

  Kill a node or a worker (kill -9) or restart it in order (kill): it is started again. Ctrl-C ends everything.
`)

// What a process manager would do: whatever ends is started again, Redis too where it is ours.
const kept = [
  ...nodes.map(({ process }, index) => ({ name: `node ${index + 1}`, process })),
  ...workers.map(({ process }, index) => ({ name: `worker ${index + 1}`, process })),
  ...(state.own === undefined ? [] : [{ name: 'Redis', process: state.own.process }]),
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

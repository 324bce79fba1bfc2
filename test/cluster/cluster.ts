// Three nodes, the Redis that they share (behind a proxy that can break its connections), and a proxy before them; and, for tools
// that run as tasks, workers and a Postgres.
import { openThrowaway } from '../../src/backends/postgres/open.ts'
import { startHaproxy } from '../servers/haproxy.ts'
import { startPostgres } from '../servers/postgres.ts'
import { startRedis, type RedisServer } from '../servers/redis.ts'
import { startToxiproxy, type Link } from '../servers/toxiproxy.ts'
import { until } from '../servers/tools.ts'
import { clusterEnv, isReady, startNodes, startWorker, type ClusterNode, type NodeSettings } from './nodes.ts'
import { startRoundRobinProxy } from './round-robin-proxy.ts'

/** A running cluster. */
export interface TestCluster extends AsyncDisposable {
  /** The endpoint, through the proxy. */
  readonly url: string
  readonly origin: string
  readonly nodes: readonly ClusterNode[]
  readonly workers: readonly ClusterNode[]
  readonly redis: RedisServer
  /** The nodes' way to Redis. */
  readonly link: Link
}

/** What {@link startTestCluster} may be given. */
export interface ClusterSettings extends NodeSettings {
  nodes?: number
  /** Workers, on a Postgres; then nodes run no tasks. Default 0: there is no Postgres. */
  workers?: number
  /** Default: a strict round robin that breaks a client's connection with the node's. */
  proxy?: 'round-robin' | 'haproxy'
  /** More arguments of Redis. */
  redisArgs?: readonly string[]
}

/** Starts it; resolves when every node takes requests. */
export async function startTestCluster({
  definition,
  env,
  nodes: count = 3,
  workers: workerCount = 0,
  proxy = 'round-robin',
  redisArgs = [],
}: ClusterSettings): Promise<TestCluster> {
  await using stack = new AsyncDisposableStack()
  const [redis, toxiproxy] = await Promise.all([startRedis({ args: redisArgs }), startToxiproxy()])
  stack.use(redis)
  stack.use(toxiproxy)
  const link = await toxiproxy.proxy('redis', redis)
  const shared = clusterEnv({ HOLDFAST_STATE_URL: `redis://${link.host}:${link.port}`, ...env })
  if (workerCount > 0) {
    const { url } = stack.use(await startPostgres())
    shared['HOLDFAST_TASKS_URL'] = stack.use(await openThrowaway(url, 'tasks')).url
  }
  const settings = { definition, env: shared }
  const flags = workerCount > 0 ? ['--no-worker'] : []
  const [nodes, workers] = await Promise.all([
    startNodes(count, { ...settings, flags }),
    Promise.all(Array.from({ length: workerCount }, () => startWorker(settings))),
  ])
  for (const node of [...nodes, ...workers]) stack.use(node)
  const { origin } = stack.use(
    await (proxy === 'haproxy'
      ? startHaproxy(nodes.map(({ host, port }) => `${host}:${port}`))
      : startRoundRobinProxy(nodes)),
  )
  await until('All nodes being ready', 10_000, async () =>
    (await Promise.all(nodes.map((node) => isReady(node.origin)))).every(Boolean),
  )
  const parts = stack.move()
  return {
    url: `${origin}/mcp`,
    origin,
    nodes,
    workers,
    redis,
    link,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

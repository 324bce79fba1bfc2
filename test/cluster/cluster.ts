// Three nodes, the Redis that they share (behind a proxy that can break its connections), and a proxy before them.
import { startHaproxy } from '../servers/haproxy.ts'
import { startRedis, type RedisServer } from '../servers/redis.ts'
import { startToxiproxy, type Link } from '../servers/toxiproxy.ts'
import { until } from '../servers/tools.ts'
import { isReady, startNodes, type ClusterNode, type NodeSettings } from './nodes.ts'
import { startRoundRobinProxy } from './round-robin-proxy.ts'

/** A running cluster. */
export interface TestCluster extends AsyncDisposable {
  /** The endpoint, through the proxy. */
  readonly url: string
  readonly origin: string
  readonly nodes: readonly ClusterNode[]
  readonly redis: RedisServer
  /** The nodes' way to Redis. */
  readonly link: Link
}

/** What {@link startTestCluster} may be given. */
export interface ClusterSettings extends NodeSettings {
  nodes?: number
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
  proxy = 'round-robin',
  redisArgs = [],
}: ClusterSettings): Promise<TestCluster> {
  await using stack = new AsyncDisposableStack()
  const [redis, toxiproxy] = await Promise.all([startRedis({ args: redisArgs }), startToxiproxy()])
  stack.use(redis)
  stack.use(toxiproxy)
  const link = await toxiproxy.proxy('redis', redis)
  const nodes = await startNodes(count, {
    definition,
    env: { HOLDFAST_STATE_URL: `redis://${link.host}:${link.port}`, ...env },
  })
  for (const node of nodes) stack.use(node)
  const { origin } = stack.use(
    await (proxy === 'haproxy'
      ? startHaproxy(nodes.map(({ host, port }) => `${host}:${port}`))
      : startRoundRobinProxy(nodes)),
  )
  await until('All nodes being ready', 10_000, async () =>
    (await Promise.all(nodes.map((node) => isReady(node.origin)))).every(Boolean),
  )
  const parts = stack.move()
  return { url: `${origin}/mcp`, origin, nodes, redis, link, [Symbol.asyncDispose]: () => parts.disposeAsync() }
}

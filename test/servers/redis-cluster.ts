// Three masters that share the 16384 slots.
import { startRedis, type Flavour, type RedisServer } from './redis.ts'
import { until } from './tools.ts'

/** A cluster of three masters. */
export interface RedisCluster extends AsyncDisposable {
  /** `redis+cluster://h:p,h:p,h:p` */
  readonly url: string
  readonly nodes: readonly RedisServer[]
}

const NODES = 3
const SLOTS = 16_384
const MEET_TIMEOUT_MS = 20_000

/** Starts the nodes, has them meet, and gives each a third of the slots; resolves when all agree. */
export async function startCluster({ flavour = 'redis' }: { flavour?: Flavour } = {}): Promise<RedisCluster> {
  await using stack = new AsyncDisposableStack()
  const nodes = await Promise.all(
    Array.from({ length: NODES }, async () => stack.use(await startRedis({ flavour, cluster: true }))),
  )
  for (const [index, node] of nodes.entries()) {
    await node.command(
      'CLUSTER',
      'ADDSLOTSRANGE',
      Math.ceil((SLOTS * index) / NODES),
      Math.ceil((SLOTS * (index + 1)) / NODES) - 1,
    )
    if (index > 0) await node.command('CLUSTER', 'MEET', nodes[0]!.host, nodes[0]!.port, nodes[0]!.busPort)
  }
  await until('The cluster being whole', MEET_TIMEOUT_MS, async () => {
    const infos = await Promise.all(nodes.map((node) => node.command('CLUSTER', 'INFO')))
    return infos.every(
      (info) => /cluster_state:ok/.test(String(info)) && String(info).includes(`cluster_known_nodes:${NODES}`),
    )
  })
  const parts = stack.move()
  return {
    url: `redis+cluster://${nodes.map(({ host, port }) => `${host}:${port}`).join(',')}`,
    nodes,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

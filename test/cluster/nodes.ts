// Nodes as people run them: `holdfast serve`, each in a process of its own.
import { generateKeys } from '../../src/compose/options.ts'
import { CLI } from '../conformance/server.ts'
import { ServerProcess } from '../servers/server-process.ts'

/** A running node. */
export interface ClusterNode extends AsyncDisposable {
  readonly host: string
  readonly port: number
  readonly origin: string
  readonly url: string
  readonly process: ServerProcess
}

/** What nodes are started with. */
export interface NodeSettings {
  /** Path of the definition's module. */
  definition: string
  env?: Readonly<Record<string, string>>
  /** Flags after the definition's file. */
  flags?: readonly string[]
}

const HOST = '127.0.0.1'

/** The keys and the quiet log that all nodes of a cluster share. */
export const clusterEnv = (env: Readonly<Record<string, string>> = {}): Record<string, string> => ({
  HOLDFAST_KEYS: generateKeys(),
  LOG_LEVEL: 'warn',
  ...env,
})

/** Starts one node; it keeps its port when its process is killed and started again. */
export const startNode = (settings: NodeSettings): Promise<ClusterNode> =>
  start('node', settings, (definition, port) => ['serve', definition, '--port', port, '--host', HOST])

/** Starts one worker: its port is that of its probes. */
export const startWorker = (settings: NodeSettings): Promise<ClusterNode> =>
  start('worker', settings, (definition, port) => ['worker', definition, '--admin-port', port])

async function start(
  name: string,
  { definition, env = {}, flags = [] }: NodeSettings,
  argsOf: (definition: string, port: string) => string[],
): Promise<ClusterNode> {
  let port = 0
  const server = await ServerProcess.launch(name, 1, ({ dir, ports }) => {
    port = ports[0]!
    return {
      name,
      program: { command: process.execPath, origin: 'this repository' },
      args: [CLI, ...argsOf(definition, String(port)), ...flags],
      env: { HOLDFAST_DATA_DIR: dir, ...env },
      isReady: () => isReady(`http://${HOST}:${port}`),
    }
  })
  const origin = `http://${HOST}:${port}`
  return {
    host: HOST,
    port,
    origin,
    url: `${origin}/mcp`,
    process: server,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** What `/readyz` says; throws where nobody answers. */
export async function isReady(origin: string): Promise<boolean> {
  const response = await fetch(`${origin}/readyz`, {
    headers: { connection: 'close' },
    signal: AbortSignal.timeout(2000),
  })
  await response.arrayBuffer()
  return response.ok
}

/** Starts nodes that share keys and settings. */
export async function startNodes(count: number, { definition, env, flags = [] }: NodeSettings): Promise<ClusterNode[]> {
  await using stack = new AsyncDisposableStack()
  const shared = clusterEnv(env)
  const nodes = await Promise.all(
    Array.from({ length: count }, async () => stack.use(await startNode({ definition, env: shared, flags }))),
  )
  stack.move()
  return nodes
}

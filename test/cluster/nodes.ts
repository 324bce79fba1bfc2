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
  /** More arguments of the command. */
  args?: readonly string[]
  env?: Readonly<Record<string, string>>
}

const HOST = '127.0.0.1'

/** The keys and the quiet log that all nodes of a cluster share. */
export const clusterEnv = (env: Readonly<Record<string, string>> = {}): Record<string, string> => ({
  HOLDFAST_KEYS: generateKeys(),
  LOG_LEVEL: 'warn',
  ...env,
})

/** Starts one node; it keeps its port when its process is killed and started again. */
export async function startNode({ definition, args = [], env = {} }: NodeSettings): Promise<ClusterNode> {
  let port = 0
  const server = await ServerProcess.launch('node', 1, ({ dir, ports }) => {
    port = ports[0]!
    return {
      name: 'node',
      program: { command: process.execPath, origin: 'this repository' },
      args: [CLI, 'serve', definition, '--port', String(port), '--host', HOST, ...args],
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

/** A running worker. */
export interface ClusterWorker extends AsyncDisposable {
  readonly process: ServerProcess
}

/** Starts one worker: it runs tasks, and serves nothing but probes and metrics. */
export async function startWorker({ definition, env = {} }: NodeSettings): Promise<ClusterWorker> {
  const server = await ServerProcess.launch('worker', 1, ({ dir, ports }) => ({
    name: 'worker',
    program: { command: process.execPath, origin: 'this repository' },
    args: [CLI, 'worker', definition, '--admin-port', String(ports[0])],
    env: { HOLDFAST_DATA_DIR: dir, ...env },
    isReady: () => isReady(`http://${HOST}:${ports[0]}`),
  }))
  return { process: server, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
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
export async function startNodes(count: number, { env, ...settings }: NodeSettings): Promise<ClusterNode[]> {
  await using stack = new AsyncDisposableStack()
  const shared = clusterEnv(env)
  const nodes = await Promise.all(
    Array.from({ length: count }, async () => stack.use(await startNode({ ...settings, env: shared }))),
  )
  stack.move()
  return nodes
}

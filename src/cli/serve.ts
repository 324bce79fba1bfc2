import { spawn } from 'node:child_process'
import cluster from 'node:cluster'
import { resolve } from 'node:path'
import { generateKeys, resolveOptions, type ResolvedOptions, type RuntimeOptions } from '../compose/options.ts'
import { isSharedUrl, MEMORY_URL } from '../compose/backends.ts'
import { internalsOf, wire } from '../compose/runtime.ts'
import type { Listening } from '../compose/runtime-types.ts'
import { isSharedTaskUrl, tasksUrlOf } from '../compose/task-store.ts'
import type { ServerDefinition } from '../define/server.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { loadDefinition } from './load-definition.ts'
import type { ServeFlags } from './run.ts'
import { endWhenStuck, stopOnSignal } from './stop-on-signal.ts'
import { toWorkerOptions } from './worker-options.ts'

/** `holdfast serve`: resolves when the server has ended. */
export async function serve(path: string, flags: ServeFlags): Promise<void> {
  if (flags.stdio === true && (flags.processes !== undefined || flags.port !== undefined || flags.host !== undefined))
    throw new HoldfastError(
      'invalid_option',
      '--stdio serves one client on standard input and output: it goes with none of --port, --host, --processes.',
    )
  if (flags.watch === true) return watch()
  const { server, options: code } = await loadDefinition(path)
  const given: RuntimeOptions = {
    port: flags.port,
    host: flags.host,
    logFd: flags.stdio === true ? 2 : undefined,
    adminPort: flags.adminPort,
    worker: flags.worker === false ? false : undefined,
  } as RuntimeOptions
  const stuck = Promise.withResolvers<void>()
  const resolved = resolveOptions(code, process.env, given)
  const options = { ...resolved, worker: toWorkerOptions(resolved.worker, path, () => stuck.resolve()) }
  const print = (listening: Listening): void =>
    void process.stdout.write(
      flags.json === true ? startJson(listening, options) : startText(server.name, server.version, listening, options),
    )

  if (cluster.isWorker) {
    const { workerEnd } = await import('./processes.ts')
    const end = workerEnd()
    try {
      const runtime = await wire(
        server,
        isSharedUrl(options.state) ? options : { ...options, state: end.state, bus: end.bus },
        end.metrics,
      )
      const stopped = new Promise<void>((resolve, reject) =>
        end.serve({
          snapshot: () => internalsOf(runtime).telemetry.metrics.snapshot(),
          stop: () => void runtime.close().then(resolve, reject),
        }),
      )
      // The terminal sends its signals to the whole group; the primary is the one to say when.
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined)
      void endWhenStuck(runtime, stuck.promise)
      await end.listening(await runtime.listen())
      return await stopped
    } finally {
      process.disconnect?.() // the channel to the primary would keep this process alive
    }
  }
  if (flags.processes !== undefined && flags.processes > 1) {
    checkShared(server, options, flags.processes)
    const { runProcesses } = await import('./processes.ts')
    // Without a data folder each worker would make keys of its own, and open no other's sessions.
    const env = options.keys === undefined && options.dataDir === false ? { HOLDFAST_KEYS: generateKeys() } : {}
    return runProcesses(flags.processes, env, print)
  }
  const runtime = await wire(server, options)
  const stopped = stopOnSignal(runtime, stuck.promise)
  if (flags.stdio === true) {
    await Promise.race([runtime.serveStdio(), stopped])
    return runtime.close()
  }
  print(await runtime.listen())
  await stopped
}

/**
 * Refuses what each process would have of its own, and the others would not find.
 * @throws {HoldfastError} `invalid_option`
 */
function checkShared({ name, tools }: ServerDefinition, options: ResolvedOptions, count: number): void {
  const { tasks, dataDir, artifacts } = options
  const hasTasks = tools.some(({ task }) => task !== undefined)
  if (hasTasks && typeof tasks === 'string' && !isSharedTaskUrl(tasksUrlOf(tasks, dataDir)))
    throw new HoldfastError(
      'invalid_option',
      `--processes ${count}: the tasks of ${JSON.stringify(name)} would lie in the memory of each process, where the others don't find them. Set HOLDFAST_TASKS_URL, or HOLDFAST_DATA_DIR to a folder for the processes to share, or leave --processes out.`,
    )
  if (artifacts === MEMORY_URL)
    throw new HoldfastError(
      'invalid_option',
      `--processes ${count}: artifacts would lie in the memory of each process (memory:), where the others don't find them. Set HOLDFAST_ARTIFACTS_URL to a folder or a bucket, or leave --processes out.`,
    )
}

/** Starts this command again under Node's own watch mode, which restarts it when a file that it imported changes. */
async function watch(): Promise<void> {
  const args = process.argv.slice(1).filter((argument) => argument !== '--watch')
  const child = spawn(process.execPath, ['--watch', '--watch-preserve-output', ...args], { stdio: 'inherit' })
  const stop = (signal: NodeJS.Signals): void => void child.kill(signal)
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  process.exitCode = await new Promise<number>((resolve) => child.on('exit', (code) => resolve(code ?? 0)))
}

const originOf = ({ url }: Listening): string => new URL(url).origin

function startJson(listening: Listening, { dataDir }: ResolvedOptions): string {
  const origin = originOf(listening)
  const { url, host, port } = listening
  return `${JSON.stringify({ url, host, port, livez: `${origin}/livez`, readyz: `${origin}/readyz`, metrics: `${origin}/metrics`, dataDir })}\n`
}

function startText(name: string, version: string, listening: Listening, { dataDir }: ResolvedOptions): string {
  const { url } = listening
  const origin = originOf(listening)
  const key = name.replaceAll(/[^A-Za-z0-9_-]/g, '-')
  return `
  ${name} ${version}

  MCP endpoint  ${url}
  health        ${origin}/livez  ${origin}/readyz
  metrics       ${origin}/metrics
  data folder   ${dataDir === false ? 'none' : resolve(dataDir)}

  Connect
    Claude Code    claude mcp add --transport http ${key} ${url}
    VS Code        code --add-mcp '${JSON.stringify({ name: key, type: 'http', url })}'
    MCP Inspector  npx @modelcontextprotocol/inspector --transport http --server-url ${url}

`
}

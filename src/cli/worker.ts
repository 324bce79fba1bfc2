import { resolve } from 'node:path'
import { resolveOptions, type RuntimeOptions } from '../compose/options.ts'
import { wire } from '../compose/runtime.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { loadDefinition } from './load-definition.ts'
import type { WorkerFlags } from './run.ts'
import { stopOnSignal } from './stop-on-signal.ts'
import { toWorkerOptions } from './worker-options.ts'

/** `holdfast worker`: runs a server's tasks, and serves no client; resolves when the worker has ended. */
export async function work(path: string, flags: WorkerFlags): Promise<void> {
  const { server, options: code } = await loadDefinition(path)
  const tools = server.tools.filter(({ task }) => task !== undefined)
  if (tools.length === 0)
    throw new HoldfastError(
      'invalid_option',
      `No tool of ${JSON.stringify(server.name)} runs as a task, so a worker has nothing to do. Give a tool the option \`task\`.`,
    )
  const given = { adminPort: flags.adminPort } as RuntimeOptions
  const resolved = resolveOptions(code, process.env, given)
  const stuck = Promise.withResolvers<void>()
  const worker = {
    ...toWorkerOptions(resolved.worker === false ? true : resolved.worker, path, () => stuck.resolve()),
    ...(flags.concurrency === undefined ? {} : { concurrency: flags.concurrency }),
    ...(flags.queues === undefined ? {} : { queues: flags.queues }),
  }
  const options = { ...resolved, worker }
  const runtime = await wire(server, options)
  const stopped = stopOnSignal(runtime, stuck.promise)
  const adminPort = await runtime.listenAdmin()
  const admin = adminPort === undefined ? undefined : `http://${options.host}:${adminPort}`
  const queues = worker.queues ?? [...new Set(tools.map(({ task }) => task!.queue))]
  const concurrency = worker.concurrency ?? 10
  const { dataDir } = options
  process.stdout.write(
    flags.json === true
      ? `${JSON.stringify({ queues, concurrency, ...(admin === undefined ? {} : { livez: `${admin}/livez`, readyz: `${admin}/readyz`, metrics: `${admin}/metrics` }), dataDir })}\n`
      : `
  ${server.name} ${server.version}: worker

  queues        ${queues.join(', ')}
  tools         ${tools.map(({ name }) => name).join(', ')}
  at once       ${concurrency}
  health        ${admin === undefined ? 'nowhere: set --admin-port or HOLDFAST_ADMIN_PORT' : `${admin}/livez  ${admin}/readyz`}
  metrics       ${admin === undefined ? 'nowhere' : `${admin}/metrics`}
  data folder   ${dataDir === false ? 'none' : resolve(dataDir)}

`,
  )
  await stopped
}

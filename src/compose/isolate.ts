// Module of the threads and processes that tools with `isolation` run in.
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { IpcChannel, type IpcPort } from '../backends/ipc/channel.ts'
import { IpcEventBus } from '../backends/ipc/event-bus.ts'
import { IpcStateStore } from '../backends/ipc/state-store.ts'
import type { Cache } from '../cache/cache.ts'
import { TieredCache } from '../cache/tiered-cache.ts'
import { Artifacts } from '../artifacts/artifacts.ts'
import type { ServerDefinition } from '../define/server.ts'
import { quote } from '../define/names.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { systemClock } from '../ports/clock.ts'
import { serveIsolate, type Opened, type WayOut } from '../tasks/isolation/inside.ts'
import type { IsolateSetup, ToIsolate } from '../tasks/isolation/protocol.ts'
import type { Telemetry } from '../ports/telemetry.ts'
import { createTraceEntry } from '../telemetry/tracing.ts'
import { openArtifactStore } from './artifacts.ts'

async function load({
  definition,
  tool: name,
  expected,
}: IsolateSetup): Promise<Pick<Opened, 'tool' | 'catalog'> & { server: string }> {
  const { default: server } = (await import(definition)) as { default?: Partial<ServerDefinition> }
  if (server?.kind !== 'server' || server.tools === undefined)
    throw new HoldfastError(
      'invalid_module',
      `The module ${definition}, which the tool ${quote(name)} is to be loaded from, does not export a server by default.`,
    )
  const tools = new Map(server.tools.map((one) => [one.name, one]))
  const missing = [name, ...expected].find((one) => !tools.has(one))
  if (missing !== undefined)
    throw new HoldfastError(
      'invalid_module',
      `The server of the module ${definition} has no tool ${quote(missing)}. Is it another server than the worker's?`,
    )
  return { tool: tools.get(name)!, catalog: { tools }, server: server.name! }
}

/** The store that the worker has too, by a connection of its own. Links to downloads are sealed by nodes alone. */
function createArtifacts({ artifacts }: IsolateSetup, onUsed: () => void): Artifacts | undefined {
  if (artifacts === undefined) return undefined
  const { url, maxArtifactBytes } = artifacts
  return new Artifacts({
    maxArtifactBytes,
    clock: systemClock,
    endpoint: () => undefined,
    get keys(): never {
      throw new Error('No links are sealed in an isolate.')
    },
    open: () => openArtifactStore(url, systemClock),
    onUsed,
  })
}

/** A process whose worker was killed must not run on: nor where its event loop stands still, and never hears of it. */
const WATCHDOG = `
const parent = process.ppid
setInterval(() => { if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL') }, 1000)
`

function wayOut(): WayOut {
  const port = parentPort
  if (!isMainThread && port !== null)
    return {
      tell: (message) => port.postMessage(message),
      listen: (onMessage) => void port.on('message', onMessage),
    }
  new Worker(WATCHDOG, { eval: true }).unref()
  process.on('disconnect', () => process.exit())
  return {
    tell(message) {
      if (process.connected) process.send!(message)
    },
    listen: (onMessage) => void process.on('message', (message) => onMessage(message as ToIsolate)),
  }
}

/** The store and the bus of the worker, over the way on which it talks to this isolate. */
function statePort(): IpcPort {
  const port = parentPort
  if (!isMainThread && port !== null)
    return {
      send: (message) => port.postMessage(message),
      onMessage: (listener) => void port.on('message', listener),
      onClose: (listener) => void port.once('close', listener),
    }
  return {
    send(message) {
      if (process.connected) process.send!(message)
    },
    onMessage: (listener) => void process.on('message', listener),
    onClose: (listener) => void process.once('disconnect', listener),
  }
}

async function openCache(
  server: string,
  { maxCacheBytes: maxBytes }: IsolateSetup,
  telemetry: Telemetry,
): Promise<Cache> {
  const bus = new IpcEventBus(() => channel)
  const channel = new IpcChannel(statePort(), { message: bus.deliver })
  const shared = { state: new IpcStateStore(channel), bus }
  const cache = new TieredCache({ server, clock: systemClock, telemetry, maxBytes, shared })
  await cache.start()
  return cache
}

const out = wayOut()
serveIsolate(out, async (setup, telemetry) => {
  const { server, ...loaded } = await load(setup)
  return {
    ...loaded,
    artifacts: createArtifacts(setup, () => out.tell({ kind: 'artifacts-used' })),
    cache: await openCache(server, setup, telemetry),
    // The module may have registered an SDK.
    inTrace: await createTraceEntry(),
  }
})

import cluster, { type Worker } from 'node:cluster'
import { IpcChannel, type IpcPort } from '../backends/ipc/channel.ts'
import { IpcEventBus } from '../backends/ipc/event-bus.ts'
import { serveState, type ServedPeer } from '../backends/ipc/primary.ts'
import { IpcStateStore } from '../backends/ipc/state-store.ts'
import { MemoryEventBus } from '../backends/memory/event-bus.ts'
import { MemoryStateStore } from '../backends/memory/state-store.ts'
import { aggregateMetrics, type MetricsSnapshot } from '../telemetry/aggregate-metrics.ts'
import type { Listening } from '../compose/runtime-types.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { systemClock } from '../ports/clock.ts'

/** A worker that ends sooner than this after its start failed to start. */
const STARTED_MS = 2000
const MAX_FAILED_STARTS = 5

/** What a worker process shares through its primary. */
export interface WorkerEnd {
  readonly state: IpcStateStore
  readonly bus: IpcEventBus
  /** Tells the primary that this worker takes requests. */
  listening(where: Listening): Promise<void>
  /** The metrics of all workers together. */
  metrics(): Promise<{ contentType: string; body: string }>
  /** Sets what the primary may ask of this worker. */
  serve(handlers: { snapshot(): Promise<MetricsSnapshot>; stop(): void }): void
}

/** This process's end, where it is a worker of {@link runProcesses}. */
export function workerEnd(): WorkerEnd {
  let snapshot = (): Promise<MetricsSnapshot> => Promise.resolve([])
  let stop = (): void => process.exit(0) // nothing has been taken yet
  const bus: IpcEventBus = new IpcEventBus(() => channel)
  const port: IpcPort = {
    send: (message) => process.send!(message),
    onMessage: (listener) => process.on('message', listener),
    onClose: (listener) => process.on('disconnect', listener),
  }
  const channel = new IpcChannel(port, {
    message: bus.deliver,
    snapshot: () => snapshot(),
    stop: async () => stop(),
  })
  // Without its primary a worker has neither state nor port.
  process.on('disconnect', () => stop())
  return {
    state: new IpcStateStore(channel),
    bus,
    listening: (where) => channel.call('listening', where),
    metrics: () => channel.call('metrics'),
    serve(handlers) {
      snapshot = handlers.snapshot
      stop = handlers.stop
    },
  }
}

/**
 * Runs `count` workers that share the port (`node:cluster`), and holds the state that they share. A worker that ends is
 * started again. Resolves when a signal has ended them all.
 *
 * @param onListening called once, when every worker takes requests.
 * @throws {HoldfastError} `invalid_option` where workers keep failing to start.
 */
export async function runProcesses(
  count: number,
  env: Record<string, string>,
  onListening: (where: Listening) => void,
): Promise<void> {
  cluster.setupPrimary({ serialization: 'advanced' })
  const state = new MemoryStateStore(systemClock)
  const bus = new MemoryEventBus()
  const peers = new Map<Worker, ServedPeer>()
  let isStopping = false
  let listeningCount = 0
  let failedStarts = 0
  let finish!: (error?: Error) => void
  const ended = new Promise<void>(
    (resolve, reject) => (finish = (error) => (error === undefined ? resolve() : reject(error))),
  )

  const metrics = async (): Promise<{ contentType: string; body: string }> => {
    const snapshots = await Promise.allSettled(
      [...peers.values()].map(({ channel }) => channel.call<MetricsSnapshot>('snapshot')),
    )
    return aggregateMetrics(snapshots.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])))
  }
  const start = (): void => {
    if (isStopping) return
    const startedMs = systemClock.monotonic()
    const worker = cluster.fork(env)
    const port: IpcPort = {
      send: (message) => worker.send(message as never),
      onMessage: (listener) => worker.on('message', listener),
      onClose: (listener) => worker.on('disconnect', listener),
    }
    const peer = serveState(port, state, bus, {
      metrics,
      async listening(where: Listening) {
        if (++listeningCount === count) onListening(where)
      },
    })
    peers.set(worker, peer)
    worker.on('error', () => undefined) // what can't be sent to a worker that is ending is told by its exit
    worker.once('exit', () => {
      peers.delete(worker)
      void peer.drop()
      if (isStopping) {
        if (peers.size === 0) finish()
        return
      }
      failedStarts = systemClock.monotonic() - startedMs < STARTED_MS ? failedStarts + 1 : 0
      if (failedStarts < MAX_FAILED_STARTS) {
        setTimeout(start, 100 * 2 ** failedStarts)
        return
      }
      isStopping = true
      for (const worker of peers.keys()) worker.process.kill('SIGKILL')
      finish(
        new HoldfastError(
          'invalid_option',
          `The worker processes ended ${failedStarts} times in a row as soon as they were started. Their log says why.`,
        ),
      )
    })
  }
  const stop = (): void => {
    if (isStopping) {
      for (const worker of peers.keys()) worker.process.kill('SIGKILL')
      process.exit(1)
    }
    isStopping = true
    if (peers.size === 0) finish()
    for (const { channel } of peers.values()) channel.call('stop').catch(() => undefined) // one that has gone need not stop
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  for (let index = 0; index < count; index++) start()
  await ended
}

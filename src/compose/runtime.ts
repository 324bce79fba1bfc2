import { randomBytes } from 'node:crypto'
import type { Readable, Writable } from 'node:stream'
import { TieredCache } from '../cache/tiered-cache.ts'
import { MemoryStateStore } from '../backends/memory/state-store.ts'
import type { ServerDefinition } from '../define/server.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { resourceTag } from '../kernel/cached-resource.ts'
import { compileCatalog } from '../kernel/catalog.ts'
import { ChangeHub } from '../kernel/changes.ts'
import { Kernel } from '../kernel/kernel.ts'
import type { Services } from '../kernel/services.ts'
import { Membership } from '../kernel/membership.ts'
import { Ticker } from '../kernel/ticker.ts'
import { ClientRequests } from '../sessions/client-requests.ts'
import { NodeInbox } from '../sessions/node-inbox.ts'
import { Admission } from '../limits/admission.ts'
import { Limiter } from '../limits/limiter.ts'
import { Guards } from '../resilience/guards.ts'
import { BreakerHints } from '../resilience/hints.ts'
import { systemClock } from '../ports/clock.ts'
import { RuntimeTelemetry } from '../telemetry/telemetry.ts'
import { createFetchHandler } from '../transports/http/fetch-handler.ts'
import { createNodeHandler, type HttpParts } from '../transports/http/node-handler.ts'
import { createAdminHandler } from '../transports/http/admin-handler.ts'
import { Probes } from '../transports/http/probes.ts'
import { listen, type HttpServer } from '../transports/http/server.ts'
import { serveStdio } from '../transports/stdio/stdio.ts'
import { createArtifacts, createCollector } from './artifacts.ts'
import { createAuth, stdioPrincipal } from './auth.ts'
import { isSharedUrl, MEMORY_URL, openBackends } from './backends.ts'
import { openKeyRing } from './keys.ts'
import { hasRemoteTasks, openTasks } from './tasks.ts'
import type { RunningWorker } from './worker.ts'
import type { WorkerOptions } from './worker-options.ts'
import type { Runtime } from './runtime-types.ts'
import { isLoopback, resolveOptions, type ResolvedOptions, type RuntimeOptions } from './options.ts'

const TICK_MS = 500
/** Buckets of limits that are this process's own: some 60,000 of them. */
const LOCAL_BUCKETS_BYTES = 16 * 1024 * 1024
/** Time for what was said last to reach clients. */
const FLUSH_MS = 500

/** What the parts of this package that sit beside the runtime (testing, CLI) may reach. */
export interface RuntimeInternals {
  readonly kernel: Kernel
  readonly services: Services
  readonly admission: Admission
  readonly telemetry: RuntimeTelemetry
  readonly options: ResolvedOptions
}
const internals = new WeakMap<Runtime, RuntimeInternals>()
/** For `testing/` and `cli/`; not part of the public surface. */
export function internalsOf(runtime: Runtime): RuntimeInternals {
  return internals.get(runtime)!
}

/**
 * Wires a server definition to its backends and telemetry.
 *
 * @example
 * const runtime = await createRuntime(server)
 * const { url } = await runtime.listen({ port: 3000 })
 * @throws {HoldfastError} `unknown_option`, `invalid_option`
 */
export async function createRuntime(server: ServerDefinition, options: RuntimeOptions = {}): Promise<Runtime> {
  return wire(server, resolveOptions(options, process.env))
}

/** Renders the metrics where they are not this process's alone: it is one of several that share a port. */
export type RenderMetrics = () => Promise<{ contentType: string; body: string }>

/** {@link createRuntime} with options that are resolved already. */
export async function wire(
  server: ServerDefinition,
  options: ResolvedOptions,
  renderMetrics?: RenderMetrics,
): Promise<Runtime> {
  if ((server as { kind?: unknown } | undefined)?.kind !== 'server')
    throw new HoldfastError(
      'invalid_module',
      'createRuntime was not given a server. Give it the result of defineServer({ … }).',
    )
  const clock = options.clock ?? systemClock
  const hasTasks = server.tools.some(({ task }) => task !== undefined)
  const isMultiple =
    isSharedUrl(options.state) ||
    (hasTasks && hasRemoteTasks(options.tasks)) ||
    // One of several processes, which have no data folder in common.
    (renderMetrics !== undefined && options.dataDir === false)
  const keys = openKeyRing(options.keys, options.dataDir, isMultiple)
  let isOpen = true
  let isInputOver = false
  let httpServer: HttpServer | undefined
  let adminServer: HttpServer | undefined
  let closing: Promise<void> | undefined
  // A node that never reached its store may have the wrong URL: it takes no traffic. One that has lost it can do most things.
  const isReady = (): boolean => isOpen && backends.wasUp()
  const workers = new Set<RunningWorker>()
  const telemetry = await RuntimeTelemetry.create(
    { level: options.logLevel, fd: options.logFd },
    {
      running: () => admission.running,
      abandoned: () => admission.abandoned,
      runningAttempts: () => sum(workers, ({ running }) => running),
      abandonedAttempts: () => sum(workers, ({ abandoned }) => abandoned),
      queued: () => admission.queued,
      pendingBodyBytes: () => admission.pending.bytes,
      loopDelayMs: () => admission.loopDelayMs,
      openStreams: () => kernel.openStreamCount,
      isReady,
      isStateUp: () => backends.isUp(),
      cacheMemory: () => cache.memory,
      limitDecisions: () => limiter?.decisions() ?? [],
      dependencies: () => guards.list(),
    },
  )
  const ticker = new Ticker(clock, TICK_MS)
  const nodeId = randomBytes(6).toString('base64url').replaceAll(/[-_]/g, 'x')
  const admission = new Admission(options, server.tools, clock, telemetry)
  const catalog = compileCatalog(server, options.listPageSize)
  const { challenges, ...door } = await createAuth(catalog, options, clock, telemetry)
  const backends = await openBackends(options, clock, (isUp, error) => telemetry.stateChanged(isUp, error))
  const { state, bus } = backends
  let counter = 0
  const isShared = options.state !== MEMORY_URL
  // With state of its own a node is alone.
  const members = isShared
    ? new Membership({ bus, clock, telemetry, self: { id: nodeId, role: 'node', version: server.version } })
    : undefined
  const limits = options.limits ?? server.limits ?? []
  const isLimited = limits.length > 0 || server.tools.some((tool) => (tool.limits ?? []).length > 0)
  const limiter = isLimited
    ? new Limiter({
        limits,
        tools: server.tools,
        override: options.overrideLimits,
        local: new MemoryStateStore(clock, { maxBytes: LOCAL_BUCKETS_BYTES }),
        shared: isShared ? state : undefined,
        nodeCount: () => members?.count('node') ?? 1,
        clock,
        telemetry,
      })
    : undefined
  const artifacts = createArtifacts(options, isMultiple, {
    keys,
    clock,
    endpoint: () => (options.publicUrl ?? (httpServer && options.path))?.replace(/\/$/, ''),
    onUsed: () => collector?.start(),
  })
  // What runs apart has a cache of its own, and reaches ours by the store.
  const isCacheShared = isShared || server.tools.some(({ task }) => task?.isolation !== undefined)
  const cache = new TieredCache({
    server: server.name,
    clock,
    telemetry,
    maxBytes: options.maxCacheBytes,
    shared: isCacheShared ? { state, bus } : undefined,
  })
  const hints = members && new BreakerHints({ bus, clock, telemetry, nodeId, nodeCount: () => members.all.length })
  const guards = new Guards({ clock, telemetry, hints })
  const inbox = new NodeInbox(bus, nodeId)
  const shared = { options, telemetry, clock, state, bus, keys, ticker, nodeId }
  const tasks = await openTasks(server, options, { ...shared, catalog }, isMultiple).catch(async (error: unknown) => {
    limiter?.close()
    await artifacts?.close()
    await backends.close()
    throw error
  })
  const collector = artifacts && createCollector(artifacts, server, tasks?.store, shared)
  const services: Services = {
    ...shared,
    catalog,
    cache,
    artifacts,
    guards,
    challenges,
    changes: new ChangeHub(
      bus,
      (error) => telemetry.failure(undefined, 'A change could not be published.', error),
      // Who is told that it has changed must not read what it was.
      server.resources.some((resource) => resource.cache !== undefined)
        ? (uri) => cache.invalidate([resourceTag(uri)])
        : undefined,
    ),
    limits: limiter,
    admission,
    running: new Set(),
    cancellable: new Map(),
    openListens: new Map(),
    inbox,
    clientRequests: new ClientRequests(shared, inbox),
    tasks: tasks?.engine,
    nextRequestId: () => `${nodeId}-${(++counter).toString(36)}`,
  }
  const kernel = new Kernel(services)
  await kernel.start()
  await members?.start()
  await hints?.start()
  await cache.start()
  const startWorker = async (given: WorkerOptions): Promise<RunningWorker | undefined> => {
    const worker = await tasks?.startWorker(services, given)
    if (worker !== undefined) workers.add(worker)
    return worker
  }
  const probes = new Probes({
    isReady,
    metrics: renderMetrics ?? (() => telemetry.metrics.render()),
    onError: (error) => telemetry.failure(undefined, 'The metrics could not be rendered.', error),
  })
  const parts: HttpParts = {
    kernel,
    options,
    telemetry,
    clock,
    ticker,
    probes,
    isReady: () => isOpen,
    admission,
    artifacts,
    ...door,
  }

  const close = async (): Promise<void> => {
    // Idle connections stay during the delay: closing one while a balancer sends a request on it would lose that request.
    // Each answer says meanwhile that its connection ends with it.
    let isDelayOver = false
    // The clock's timers keep no process alive, and the last socket may be gone before the last call has ended.
    const alive = setInterval(() => {
      if (isDelayOver) httpServer?.closeIdle()
    }, 100)
    isOpen = false
    // Balancers see `/readyz` fail before connections are refused.
    if (httpServer !== undefined && options.drainDelayMs > 0) await clock.sleep(options.drainDelayMs)
    isDelayOver = true
    kernel.shutdown()
    const workersClosed = Promise.all([...workers].map((worker) => worker.close(options.drainDeadlineMs)))
    // When standard input has ended nobody reads the answers any more: there is nothing to wait for.
    const deadlineMs = clock.monotonic() + (isInputOver ? 0 : options.drainDeadlineMs)
    while (kernel.runningCount > 0 && clock.monotonic() < deadlineMs) await clock.sleep(20)
    kernel.stopRunning()
    // Handlers that heed the abort still get their answers out, and streams their ends.
    const cutMs = clock.monotonic() + FLUSH_MS
    while (kernel.runningCount > 0 && clock.monotonic() < cutMs) await clock.sleep(20)
    const serverClosed = httpServer?.close()
    await Promise.race([serverClosed, clock.sleep(FLUSH_MS)])
    httpServer?.cut()
    await serverClosed
    await workersClosed
    await kernel.close()
    await collector?.close()
    await tasks?.close()
    limiter?.close()
    await hints?.close()
    await members?.close()
    await cache.close()
    await artifacts?.close()
    await backends.close()
    // Last of what is reached from outside: it says until then that this process is not ready.
    const adminClosed = adminServer?.close()
    adminServer?.cut()
    await adminClosed
    await telemetry.close()
    clearInterval(alive)
  }

  const listenAdmin = async (): Promise<number | undefined> => {
    const { adminPort: port, host } = options
    if (port === undefined || adminServer !== undefined) return adminServer?.port
    adminServer = await listen(createAdminHandler(probes), { ...options, host, port }, (error, send) =>
      kernel.refuse({ respond: (status, body) => send(status, body as string) }, error, undefined),
    )
    return adminServer.port
  }

  const runtime: Runtime = {
    notify: services.changes.notify,
    cache: { invalidate: (tags) => cache.invalidate(tags) },
    get tasks() {
      if (tasks === undefined)
        throw new HoldfastError('invalid_option', 'No tool of this server runs as a task. Give one the option `task`.')
      return tasks.outside
    },
    use: (dependency, work, use = {}) => guards.use(dependency, work, use, {}),
    dependencies: { list: () => guards.list(), subscribe: (listener) => guards.subscribe(listener) },
    async startWorker(given = {}) {
      await startWorker(given)
    },
    get isReady() {
      return isReady()
    },
    metrics: () => probes.metrics(),
    nodeHandler: createNodeHandler(parts, true),
    fetch: createFetchHandler(parts),
    listenAdmin,
    async listen(where = {}) {
      if (httpServer !== undefined)
        throw new HoldfastError('invalid_option', `This runtime listens on port ${httpServer.port} already.`)
      const host = where.host ?? options.host
      if (!isLoopback(host) && !options.allowAnonymous && options.auth === undefined)
        throw new HoldfastError(
          'invalid_option',
          `Listening on ${host} would let anyone who reaches this machine call the tools. Set \`auth\` to say who may, set HOLDFAST_ALLOW_ANONYMOUS=1 (allowAnonymous) if anyone may, or listen on 127.0.0.1.`,
        )
      const needy = options.auth === undefined ? catalog.scopes[0] : undefined
      if (needy !== undefined)
        throw new HoldfastError(
          'invalid_option',
          `Something in this server needs the scope ${JSON.stringify(needy)}, which nobody can have without authentication. Set \`auth\`, or take \`scopes\` away.`,
        )
      httpServer = await listen(
        createNodeHandler(
          {
            ...parts,
            probes: options.adminPort === undefined ? probes : undefined,
            options: { ...options, allowedHosts: withHost(options.allowedHosts, host) },
          },
          false,
        ),
        { ...options, host, port: where.port ?? options.port },
        (error, send) => kernel.refuse({ respond: (status, body) => send(status, body as string) }, error, undefined),
      )
      await listenAdmin()
      const name = host.includes(':') ? `[${host}]` : host
      return { host, port: httpServer.port, url: `http://${name}:${httpServer.port}${options.path}` }
    },
    async serveStdio(streams) {
      const { input, output } = streams ?? { input: process.stdin, output: process.stdout }
      await serveStdio(kernel, {
        principal: await stdioPrincipal(door.authenticator, options.stdioCredential, catalog.scopes),
        input: input as Readable,
        output: output as Writable,
        maxBodyBytes: options.maxBodyBytes,
        maxBufferedBytes: options.maxBufferedBytes,
        onDrop: () => telemetry.count('dropped_notifications', 'stdio'),
      })
      isInputOver = true
    },
    close: () => (closing ??= close()),
  }
  internals.set(runtime, { kernel, services, admission, telemetry, options })
  try {
    if (options.worker !== false) await startWorker(options.worker === true ? {} : options.worker)
  } catch (error) {
    await runtime.close()
    throw error
  }
  return runtime
}

const sum = (workers: Iterable<RunningWorker>, of: (worker: RunningWorker) => number): number =>
  Iterator.from(workers).reduce((total, worker) => total + of(worker), 0)

/** The address that is listened on may be named, too, unless it stands for every address of the machine. */
function withHost(allowedHosts: readonly string[], host: string): readonly string[] {
  if (host === '0.0.0.0' || host === '::') return allowedHosts
  return [...allowedHosts, host.includes(':') ? `[${host}]` : host]
}

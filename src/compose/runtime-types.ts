import type { Notify } from '../define/context.ts'
import type { DependencyState } from '../resilience/guards.ts'
import type { Use } from '../define/dependency.ts'
import type { FetchHandler } from '../transports/http/fetch-handler.ts'
import type { NodeHandler } from '../transports/http/node-handler.ts'
import type { RuntimeTasks } from './tasks.ts'
import type { WorkerOptions } from './worker-options.ts'

/** A server definition, wired and ready to serve. */
export interface Runtime {
  /** Tells clients that something changed. */
  readonly notify: Notify
  /** Cached values, for code outside the tools. */
  readonly cache: RuntimeCache
  /** Durable tasks, for code outside the tools. @throws where no tool of the server runs as one */
  readonly tasks: RuntimeTasks
  /** What `ctx.use` does, for code outside the tools. @throws what `ctx.use` throws */
  readonly use: Use
  /** What lies outside, as this process has found it. */
  readonly dependencies: RuntimeDependencies
  /** Starts a worker in this process, where the option `worker` is false; {@link close} ends it. */
  startWorker(options?: WorkerOptions): Promise<void>
  /** Whether requests should be sent here: not before a shared store was reached once, and not any more once {@link close} was called. */
  readonly isReady: boolean
  /** The metrics in Prometheus' text format, for who serves them on a route of their own. */
  metrics(): Promise<{ contentType: string; body: string }>
  /**
   * Listens for HTTP; resolves with the address once connections are taken.
   * @throws {HoldfastError} `port_in_use`, `invalid_option`
   */
  listen(where?: { host?: string; port?: number }): Promise<Listening>
  /** Listens for probes and metrics on the option `adminPort`; {@link listen} does so too. `undefined`: there is no such port. */
  listenAdmin(): Promise<number | undefined>
  /** Serves MCP inside Express, Fastify, or a `node:http` server of your own, on whatever path it is mounted. */
  readonly nodeHandler: NodeHandler
  /** Serves MCP inside Hono and other web-standard frameworks, on whatever path it is mounted. */
  readonly fetch: FetchHandler
  /** Serves one client on standard input and output; resolves when the input ends. */
  serveStdio(streams?: { input: NodeJS.ReadableStream; output: NodeJS.WritableStream }): Promise<void>
  /**
   * Ends in order: takes no new requests, ends streams, waits for running calls until `drainDeadlineMs`, aborts the rest.
   * May be called twice.
   */
  close(): Promise<void>
}

/** What code outside the tools may do with cached values. */
export interface RuntimeCache {
  /**
   * Lets nothing be given out any more that is cached with one of these tags and was computed before, on any node.
   * @throws {HoldfastError} `invalid_cache` for what are no tags; `state_unavailable` where the store can't be told: try again then
   */
  invalidate(tags: readonly string[]): Promise<void>
}

/** The dependencies that a runtime has used. */
export interface RuntimeDependencies {
  /** Each that was used at least once. */
  list(): readonly DependencyState[]
  /** Calls `listener` whenever the breaker of one opens, lets a probe through, or closes; the returned function ends that. */
  subscribe(listener: (state: DependencyState) => void): () => void
}

/** Where a runtime listens. */
export interface Listening {
  readonly host: string
  readonly port: number
  /** The MCP endpoint. */
  readonly url: string
}

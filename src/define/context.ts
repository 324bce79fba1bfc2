import type { ContextArtifacts } from './artifact.ts'
import type { Asking } from './ask.ts'
import type { CacheOptions } from './cache.ts'
import type { Use } from './dependency.ts'

/** Severity of a log message (RFC 5424, as in MCP "Logging"), from the least to the most severe. */
export const LOG_LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'] as const
/** One of the eight severities of {@link ContextLog}, as in RFC 5424. */
export type LogLevel = (typeof LOG_LEVELS)[number]

/**
 * Writes to the server's log, with the request's id, and to the client where it asked for logs
 * (2026-07-28: `_meta["io.modelcontextprotocol/logLevel"]`; 2025: `logging/setLevel`, `info` and up before that).
 * `fields` become `data: { message, ...fields }` on the wire; without them `data` is the message.
 */
export type ContextLog = { readonly [Level in LogLevel]: (message: string, fields?: Record<string, unknown>) => void }

/** Who calls: the authenticated caller, or the anonymous one. */
export interface Principal {
  /** Who vouches for the subject: the URL of an issuer; `api-key`; `local`, for the user that runs a server on stdio; `anonymous`. */
  readonly issuer: string
  readonly subject: string
  readonly tenant?: string
  /** What the caller may do; of broader scopes also the narrower ones that they stand for. */
  readonly scopes: readonly string[]
}

/** The principal of a caller who did not authenticate. What it holds (sessions, handles) are bearer secrets. */
export const ANONYMOUS: Principal = Object.freeze({
  issuer: 'anonymous',
  subject: 'anonymous',
  scopes: Object.freeze([]),
})

/** What the calling client says of itself. None of it is verified. */
export interface Client {
  readonly name?: string
  readonly version?: string
  /** Revision of MCP that this request is served in. */
  readonly protocolVersion: string
  /** Capabilities as the client declared them. */
  readonly capabilities: Readonly<Record<string, unknown>>
}

/** Tells every client that listens that something changed. */
export interface Notify {
  toolsChanged(): void
  promptsChanged(): void
  resourcesChanged(): void
  /** A resource has new contents; only clients that subscribed to this URI hear of it. */
  resourceUpdated(uri: string): void
}

/** Starts tasks from within a handler; see {@link Context.tasks}. */
export interface ContextTasks {
  /**
   * Starts a task of a tool, once: under this name of the call, however often the handler runs again. It belongs to the caller,
   * runs as the caller, and the scopes that its tool needs are not asked for: the handler decides.
   * @param name unique within the call, as of a step
   * @param options.delayMs runs no sooner. Default 0.
   * @throws {HoldfastError} `invalid_params` where there is no such tool that runs as a task, or the arguments do not fit;
   * `overloaded` where too many tasks wait.
   */
  create(
    name: string,
    tool: string,
    args: Record<string, unknown>,
    options?: { delayMs?: number },
  ): Promise<{ readonly id: string }>
}

/** What every handler receives beside its arguments. Its members may be destructured. */
export interface Context extends Asking {
  /** Aborts when the client cancels or (2026-07-28) disconnects, and when the server stops. Pass it on to everything that waits. */
  readonly signal: AbortSignal
  readonly log: ContextLog
  /**
   * Tells the client how far the work is, if it asked (`_meta.progressToken`). `done` must rise from call to call; a value
   * that does not is dropped. `total` and `done` share a unit of the handler's choice.
   */
  readonly progress: (done: number, total?: number, message?: string) => void
  /** Id of this request in logs, errors and traces. */
  readonly requestId: string
  readonly client: Client
  readonly principal: Principal
  readonly notify: Notify
  /** Starts tasks of this server's tools. */
  readonly tasks: ContextTasks
  /**
   * Does something with a dependency, under its guard: in time, repeated where that is safe, not at all while it is down.
   * Give the signal that `work` gets to whatever waits.
   * @throws {HoldfastError} `dependency_unavailable`, `dependency_timeout`, which the model can read; what `work` throws
   */
  readonly use: Use
  /** Big results: written as they come, and linked to. */
  readonly artifacts: ContextArtifacts
  /**
   * A value that is computed once: what was computed under this name and key before is given instead, on every node, and calls
   * that want it at the same time wait for one of them.
   *
   * What is returned is what JSON makes of the value (bytes stay bytes), each time a copy of one's own.
   * @param name of the cache: a label of metrics, and part of the key
   * @param key all that the value depends on, of what JSON can say; the caller is part of it by itself (see `scope`)
   * @param compute must not ask the client. Its signal aborts when no call waits for the value any more: use it in place of
   * `ctx.signal`, which is that of one call alone
   * @throws {HoldfastError} `invalid_cache` for a name, key, value or option that can't be; and what `compute` throws
   */
  readonly cache: <T>(
    name: string,
    key: unknown,
    compute: (signal: AbortSignal) => T | PromiseLike<T>,
    options: CacheOptions,
  ) => Promise<T>
  /**
   * Lets nothing be given out any more that is cached with one of these tags and was computed before, on any node.
   * @throws {HoldfastError} `state_unavailable` where the store can't be told; try again then
   */
  readonly invalidate: (tags: readonly string[]) => Promise<void>
  /**
   * Ends the connection of this call's stream, not the call: the client reconnects after `retryMs` (default 1000) and
   * finds what was sent meanwhile, the result included. For long calls behind proxies that cut long streams. Does
   * something only in a 2025-11-25 session over HTTP whose stream is open; elsewhere streams can't be resumed.
   */
  readonly closeStream: (retryMs?: number) => void
}

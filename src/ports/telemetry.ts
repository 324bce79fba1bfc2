/**
 * What the kernel tells of itself. One implementation writes logs, metrics and traces (`src/telemetry/`); the port keeps
 * the kernel free of their libraries.
 */
export interface Telemetry {
  /** A request of the protocol begins. */
  start(operation: OperationStart): Operation
  /** A worker begins an attempt at a task. */
  startAttempt(attempt: AttemptStart): Operation
  /** The attempt is over. Called once for each `startAttempt`. */
  endAttempt(operation: Operation, end: AttemptEnd): void
  /** The operation is over. Called once for each `start`. */
  end(operation: Operation, end: OperationEnd): void
  /** Runs a handler so that what it does belongs to the operation's trace. */
  run<T>(operation: Operation, fn: () => T): T
  /** Trace context of an operation, for what belongs to it and runs in another thread or process; `undefined`: it is not traced. */
  traceOf(operation: Operation): TraceContext | undefined
  /** A message was refused before it became an operation. */
  refused(requestId: string, code: string, httpStatus: number, from: Origin): void
  /** A 2025 session has ended, whose start is known. */
  sessionEnded(session: SessionEnd): void
  /** Something failed inside that no client may see the details of. */
  failure(operation: Operation | undefined, message: string, error: unknown): void
  /** A handler's own log line. */
  handlerLog(operation: Operation, level: string, message: string, fields: object | undefined): void
  /** A request has waited so long for a slot, and has one now. */
  queued(seconds: number): void
  /** The queue or topic that a trigger is fed from can be read, or, with an error, no longer. */
  sourceChanged(trigger: string, error: Error | undefined): void
  /** What became of a request to a cache. */
  cached(cache: string, event: CacheEvent): void
  /** A use of a dependency begins. `undefined`: nothing is traced. */
  startUse(operation: Operation | undefined, dependency: string): UseSpan | undefined
  /** It has ended. `outcome`: `ok`, `failed`, `error`, `timeout`, `open`, `full` or `cancelled`. */
  dependencyUsed(dependency: string, outcome: string, durationSeconds: number): void
  /** The breaker of a dependency has opened, lets a probe through, or has closed. */
  breakerChanged(dependency: string, state: 'closed' | 'open' | 'half_open'): void
  /** The broker that rings for tasks is reached (`up`), or `away`; or it has other queues than are needed (`differs`). */
  queueChanged(state: QueueState, error: Error | undefined): void
  /** A language or embedding model was called, or its answer taken from the cache. */
  modelUsed(use: ModelUse): void
  /** One more of something that operators count. */
  count(counter: Counter, label?: string): void
}

/** Things counted beside operations; `label` tells their kind. */
export type Counter =
  /** Requests served in the lenient header mode, which breaks a MUST; labelled with what was forgiven. */
  | 'lenient'
  /** Streams cut because their reader was too slow. */
  | 'slow_readers'
  /** Answers given without the state store, because it did not answer; labelled with what was left out. */
  | 'degraded'
  /** Notifications dropped because their stream could not take them; labelled with the reason. */
  | 'dropped_notifications'
  /** Repeated requests answered with the stored outcome of the first; labelled `idempotency_key` or `request_state`. */
  | 'idempotent_replays'
  /** Questions sent to clients; labelled with their method. */
  | 'questions'
  /** Answers that answered nothing; labelled `late` (known node, nobody waits) or `repeated`. */
  | 'late_answers'
  /** Artifacts: `offloaded`, `not_offloaded` (the store failed), `read`, `downloaded`, `collected`, as the label says. */
  | 'artifacts'
  /** Requests refused because the node has as much work as it can take; labelled with the reason. */
  | 'sheds'
  /** Messages and times that a trigger has made a task of, or found the task of; labelled with the trigger, as the next three are. */
  | 'trigger_tasks'
  /** Those that never can become a task. */
  | 'trigger_refusals'
  /** Attempts to start a task that are made again. */
  | 'trigger_retries'
  /** Scheduled times that got no task. */
  | 'trigger_missed'
  /** Attempts at tasks that ended; labelled with how. */
  | 'task_attempts'
  /** Times that the broker which rings for tasks was found `away`, or with other queues than are needed (`differs`). */
  | 'queue_failures'
  /** Attempts at something outside that are made again; labelled with the dependency, as the next three are. */
  | 'dependency_retries'
  /** Those that its retry budget did not allow. */
  | 'dependency_retries_refused'
  /** Uses that went on with a fallback. */
  | 'dependency_fallbacks'
  /** Times that its breaker opened, from closed. */
  | 'breaker_openings'
  /** Openings that other nodes told of. */
  | 'breaker_hints'

/** The span of one use of a dependency. */
export interface UseSpan {
  /** Runs what belongs to it. */
  run<T>(fn: () => T): T
  event(name: string, attributes: Readonly<Record<string, string | number>>): void
  end(outcome: string, error: unknown): void
}

/** What is known of the broker that rings for tasks. */
export type QueueState = 'up' | 'away' | 'differs'

/**
 * What became of a request to a cache: a value from the `memory` of this process, from the `store`, expired and computed anew
 * meanwhile (`stale`) or in vain (`stale_if_error`); it `waited` for another's computing, was `computed`, has `failed`; was
 * `missed` (by a batch, which computes by itself), or `bypassed` the cache, since the caller is anonymous, or was asked.
 * `unled`: something was computed without asking whether another node does.
 */
export type CacheEvent =
  'memory' | 'store' | 'stale' | 'stale_if_error' | 'waited' | 'computed' | 'failed' | 'missed' | 'bypassed' | 'unled'

/** A call of a language or embedding model, or one that was spared. */
export interface ModelUse {
  readonly operation: 'generate' | 'stream' | 'embed'
  /** Id of the model. */
  readonly model: string
  /** `cached`: the answer was there; `waited`: another call's answer was; in both cases the rest says what that spared. */
  readonly outcome: 'called' | 'failed' | 'cancelled' | 'cached' | 'waited'
  readonly inputTokens: number
  readonly outputTokens: number
  /** `undefined`: there is no price for it. */
  readonly cost: { readonly amount: number; readonly currency: string } | undefined
  readonly seconds: number
}

/** Where a message came from, as far as that is known. */
export interface Origin {
  readonly transport?: 'http' | 'stdio' | 'memory'
  readonly address?: string | undefined
}

/** A session that has ended. */
export interface SessionEnd {
  /** Seconds since `initialize`. */
  readonly durationSeconds: number
  readonly protocolVersion: string
  readonly transport: 'http' | 'stdio' | 'memory'
}

export interface OperationStart {
  readonly requestId: string
  readonly method: string
  /** Tool or prompt name, once known to exist; `_unknown` for one that doesn't. */
  readonly tool?: string | undefined
  readonly prompt?: string | undefined
  readonly resourceUri?: string | undefined
  /** Absent on notifications. */
  readonly rpcId: string | number | undefined
  readonly protocolVersion: string
  readonly sessionId: string | undefined
  readonly transport: 'http' | 'stdio' | 'memory'
  /** Version of HTTP (`1.1`, `2.0`), where it is known. */
  readonly httpVersion?: string | undefined
  readonly address: string | undefined
  readonly port: number | undefined
  /** W3C trace context from `params._meta`. */
  readonly traceparent: string | undefined
  readonly tracestate: string | undefined
  readonly baggage: string | undefined
}

/** An attempt at a task. */
export interface AttemptStart {
  /** Of the request that made the task. */
  readonly requestId: string
  readonly taskId: string
  readonly tool: string
  /** Counted from 1. */
  readonly attempt: number
  readonly protocolVersion: string
  /** W3C trace context of who made the task: the attempt is a trace of its own, linked to it. */
  readonly traceparent: string | undefined
}

/** A place in a trace, as the registered propagators write it (W3C: `traceparent`, `tracestate`). */
export type TraceContext = Readonly<Record<string, string>>

/** How an attempt ended. */
export interface AttemptEnd {
  readonly durationSeconds: number
  /** `completed`, `failed`, `cancelled`, `asked`, `sleeping`, `retry`, `released`, `abandoned`, `crashed`, `unstarted`. */
  readonly outcome: string
}

/** A begun operation; opaque to the kernel but for these. */
export interface Operation {
  readonly start: OperationStart | AttemptStart
}

export interface OperationEnd {
  /** Seconds since the start. */
  readonly durationSeconds: number
  /** HTTP status of the answer; 200 where it was streamed. */
  readonly httpStatus: number
  /** JSON-RPC error code, `tool_error`, `cancelled`, or nothing. */
  readonly errorType: string | undefined
  /** JSON-RPC error code, where the answer is an error. */
  readonly rpcCode: number | undefined
  /** What the client was told of the error. */
  readonly message: string | undefined
}

import { inspect } from 'node:util'
import { PlacedArtifacts } from '../artifacts/placed.ts'
import { LOG_LEVELS, type Client, type Principal } from '../define/context.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { ERRORS } from '../errors/table.ts'
import type { Operation, OperationEnd } from '../ports/telemetry.ts'
import { bodyText, type Body, type Exchange, type LegacySession, type Reply } from './exchange.ts'
import { ownerOf } from './owner.ts'
import type { JsonObject, RequestId, Revision } from './protocol.ts'
import { errorBody, notificationBody, resultBody, rpcCode, type Era } from './rpc.ts'
import type { Replay } from './replay.ts'
import type { Entry } from './request-state.ts'
import type { Hold } from '../limits/admission.ts'
import type { Services } from './services.ts'
import type { Call } from './call.ts'
import type { TaskStart } from './task-engine.ts'
import type { Ticking } from './ticker.ts'

/** What a request is, before it is served. */
export interface InvocationFacts {
  readonly rpcId: RequestId
  readonly method: string
  readonly params: JsonObject
  readonly meta: JsonObject
  readonly revision: Revision
  readonly era: Era
  readonly client: Client
  readonly session: LegacySession | undefined
  /** Least severe level that the client hears, as an index of LOG_LEVELS; `undefined`: none. */
  readonly logLevel: number | undefined
}

/** The result of a method: the members of its `result` as JSON (without braces), and the handler's own `_meta`. */
export interface Outcome {
  readonly members: string | Buffer
  readonly meta?: JsonObject | undefined
  /** The tool failed; told to telemetry. */
  readonly isError?: boolean
  /**
   * Not the end. `input_required`: the client is asked, and calls again with the answers (2026-07-28, `InputRequiredResult`);
   * `task`: it asks for the result by the handle that it is given (SEP-2663, `CreateTaskResult`).
   */
  readonly resultType?: 'complete' | 'input_required' | 'task'
}

/**
 * One request being served, from its message to its answer.
 *
 * Stages: `pending` (nothing sent) → `streaming` (from the first notification, or after `quietMs`) → `done`.
 * 1. Exactly one of {@link succeed}, {@link fail}, {@link abandon} ends it; what comes later is dropped.
 * 2. After the end nothing is sent, whatever the handler still does.
 * 3. Telemetry hears of the start once and of the end once.
 */
export class Invocation implements Ticking, Call {
  readonly services: Services
  readonly exchange: Exchange
  readonly facts: InvocationFacts
  readonly requestId: string
  readonly startedMs: number
  operation!: Operation
  /** Steps and questions, from the first one on. */
  replay: Replay | undefined
  /** What the legs before this one have put on record. */
  record: readonly Entry[] = []
  /** It goes on with a call that was paid for. */
  isPaid = false
  /** The call becomes a task where its handler says so: with these arguments, of this tool. */
  detachable: Pick<TaskStart, 'tool' | 'arguments'> | undefined
  /** Key and digest under which the outcome of the call is kept, where it has an idempotency key. */
  callKey: readonly [key: string, digest: string] | undefined
  /** Takes the place of the handler's outcome when the handler is put aside. */
  onPutAside: ((outcome: Promise<Outcome>) => void) | undefined
  /** Called when the node begins to stop. */
  onDrain: (() => void) | undefined
  /** The slot that its handler holds. */
  hold: Hold | undefined
  /** Takes it out of the queue, while it waits there for a slot. */
  leaveQueue: (() => void) | undefined
  #reply: Reply
  #isPutAside = false
  #stage: 'pending' | 'streaming' | 'done' = 'pending'
  #controller: AbortController | undefined
  #lastWriteMs = 0
  #lastProgress = -Infinity
  #key: string | undefined
  #artifacts: PlacedArtifacts | undefined

  constructor(services: Services, exchange: Exchange, reply: Reply, facts: InvocationFacts) {
    this.services = services
    this.exchange = exchange
    this.facts = facts
    this.#reply = reply
    this.requestId = services.nextRequestId()
    this.startedMs = services.clock.monotonic()
  }

  get principal(): Principal {
    return this.exchange.principal
  }
  get caller(): Exchange {
    return this.exchange
  }
  get isDone(): boolean {
    return this.#stage === 'done'
  }

  /** Made on first use: most handlers never look at it. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#stage === 'done' && !this.#controller.signal.aborted) this.#controller.abort(this.#endedReason())
    return this.#controller.signal
  }

  /** What the handler writes and reads; made on first use. */
  get artifacts(): PlacedArtifacts {
    const place = { owner: ownerOf(this.principal), requestId: this.requestId }
    return (this.#artifacts ??= new PlacedArtifacts(this.services.artifacts, place, () => this.signal))
  }

  /** The handler did not return at once: from here on the request can be cancelled, and is kept alive. */
  wait(): void {
    if (this.#stage === 'done') return
    const { services, exchange, facts } = this
    services.running.add(this)
    services.ticker.add(this)
    const scope = facts.session?.sid ?? exchange.connection?.scope
    if (scope !== undefined) services.cancellable.set((this.#key = cancelKey(scope, facts.rpcId)), this)
    // A 2025 disconnect cancels nothing (2025-11-25, transports, "Sending Messages to the Server").
    if (facts.era === 'modern' && exchange.onDisconnect === undefined)
      exchange.onDisconnect = () => this.abandon('cancelled')
  }

  /** It has to wait for a slot. Who goes away meanwhile, in either era, has nothing begun that could be gone on with. */
  queue(leave: () => void): void {
    this.leaveQueue = leave
    this.wait()
    const { exchange } = this
    const before = exchange.onDisconnect
    exchange.onDisconnect = () => {
      if (this.leaveQueue !== undefined) this.abandon('cancelled')
      before?.()
    }
  }

  tick(nowMs: number): void {
    const { quietMs, keepAliveMs } = this.services.options
    if (this.#stage === 'pending') {
      if (nowMs - this.startedMs >= quietMs) this.#stream(nowMs)
    } else if (nowMs - this.#lastWriteMs >= keepAliveMs) {
      this.#lastWriteMs = nowMs
      this.#reply.keepAlive()
    }
  }

  /** Sends a notification of this request; dropped where the client takes no stream, or after the end. */
  emit(message: string): void {
    if (this.#stage === 'done') return
    if (this.#stage === 'pending' && !this.#stream(this.services.clock.monotonic())) return
    this.#lastWriteMs = this.services.clock.monotonic()
    this.#reply.write(message)
  }

  #stream(nowMs: number): boolean {
    if (this.exchange.head?.acceptsStream === false) return false
    this.#stage = 'streaming'
    this.#lastWriteMs = nowMs
    this.#reply.openStream()
    return true
  }

  progress(done: number, total: number | undefined, message: string | undefined): void {
    const token = this.facts.meta.progressToken
    // MCP 2026-07-28, progress: the value MUST increase with each notification.
    if (
      (typeof token !== 'string' && typeof token !== 'number') ||
      typeof done !== 'number' ||
      !(done > this.#lastProgress) ||
      !Number.isFinite(done)
    )
      return
    this.#lastProgress = done
    if (this.replay?.isReplaying === true) return
    this.emit(
      notificationBody('notifications/progress', {
        progressToken: token,
        progress: done,
        ...(Number.isFinite(total) ? { total } : {}),
        ...(typeof message === 'string' ? { message } : {}),
      }),
    )
  }

  log(level: number, message: string, fields: Record<string, unknown> | undefined): void {
    if (this.replay?.isReplaying === true) return
    const name = LOG_LEVELS[level]!
    this.services.telemetry.handlerLog(this.operation, name, message, fields)
    if (this.facts.logLevel === undefined || level < this.facts.logLevel) return
    const data = fields === undefined ? message : { message, ...fields }
    this.emit(
      notificationBody('notifications/message', {
        level: name,
        logger: this.services.catalog.server.name,
        data: toJsonValue(data),
      }),
    )
  }

  closeStream(retryMs: number): void {
    if (this.#stage === 'streaming' || (this.#stage === 'pending' && this.#stream(this.services.clock.monotonic())))
      this.#reply.pause?.(retryMs)
  }

  /**
   * The answer waits for a task. Where the stream of the call can be resumed it becomes a stream now, so that the client can come
   * back to whichever node, and that one goes on with the waiting.
   */
  async shareWaiting(task: string): Promise<void> {
    const { rpcId, params, meta } = this.facts
    if (this.exchange.head?.acceptsStream !== true || this.#reply.shareWaiting === undefined) return
    const { progressToken: token } = meta
    const isToken = typeof token === 'string' || typeof token === 'number'
    await this.#reply.shareWaiting({
      task,
      rpcId,
      tool: params.name as string,
      ...(isToken ? { progressToken: token } : {}),
    })
    if (this.#stage === 'pending') this.#stream(this.services.clock.monotonic())
  }

  /** Leaves a call that waits for a task to another node; nothing is answered here. `false`: that can't be done. */
  async handOver(): Promise<boolean> {
    if (this.#stage !== 'streaming' || (await this.#reply.handOver?.()) !== true) return false
    this.#end(undefined, 200)
    return true
  }

  /**
   * The call was begun on another node, and has its stream.
   * @param told progress that the client was told of.
   */
  resume(told: number): void {
    this.#stage = 'streaming'
    this.#lastWriteMs = this.startedMs
    this.#lastProgress = told
  }

  succeed({ members, meta, isError, resultType }: Outcome): void {
    if (this.#stage === 'done') return
    const body = this.#result(members, meta, resultType) // may throw: the handler's own `_meta` may be none that JSON can say
    this.#end(isError === true ? 'tool_error' : undefined, 200)
    this.#send(200, body)
    this.#letGo()
  }

  /** A handler that was put aside goes no further; what it holds can be let go. */
  #letGo(): void {
    if (this.#isPutAside) this.#controller?.abort(this.#endedReason())
  }

  /** The handler is left where it is; the request is answered with `outcome`. */
  putAside(outcome: Promise<Outcome>): void {
    this.#isPutAside = true
    // A handler that returned without waiting for what it asked has an outcome of its own; this one is for nobody.
    outcome.catch(() => undefined)
    this.onPutAside?.(outcome)
  }

  /** Sends a request to the client on the stream of this one (2025 revisions); `false` where the client takes no stream. */
  sendRequest(request: string): boolean {
    if (this.#stage === 'done' || (this.#stage === 'pending' && !this.#stream(this.services.clock.monotonic())))
      return false
    this.#lastWriteMs = this.services.clock.monotonic()
    this.#reply.writeRequest(request)
    return true
  }

  #result(
    members: string | Buffer,
    meta: JsonObject | undefined,
    resultType: Outcome['resultType'] = 'complete',
  ): Body {
    const { facts, services } = this
    const isModern = facts.era === 'modern'
    const head = isModern ? `{"resultType":"${resultType}",` : '{'
    const tail = isModern
      ? (members.length === 0 ? '"_meta":' : ',"_meta":') +
        (meta === undefined
          ? services.catalog.resultMeta
          : JSON.stringify({ ...services.catalog.resultMetaObject, ...meta })) +
        '}'
      : (meta === undefined || facts.revision < '2025-06-18'
          ? ''
          : (members.length === 0 ? '' : ',') + `"_meta":${JSON.stringify(meta)}`) + '}'
    if (typeof members === 'string') return resultBody(facts.rpcId, head + members + tail)
    return [
      Buffer.from(`{"jsonrpc":"2.0","id":${JSON.stringify(facts.rpcId)},"result":${head}`),
      members,
      Buffer.from(`${tail}}`),
    ]
  }

  fail(error: HoldfastError): void {
    const { http } = ERRORS[error.code]
    const status = this.facts.era === 'modern' || STATUS_IN_BOTH_ERAS.has(http) ? http : 200
    const code = rpcCode(error, this.facts.era)
    if (!this.#end(String(code), status, { rpcCode: code, message: error.message })) return
    this.#send(status, errorBody(error, this.facts.rpcId, this.requestId, this.facts.era), errorHeaders(error))
    this.#letGo()
  }

  /** Ends without an answer: the client has gone, or has cancelled. */
  abandon(errorType: 'cancelled'): void {
    if (!this.#end(errorType, 200)) return
    this.hold?.abandon()
    this.#controller?.abort(this.#endedReason())
    this.#reply.abandon()
  }

  /** Ends where the answer was written by another: nothing more is sent. */
  settle(errorType: 'cancelled' | undefined): void {
    this.#end(errorType, 200)
  }

  /** Tells the handler to stop, for a reason of the server's; the answer is what it then returns. */
  stop(reason: HoldfastError): void {
    if (this.#stage === 'done') return
    this.#controller ??= new AbortController()
    this.#controller.abort(reason)
  }

  #end(errorType: string | undefined, httpStatus: number, error?: { rpcCode: number; message: string }): boolean {
    if (this.#stage === 'done') return false
    this.#wasStreaming = this.#stage === 'streaming'
    this.#stage = 'done'
    const { services } = this
    services.running.delete(this)
    services.ticker.delete(this)
    this.leaveQueue?.()
    this.leaveQueue = undefined
    if (this.#key !== undefined && services.cancellable.get(this.#key) === this) services.cancellable.delete(this.#key)
    const end: OperationEnd = {
      durationSeconds: (services.clock.monotonic() - this.startedMs) / 1000,
      httpStatus: this.#wasStreaming ? 200 : httpStatus,
      errorType,
      rpcCode: error?.rpcCode,
      message: error?.message,
    }
    services.telemetry.end(this.operation, end)
    return true
  }
  #wasStreaming = false

  #endedReason(): HoldfastError {
    return this.#isPutAside
      ? new HoldfastError('suspended', 'The call waits for an answer of the client; the handler runs again with it.')
      : new HoldfastError('handler_aborted', 'The client cancelled the request, or went away.')
  }

  #send(status: number, body: Body, headers?: Readonly<Record<string, string>>): void {
    if (!this.#wasStreaming && this.exchange.head?.acceptsJson === false) {
      this.#wasStreaming = true
      this.#reply.openStream()
    }
    if (this.#wasStreaming) {
      this.#reply.end(bodyText(body))
    } else this.#reply.respond(status, body, headers)
  }
}

/** 2025: an error in answer to a request is an ordinary answer. These tell proxies, and the authorization of clients, the same in both eras. */
const STATUS_IN_BOTH_ERAS: ReadonlySet<number> = new Set([401, 403, 429, 503])

/** What a handler logs goes out as JSON where JSON can say it, and else as Node would print it: a log must not fail a tool. */
function toJsonValue(data: unknown): unknown {
  try {
    JSON.stringify(data)
    return data
  } catch {
    return inspect(data, { depth: 4, breakLength: Infinity })
  }
}

/** Key of a running request among those that `notifications/cancelled` can name. */
export function cancelKey(scope: string, rpcId: RequestId): string {
  return `${scope} ${typeof rpcId} ${rpcId}`
}

/** The headers that an error brings, and `Retry-After` in whole seconds for one that carries `retryAfterMs`. */
export function errorHeaders({ data, headers }: HoldfastError): Readonly<Record<string, string>> | undefined {
  const retryAfterMs = data?.retryAfterMs
  return typeof retryAfterMs === 'number'
    ? { 'retry-after': String(Math.ceil(retryAfterMs / 1000)), ...headers }
    : headers
}

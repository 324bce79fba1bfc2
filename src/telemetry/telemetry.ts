import type { Context, Span } from '@opentelemetry/api'
import type {
  AttemptEnd,
  AttemptStart,
  CacheEvent,
  Counter,
  ModelUse,
  Operation,
  OperationEnd,
  OperationStart,
  Origin,
  QueueState,
  SessionEnd,
  Telemetry,
  TraceContext,
  UseSpan,
} from '../ports/telemetry.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { toLogError, toLogText, toLogValue } from './log-values.ts'
import { Logger, type Level, type LoggerOptions } from './logger.ts'
import { Metrics, type Gauges } from './metrics.ts'
import { networkAttributes, type OperationSeries } from './operation-series.ts'
import { Repeats } from './repeats.ts'
import { createTracing, type Tracing } from './tracing.ts'

class RunningOperation implements Operation {
  readonly start: OperationStart | AttemptStart
  span: Span | undefined
  context: Context | undefined
  constructor(start: OperationStart | AttemptStart) {
    this.start = start
  }
}

/** MCP has eight levels, log lines have six. */
const LEVELS: Readonly<Record<string, Level>> = {
  debug: 'debug',
  info: 'info',
  notice: 'info',
  warning: 'warn',
  error: 'error',
  critical: 'fatal',
  alert: 'fatal',
  emergency: 'fatal',
}

/** A valid `traceparent` (W3C Trace Context); the ids of all zeros are not. */
const TRACEPARENT = /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})[\da-f]{16}-[\da-f]{2}(-|$)/

/** The trace of spans that nobody records: only a meter provider is registered. */
const NO_TRACE = '0'.repeat(32)

/** Logs as JSON lines, metrics for Prometheus, spans and histograms by OpenTelemetry where an SDK is registered. */
export class RuntimeTelemetry implements Telemetry {
  readonly metrics: Metrics
  readonly #log: Logger
  readonly #tracing: Tracing | undefined
  readonly #isAccessLogged: boolean
  // Beginning of an access line, for the millisecond it says.
  #stampMs = 0
  #stamp = ''

  static async create(options: LoggerOptions, gauges: Gauges): Promise<RuntimeTelemetry> {
    const metrics = new Metrics(gauges)
    const log = new Logger(options, (lines, reason) => metrics.count('dropped_log_lines', reason, lines))
    return new RuntimeTelemetry(log, metrics, await createTracing((message) => log.log('warn', {}, message)))
  }

  readonly #repeats = new Repeats()

  constructor(log: Logger, metrics: Metrics, tracing: Tracing | undefined) {
    this.metrics = metrics
    this.#log = log
    this.#tracing = tracing
    this.#isAccessLogged = log.isEnabled('info')
  }

  start(start: OperationStart): Operation {
    const operation = new RunningOperation(start)
    if (this.#tracing !== undefined) {
      const { span, context } = this.#tracing.start(start)
      operation.span = span
      operation.context = context
    }
    return operation
  }

  startAttempt(start: AttemptStart): Operation {
    const operation = new RunningOperation(start)
    if (this.#tracing !== undefined) {
      const { span, context } = this.#tracing.startAttempt(start)
      operation.span = span
      operation.context = context
    }
    return operation
  }

  endAttempt(operation: Operation, { durationSeconds, outcome }: AttemptEnd): void {
    const { start, span } = operation as RunningOperation
    const { tool, taskId, attempt, requestId } = start as AttemptStart
    this.metrics.count('task_attempts', outcome)
    this.metrics.attempt(tool, outcome).observe(durationSeconds)
    if (span !== undefined) this.#tracing!.endAttempt(span, outcome)
    const traceId = traceIdOf(operation as RunningOperation)
    this.#log.log(
      'info',
      {
        requestId,
        taskId,
        tool,
        attempt,
        outcome,
        durationMs: Number(toMs(durationSeconds)),
        ...(traceId === undefined ? {} : { traceId }),
      },
      'attempt',
    )
  }

  run<T>(operation: Operation, fn: () => T): T {
    const { context } = operation as RunningOperation
    return context === undefined ? fn() : this.#tracing!.run(context, fn)
  }

  traceOf(operation: Operation): TraceContext | undefined {
    const { context } = operation as RunningOperation
    return context && this.#tracing!.carry(context)
  }

  end(operation: Operation, end: OperationEnd): void {
    const { start, span } = operation as RunningOperation
    const series = this.metrics.operations.find(start as OperationStart, end)
    series.observe(end.durationSeconds)
    if (span !== undefined) this.#tracing!.end(span, series, end)
    if (this.#isAccessLogged) this.#access(operation as RunningOperation, series, end)
  }

  /**
   * One line a request. Written by hand, from pieces that the series holds ready: it holds nothing that needs redaction,
   * and is a good part of a request's cost (0.13 µs so; 0.4 µs with each part made anew).
   */
  #access(operation: RunningOperation, series: OperationSeries, { durationSeconds, httpStatus }: OperationEnd): void {
    const { requestId, address, sessionId } = operation.start as OperationStart
    const traceId = traceIdOf(operation)
    const nowMs = Date.now()
    if (nowMs !== this.#stampMs) {
      this.#stampMs = nowMs
      this.#stamp = `{"level":30,"time":${nowMs},"requestId":"`
    }
    this.#log.writeLine(
      `${this.#stamp}${requestId}"${series.lineHead}${httpStatus},"durationMs":${toMs(durationSeconds)}${series.lineTail}` +
        (address === undefined ? '' : `,"address":"${address}"`) +
        (sessionId === undefined ? '' : `,"session":"${sessionId}"`) +
        (traceId === undefined ? '' : `,"traceId":"${traceId}"`) +
        ',"msg":"request"}\n',
    )
  }

  refused(requestId: string, code: string, status: number, { transport, address }: Origin): void {
    this.metrics.count('refusals', code)
    this.#log.log('info', { requestId, error: code, status, transport, address }, 'refused')
  }

  failure(operation: Operation | undefined, message: string, error: unknown): void {
    const err = toLogError(error)
    const span = (operation as RunningOperation | undefined)?.span
    if (span !== undefined) this.#tracing!.exception(span, err)
    const isAway = error instanceof HoldfastError && error.code === 'backend_failed'
    const keptBack = isAway ? this.#repeats.pass(message, performance.now()) : 0
    if (keptBack === undefined) return
    this.#log.log('error', { ...contextOf(operation), err, ...(keptBack > 0 && { repeated: keptBack }) }, message)
  }

  /** A shared store was reached, or lost. */
  stateChanged(isUp: boolean, error: Error | undefined): void {
    if (isUp) this.#log.log('info', {}, 'The state store is connected.')
    else this.#log.log('warn', { err: toLogError(error) }, 'The state store can not be reached.')
  }

  sourceChanged(trigger: string, error: Error | undefined): void {
    if (error === undefined) this.#log.log('info', { trigger }, 'The trigger is connected.')
    else this.#log.log('warn', { trigger, err: toLogError(error) }, 'The trigger can not be read from.')
  }

  queueChanged(state: QueueState, error: Error | undefined): void {
    if (state === 'up') return this.#log.log('info', {}, 'The task queue is connected.')
    this.metrics.count('queue_failures', state)
    const [level, what] =
      state === 'away' ? (['warn', 'can not be reached'] as const) : (['error', 'is not as it must be'] as const)
    this.#log.log(level, { err: toLogError(error) }, `The task queue ${what}; workers look for tasks by themselves.`)
  }

  handlerLog(operation: Operation, level: string, message: string, fields: object | undefined): void {
    const as = LEVELS[level] ?? 'info'
    if (!this.#log.isEnabled(as)) return
    const logged = fields === undefined ? {} : { fields: toLogValue(fields) }
    this.#log.log(as, { ...contextOf(operation), ...logged }, toLogText(String(message)))
  }

  startUse(operation: Operation | undefined, dependency: string): UseSpan | undefined {
    return this.#tracing?.startUse((operation as RunningOperation | undefined)?.context, dependency)
  }

  dependencyUsed(dependency: string, outcome: string, durationSeconds: number): void {
    this.metrics.dependency(dependency, outcome).observe(durationSeconds)
  }

  breakerChanged(dependency: string, state: 'closed' | 'open' | 'half_open'): void {
    if (state === 'open')
      this.#log.log('warn', { dependency }, 'The dependency is left alone: too many calls of it have failed.')
    else if (state === 'closed') this.#log.log('info', { dependency }, 'The dependency is back.')
    else this.#log.log('debug', { dependency }, 'The dependency is probed.')
  }

  count(counter: Counter, label?: string): void {
    this.metrics.count(counter, label)
  }

  modelUsed(use: ModelUse): void {
    this.metrics.models.used(use)
  }

  cached(cache: string, event: CacheEvent): void {
    this.metrics.cached(cache, event)
  }

  queued(seconds: number): void {
    this.metrics.queueWait.observe(seconds)
  }

  /** A session is over. Only where its start and its end are known: most clients just stay away. */
  sessionEnded({ durationSeconds, protocolVersion, transport }: SessionEnd): void {
    const series = this.metrics.session({
      'mcp.protocol.version': protocolVersion,
      ...networkAttributes(transport, undefined),
    })
    series.observe(durationSeconds)
    this.#tracing?.sessionEnded(series, durationSeconds)
  }

  /** Resolves when the log is written out, or can't be for now. */
  close(): Promise<void> {
    return this.#log.close()
  }
}

/** What a log line says of the request it belongs to. */
function contextOf(operation: Operation | undefined): object {
  if (operation === undefined) return {}
  const { start } = operation
  const traceId = traceIdOf(operation as RunningOperation)
  if ('taskId' in start) {
    const { requestId, taskId, attempt, tool } = start
    return { requestId, taskId, attempt, target: tool, ...(traceId === undefined ? {} : { traceId }) }
  }
  const { requestId, method, tool, prompt } = start
  const target = tool ?? prompt
  return {
    requestId,
    method,
    ...(target === undefined ? {} : { target }),
    ...(traceId === undefined ? {} : { traceId }),
  }
}

function traceIdOf({ span, start }: RunningOperation): string | undefined {
  const traced = span?.spanContext().traceId
  if (traced !== undefined && traced !== NO_TRACE) return traced
  const { traceparent } = start
  return traceparent === undefined ? undefined : TRACEPARENT.exec(traceparent)?.[1]
}

/** Seconds as milliseconds with three digits after the point: whole numbers become text at half the cost of fractions. */
function toMs(seconds: number): string {
  const micros = Math.round(seconds * 1e6)
  const ms = Math.floor(micros / 1000)
  const rest = micros - ms * 1000
  return `${ms}${rest < 10 ? '.00' : rest < 100 ? '.0' : '.'}${rest}`
}

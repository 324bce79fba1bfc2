import type { Context, Span } from '@opentelemetry/api'
import type { Counter, Operation, OperationEnd, OperationStart, Telemetry } from '../ports/telemetry.ts'
import { createLogger, type LoggerOptions, type OwnedLogger } from './logger.ts'
import { Metrics, type Gauges } from './metrics.ts'
import { observe } from './operation-histogram.ts'
import { createTracing, type Tracing } from './tracing.ts'

class RunningOperation implements Operation {
  readonly start: OperationStart
  span: Span | undefined
  context: Context | undefined
  constructor(start: OperationStart) {
    this.start = start
  }
}

/** MCP has eight levels, pino has six. */
const PINO_LEVELS: Readonly<Record<string, 'debug' | 'info' | 'warn' | 'error' | 'fatal'>> = {
  debug: 'debug',
  info: 'info',
  notice: 'info',
  warning: 'warn',
  error: 'error',
  critical: 'fatal',
  alert: 'fatal',
  emergency: 'fatal',
}

const TRACEPARENT = /^[\da-f]{2}-([\da-f]{32})-[\da-f]{16}-[\da-f]{2}/

/** Logs by pino, metrics for Prometheus, spans and histograms by OpenTelemetry where an SDK is registered. */
export class RuntimeTelemetry implements Telemetry {
  readonly metrics: Metrics
  readonly #log: OwnedLogger
  readonly #tracing: Tracing | undefined
  readonly #isAccessLogged: boolean

  static async create(options: LoggerOptions, gauges: Gauges): Promise<RuntimeTelemetry> {
    return new RuntimeTelemetry(createLogger(options), gauges, await createTracing())
  }

  constructor(log: OwnedLogger, gauges: Gauges, tracing: Tracing | undefined) {
    this.metrics = new Metrics(gauges)
    this.#log = log
    this.#tracing = tracing
    this.#isAccessLogged = log.logger.isLevelEnabled('info')
  }

  /** The logger, for the parts around the kernel. */
  get logger(): OwnedLogger['logger'] {
    return this.#log.logger
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

  run<T>(operation: Operation, fn: () => T): T {
    const { context } = operation as RunningOperation
    return context === undefined ? fn() : this.#tracing!.run(context, fn)
  }

  end(operation: Operation, end: OperationEnd): void {
    const { start, span } = operation as RunningOperation
    if (span !== undefined) this.#tracing!.end(span, start, end)
    const { method, tool, prompt, protocolVersion, transport } = start
    const { errorType } = end
    const key = `${method} ${tool ?? prompt ?? ''} ${errorType ?? ''} ${protocolVersion} ${transport}`
    const cell = this.metrics.operations.cell(key, () => ({
      mcp_method_name: method,
      ...(tool === undefined ? {} : { gen_ai_tool_name: tool }),
      ...(prompt === undefined ? {} : { gen_ai_prompt_name: prompt }),
      ...(errorType === undefined ? {} : { error_type: errorType }),
      mcp_protocol_version: protocolVersion,
      network_transport: transport === 'http' ? 'tcp' : transport === 'stdio' ? 'pipe' : 'inproc',
    }))
    observe(cell, end.durationSeconds)
    if (this.#isAccessLogged) this.#access(start, span, end)
  }

  /** One line a request. Written by hand: it holds nothing that needs redaction, and is a good part of a request's cost. */
  #access(
    start: OperationStart,
    span: Span | undefined,
    { durationSeconds, httpStatus, errorType }: OperationEnd,
  ): void {
    const { requestId, method, tool, prompt, protocolVersion, transport, address, traceparent, sessionId } = start
    const target = tool ?? prompt
    const traceId =
      span?.spanContext().traceId ?? (traceparent === undefined ? undefined : TRACEPARENT.exec(traceparent)?.[1])
    this.#log.writeLine(
      `{"level":30,"time":${Date.now()},"requestId":"${requestId}","method":${JSON.stringify(method)}` +
        (target === undefined ? '' : `,"target":${JSON.stringify(target)}`) +
        `,"status":${httpStatus},"durationMs":${Math.round(durationSeconds * 1e6) / 1000}` +
        (errorType === undefined ? '' : `,"error":"${errorType}"`) +
        `,"revision":"${protocolVersion}","transport":"${transport}"` +
        (address === undefined ? '' : `,"address":"${address}"`) +
        (sessionId === undefined ? '' : `,"session":"${sessionId}"`) +
        (traceId === undefined ? '' : `,"traceId":"${traceId}"`) +
        ',"msg":"request"}\n',
    )
  }

  refused(requestId: string, code: string, status: number): void {
    this.metrics.count('refusals', code)
    this.#log.logger.info({ requestId, error: code, status }, 'refused')
  }

  failure(operation: Operation | undefined, message: string, error: unknown): void {
    this.#log.logger.error({ requestId: operation?.start.requestId, err: error }, message)
  }

  handlerLog(operation: Operation, level: string, message: string, fields: object | undefined): void {
    this.#log.logger[PINO_LEVELS[level] ?? 'info']({ ...fields, requestId: operation.start.requestId }, message)
  }

  count(counter: Counter, label?: string): void {
    this.metrics.count(counter, label)
  }

  close(): void {
    this.metrics.close()
    this.#log.close()
  }
}

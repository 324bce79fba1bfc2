import { createRequire } from 'node:module'
import type { Context, Histogram, Span, SpanOptions, TextMapGetter, Tracer } from '@opentelemetry/api'
import type { AttemptStart, OperationEnd, OperationStart, TraceContext, UseSpan } from '../ports/telemetry.ts'
import { toLogError, type LoggedError } from './log-values.ts'
import { DURATION_BUCKETS_SECONDS, operationAttributes, type Attributes, type Series } from './operation-series.ts'

type Api = typeof import('@opentelemetry/api')

/** Where the OpenTelemetry API keeps what an SDK has registered. */
const REGISTRY = Symbol.for('opentelemetry.js.api.1')
type Registered = { version?: string; trace?: unknown; metrics?: unknown } | undefined

/**
 * Spans and histograms by the MCP semantic conventions, for a process in which an OpenTelemetry SDK was registered before the
 * runtime was created (`node --import ./instrumentation.js …`). Without one nothing of OpenTelemetry is loaded.
 *
 * @param warn is told of an SDK that was registered through an `@opentelemetry/api` that the one loaded here can't use.
 * @see https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/mcp.md
 */
export async function createTracing(warn: (message: string) => void): Promise<Tracing | undefined> {
  const api = await loadApi(warn)
  return api && new Tracing(api)
}

/**
 * Runs what belongs to an operation of another thread or process in its trace, where an SDK is registered here, too. One that
 * can't be used is warned of where the operation began.
 */
export async function createTraceEntry(): Promise<<T>(trace: TraceContext | undefined, fn: () => T) => T> {
  const api = await loadApi(() => undefined)
  return (trace, fn) =>
    api === undefined || trace === undefined
      ? fn()
      : api.context.with(api.propagation.extract<Carrier>(api.ROOT_CONTEXT, trace, getter), fn)
}

async function loadApi(warn: (message: string) => void): Promise<Api | undefined> {
  const registered = (globalThis as { [REGISTRY]?: Registered })[REGISTRY]
  if (registered?.trace === undefined && registered?.metrics === undefined) return undefined
  const api = await import('@opentelemetry/api')
  // An API uses what a newer minor version has registered, never what an older one has, and says nothing about it.
  if (
    (registered.trace !== undefined && api.trace.getTracerProvider() !== registered.trace) ||
    (registered.metrics !== undefined && api.metrics.getMeterProvider() !== registered.metrics)
  )
    warn(
      `No spans: an OpenTelemetry SDK is registered through @opentelemetry/api ${registered.version ?? '(version unknown)'}, which the newer version that holdfast has loaded can't use. Make both use one version (npm ls @opentelemetry/api).`,
    )
  return api
}

type Carrier = Readonly<Record<string, string | undefined>>
const getter: TextMapGetter<Carrier> = {
  keys: (carrier) => Object.keys(carrier),
  get: (carrier, key) => carrier[key],
}

/** Spans and histograms, told to whatever SDK the process has registered. */
export class Tracing {
  readonly #api: Api
  readonly #tracer: Tracer
  readonly #operationDuration: Histogram
  readonly #sessionDuration: Histogram

  constructor(api: Api) {
    const { version } = createRequire(import.meta.url)('../../package.json') as { version: string }
    const meter = api.metrics.getMeter('holdfast', version)
    const histogram = (name: string, description: string): Histogram =>
      meter.createHistogram(name, {
        unit: 's',
        description,
        advice: { explicitBucketBoundaries: [...DURATION_BUCKETS_SECONDS] },
      })
    this.#api = api
    this.#tracer = api.trace.getTracer('holdfast', version)
    this.#operationDuration = histogram(
      'mcp.server.operation.duration',
      'MCP request or notification duration as observed on the receiver from the time it was received until the result or ack is sent.',
    )
    this.#sessionDuration = histogram(
      'mcp.server.session.duration',
      'The duration of the MCP session as observed on the MCP server.',
    )
  }

  /**
   * The parent is the context in `params._meta`; the span that is active here (of the HTTP request, if that is instrumented)
   * becomes a link then, and else the parent.
   */
  start(start: OperationStart): { span: Span; context: Context } {
    const { trace, context, SpanKind } = this.#api
    const active = context.active()
    const parent = this.#extract(start, active)
    const ambient = trace.getSpanContext(active)
    const isLinked = ambient !== undefined && trace.getSpanContext(parent) !== ambient
    const target = start.tool ?? start.prompt
    const options: SpanOptions = {
      kind: SpanKind.SERVER,
      attributes: spanAttributes(start),
      ...(isLinked ? { links: [{ context: ambient }] } : {}),
    }
    const name = target === undefined ? start.method : `${start.method} ${target}`
    const span = this.#tracer.startSpan(name, options, parent)
    return { span, context: trace.setSpan(parent, span) }
  }

  #extract(start: Partial<OperationStart>, active: Context): Context {
    const { traceparent, tracestate, baggage } = start
    if (traceparent === undefined && baggage === undefined) return active
    return this.#api.propagation.extract<Carrier>(active, { traceparent, tracestate, baggage }, getter)
  }

  /** A trace of its own, linked to that of who made the task. */
  startAttempt({ tool, taskId, attempt, traceparent }: AttemptStart): { span: Span; context: Context } {
    const { trace, ROOT_CONTEXT, SpanKind } = this.#api
    const creator = trace.getSpanContext(this.#extract({ traceparent }, ROOT_CONTEXT))
    const span = this.#tracer.startSpan(
      `process ${tool}`,
      {
        kind: SpanKind.CONSUMER,
        root: true,
        attributes: {
          'gen_ai.tool.name': tool,
          'gen_ai.operation.name': 'execute_tool',
          'holdfast.task.id': taskId,
          'holdfast.task.attempt': attempt,
        },
        ...(creator === undefined ? {} : { links: [{ context: creator }] }),
      },
      ROOT_CONTEXT,
    )
    return { span, context: trace.setSpan(ROOT_CONTEXT, span) }
  }

  endAttempt(span: Span, outcome: string): void {
    span.setAttribute('holdfast.task.outcome', outcome)
    if (outcome === 'failed') span.setStatus({ code: this.#api.SpanStatusCode.ERROR })
    span.end()
  }

  /** A child of the operation's span; what the dependency's client reports by itself becomes its child. */
  startUse(parent: Context | undefined, dependency: string): UseSpan {
    const { context, trace, SpanKind, SpanStatusCode } = this.#api
    const active = context.active()
    // Within a span of the handler's own, that is the parent.
    const from = trace.getSpan(active) === undefined ? (parent ?? active) : active
    const span = this.#tracer.startSpan(
      `use ${dependency}`,
      { kind: SpanKind.INTERNAL, attributes: { 'holdfast.dependency': dependency } },
      from,
    )
    const within = trace.setSpan(from, span)
    return {
      run: (fn) => context.with(within, fn),
      event: (name, attributes) => void span.addEvent(name, attributes),
      end: (outcome, error) => {
        span.setAttribute('holdfast.dependency.outcome', outcome)
        if (outcome !== 'ok') {
          span.setAttribute('error.type', outcome)
          span.setStatus({ code: SpanStatusCode.ERROR })
          if (error !== undefined) this.exception(span, toLogError(error))
        }
        span.end()
      },
    }
  }

  end(span: Span, series: Series, { durationSeconds, errorType, rpcCode, message }: OperationEnd): void {
    if (errorType !== undefined) {
      span.setAttribute('error.type', errorType)
      span.setStatus({ code: this.#api.SpanStatusCode.ERROR, ...(message === undefined ? {} : { message }) })
    }
    if (rpcCode !== undefined) span.setAttribute('rpc.response.status_code', String(rpcCode))
    // Recorded while the span is current, so that exemplars can name it.
    const spanContext = this.#api.trace.setSpan(this.#api.context.active(), span)
    this.#operationDuration.record(durationSeconds, series.attributes, spanContext)
    span.end()
  }

  sessionEnded(series: Series, durationSeconds: number): void {
    this.#sessionDuration.record(durationSeconds, series.attributes)
  }

  /** Notes on the span what went wrong inside. */
  exception(span: Span, { type, message, stack }: LoggedError): void {
    span.recordException({ name: type, message, ...(stack === undefined ? {} : { stack }) })
  }

  /** For {@link createTraceEntry}. */
  carry(context: Context): TraceContext {
    const carrier: Record<string, string> = {}
    this.#api.propagation.inject(context, carrier)
    return carrier
  }

  run<T>(context: Context, fn: () => T): T {
    return this.#api.context.with(context, fn)
  }
}

function spanAttributes(start: OperationStart): Attributes {
  const { rpcId, sessionId, resourceUri, address, port } = start
  return {
    ...operationAttributes(start),
    ...(rpcId === undefined ? {} : { 'jsonrpc.request.id': String(rpcId) }),
    ...(sessionId === undefined ? {} : { 'mcp.session.id': sessionId }),
    ...(resourceUri === undefined ? {} : { 'mcp.resource.uri': resourceUri }),
    ...(address === undefined ? {} : { 'client.address': address }),
    ...(address === undefined || port === undefined ? {} : { 'client.port': port }),
  }
}

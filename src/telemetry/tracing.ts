import type { Context, Span, SpanOptions, TextMapGetter, Tracer } from '@opentelemetry/api'
import type { OperationEnd, OperationStart } from '../ports/telemetry.ts'
import { DURATION_BUCKETS_SECONDS } from './operation-histogram.ts'

type Api = typeof import('@opentelemetry/api')
type Attributes = Record<string, string | number>

/** Where the OpenTelemetry API keeps what an SDK has registered. */
const REGISTRY = Symbol.for('opentelemetry.js.api.1')

/**
 * Spans and histograms by the MCP semantic conventions, for a process in which an OpenTelemetry SDK was registered before the
 * runtime was created (`node --import ./instrumentation.js …`). Without one nothing of OpenTelemetry is loaded.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/mcp.md
 */
export async function createTracing(): Promise<Tracing | undefined> {
  if ((globalThis as { [REGISTRY]?: unknown })[REGISTRY] === undefined) return undefined
  return new Tracing(await import('@opentelemetry/api'))
}

const getter: TextMapGetter<Record<string, string | undefined>> = {
  keys: (carrier) => Object.keys(carrier),
  get: (carrier, key) => carrier[key],
}

export class Tracing {
  readonly #api: Api
  readonly #tracer: Tracer
  readonly #duration: import('@opentelemetry/api').Histogram

  constructor(api: Api) {
    this.#api = api
    this.#tracer = api.trace.getTracer('holdfast')
    this.#duration = api.metrics.getMeter('holdfast').createHistogram('mcp.server.operation.duration', {
      unit: 's',
      description: 'Duration of MCP requests as seen by the server',
      advice: { explicitBucketBoundaries: [...DURATION_BUCKETS_SECONDS] },
    })
  }

  /** The parent is the trace context in `params._meta`; the span of the HTTP request, if there is one, becomes a link. */
  start(start: OperationStart): { span: Span; context: Context; attributes: Attributes } {
    const { trace, context, propagation, ROOT_CONTEXT, SpanKind } = this.#api
    const { traceparent, tracestate, baggage } = start
    const active = context.active()
    const parent =
      traceparent === undefined
        ? active
        : propagation.extract(ROOT_CONTEXT, { traceparent, tracestate, baggage }, getter)
    const attributes = spanAttributes(start)
    const target = start.tool ?? start.prompt
    const httpSpan = traceparent === undefined ? undefined : trace.getSpanContext(active)
    const options: SpanOptions = {
      kind: SpanKind.SERVER,
      attributes,
      ...(httpSpan === undefined ? {} : { links: [{ context: httpSpan }] }),
    }
    const span = this.#tracer.startSpan(
      target === undefined ? start.method : `${start.method} ${target}`,
      options,
      parent,
    )
    return { span, context: trace.setSpan(parent, span), attributes }
  }

  end(span: Span, start: OperationStart, { durationSeconds, errorType, rpcCode }: OperationEnd): void {
    if (errorType !== undefined) {
      span.setAttribute('error.type', errorType)
      span.setStatus({ code: this.#api.SpanStatusCode.ERROR })
    }
    if (rpcCode !== undefined) span.setAttribute('rpc.response.status_code', String(rpcCode))
    span.end()
    const attributes = metricAttributes(start)
    if (errorType !== undefined) attributes['error.type'] = errorType
    if (rpcCode !== undefined) attributes['rpc.response.status_code'] = String(rpcCode)
    this.#duration.record(durationSeconds, attributes)
  }

  run<T>(context: Context, fn: () => T): T {
    return this.#api.context.with(context, fn)
  }
}

/** Attributes that both spans and metrics carry. No session or request id: metrics must not grow with callers. */
export function metricAttributes(start: OperationStart): Attributes {
  const { method, tool, prompt, protocolVersion, transport } = start
  return {
    'mcp.method.name': method,
    'mcp.protocol.version': protocolVersion,
    ...(tool === undefined ? {} : { 'gen_ai.tool.name': tool, 'gen_ai.operation.name': 'execute_tool' }),
    ...(prompt === undefined ? {} : { 'gen_ai.prompt.name': prompt }),
    ...networkAttributes(transport),
  }
}

function networkAttributes(transport: OperationStart['transport']): Attributes {
  if (transport === 'http')
    return { 'network.transport': 'tcp', 'network.protocol.name': 'http', 'network.protocol.version': '1.1' }
  return { 'network.transport': transport === 'stdio' ? 'pipe' : 'inproc' }
}

function spanAttributes(start: OperationStart): Attributes {
  const { rpcId, sessionId, resourceUri, address, port } = start
  return {
    ...metricAttributes(start),
    'jsonrpc.request.id': String(rpcId),
    ...(sessionId === undefined ? {} : { 'mcp.session.id': sessionId }),
    ...(resourceUri === undefined ? {} : { 'mcp.resource.uri': resourceUri }),
    ...(address === undefined ? {} : { 'client.address': address }),
    ...(port === undefined ? {} : { 'client.port': port }),
  }
}

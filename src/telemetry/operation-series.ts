import type { OperationEnd, OperationStart } from '../ports/telemetry.ts'

/** Bounds in seconds that the MCP semantic conventions ask for, of operations and of sessions. */
export const DURATION_BUCKETS_SECONDS: readonly number[] = [
  0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300,
]

/** Attributes of a metric or span, by their names in the semantic conventions. */
export type Attributes = Record<string, string | number>

/** One series of a histogram: its attributes, and what was observed. */
export class Series {
  readonly attributes: Readonly<Attributes>
  /** Observations by bucket, not cumulated; the last is beyond every bound. */
  readonly counts = new Float64Array(DURATION_BUCKETS_SECONDS.length + 1)
  sum = 0
  count = 0

  constructor(attributes: Attributes) {
    this.attributes = Object.freeze(attributes)
  }

  observe(seconds: number): void {
    let bucket = 0
    while (bucket < DURATION_BUCKETS_SECONDS.length && seconds > DURATION_BUCKETS_SECONDS[bucket]!) bucket++
    this.counts[bucket]!++
    this.sum += seconds
    this.count++
  }
}

/** The series of one kind of operation and outcome, with what its access lines have in common. */
export class OperationSeries extends Series {
  readonly errorType: string | undefined
  readonly protocolVersion: string
  readonly transport: OperationStart['transport']
  readonly httpVersion: string | undefined
  /** Parts of the access line, as JSON. */
  readonly lineHead: string
  readonly lineTail: string

  constructor(start: OperationStart, { errorType, rpcCode }: OperationEnd) {
    const { method, tool, prompt, protocolVersion, transport } = start
    super({
      ...operationAttributes(start),
      ...(errorType === undefined ? {} : { 'error.type': errorType }),
      ...(rpcCode === undefined ? {} : { 'rpc.response.status_code': String(rpcCode) }),
    })
    this.errorType = errorType
    this.protocolVersion = protocolVersion
    this.transport = transport
    this.httpVersion = start.httpVersion
    const target = tool ?? prompt
    this.lineHead =
      `,"method":${JSON.stringify(method)}` +
      (target === undefined ? '' : `,"target":${JSON.stringify(target)}`) +
      ',"status":'
    this.lineTail =
      (errorType === undefined ? '' : `,"error":${JSON.stringify(errorType)}`) +
      `,"revision":${JSON.stringify(protocolVersion)},"transport":"${transport}"`
  }
}

/**
 * The series of `mcp.server.operation.duration`. They are found by method and target, then by comparing: two look-ups of
 * strings whose hashes are known cost a tenth of what prom-client's hash of sorted labels does.
 */
export class OperationTable {
  readonly #byMethod = new Map<string, Map<string, OperationSeries[]>>()

  find(start: OperationStart, end: OperationEnd): OperationSeries {
    const { method, protocolVersion, transport, httpVersion } = start
    const { errorType } = end
    let byTarget = this.#byMethod.get(method)
    if (byTarget === undefined) this.#byMethod.set(method, (byTarget = new Map()))
    const target = start.tool ?? start.prompt ?? ''
    let list = byTarget.get(target)
    if (list === undefined) byTarget.set(target, (list = []))
    for (const series of list)
      if (
        series.errorType === errorType &&
        series.protocolVersion === protocolVersion &&
        series.transport === transport &&
        series.httpVersion === httpVersion
      )
        return series
    const series = new OperationSeries(start, end)
    list.push(series)
    return series
  }

  *[Symbol.iterator](): Generator<OperationSeries> {
    for (const byTarget of this.#byMethod.values()) for (const list of byTarget.values()) yield* list
  }
}

/** What the span and the metric of an operation both say. No session or request id: metrics must not grow with callers. */
export function operationAttributes(start: OperationStart): Attributes {
  const { method, tool, prompt, protocolVersion, transport, httpVersion } = start
  return {
    'mcp.method.name': method,
    'mcp.protocol.version': protocolVersion,
    ...(tool === undefined ? {} : { 'gen_ai.tool.name': tool, 'gen_ai.operation.name': 'execute_tool' }),
    ...(prompt === undefined ? {} : { 'gen_ai.prompt.name': prompt }),
    ...networkAttributes(transport, httpVersion),
  }
}

/** How a transport reads in the conventions ("Recording MCP transport"); the version of HTTP only where it is known. */
export function networkAttributes(transport: OperationStart['transport'], httpVersion: string | undefined): Attributes {
  if (transport === 'http')
    return {
      'network.transport': 'tcp',
      'network.protocol.name': 'http',
      ...(httpVersion === undefined ? {} : { 'network.protocol.version': httpVersion }),
    }
  return { 'network.transport': transport === 'stdio' ? 'pipe' : 'inproc' }
}

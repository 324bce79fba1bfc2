import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Counter } from '../ports/telemetry.ts'
import { DURATION_BUCKETS_SECONDS, OperationHistogram } from './operation-histogram.ts'

/** Values that are read when somebody looks. */
export interface Gauges {
  running(): number
  openStreams(): number
  isReady(): boolean
}

const COUNTERS: Readonly<Record<Counter | 'refusals', { name: string; help: string; label: string }>> = {
  refusals: {
    name: 'holdfast_refusals_total',
    help: 'Messages refused before a method was served, by error code.',
    label: 'code',
  },
  lenient: {
    name: 'holdfast_lenient_requests_total',
    help: 'Requests served although their headers break a MUST.',
    label: 'forgiven',
  },
  slow_readers: {
    name: 'holdfast_slow_readers_total',
    help: 'Streams cut because their client read too slowly.',
    label: 'transport',
  },
  degraded: {
    name: 'holdfast_degraded_total',
    help: 'Answers given without the state store, by what was left out.',
    label: 'feature',
  },
  dropped_notifications: {
    name: 'holdfast_dropped_notifications_total',
    help: 'Notifications dropped, by reason.',
    label: 'reason',
  },
  idempotent_replays: {
    name: 'holdfast_idempotent_replays_total',
    help: 'Calls answered with the outcome of an earlier call of the same key.',
    label: 'kind',
  },
}

/** The metrics of one process as plain values. */
export type MetricsSnapshot = readonly object[]

/** The numbers of one runtime. Kept here, rendered by prom-client, which is loaded when somebody first asks. */
export class Metrics {
  readonly operations = new OperationHistogram()
  readonly #counters = new Map<string, Map<string, number>>()
  readonly #gauges: Gauges
  readonly #loopDelay: ReturnType<typeof monitorEventLoopDelay>
  #registry: Promise<import('prom-client').Registry> | undefined

  constructor(gauges: Gauges) {
    this.#gauges = gauges
    this.#loopDelay = monitorEventLoopDelay({ resolution: 20 })
    this.#loopDelay.enable()
  }

  count(counter: Counter | 'refusals', label = ''): void {
    let values = this.#counters.get(counter)
    if (values === undefined) this.#counters.set(counter, (values = new Map()))
    values.set(label, (values.get(label) ?? 0) + 1)
  }

  /** The exposition in Prometheus' text format. */
  async render(): Promise<{ contentType: string; body: string }> {
    this.#registry ??= this.#createRegistry()
    const registry = await this.#registry
    return { contentType: registry.contentType, body: await registry.metrics() }
  }

  /** The same as values, for the sum over several processes. */
  async snapshot(): Promise<MetricsSnapshot> {
    this.#registry ??= this.#createRegistry()
    return (await this.#registry).getMetricsAsJSON()
  }

  close(): void {
    this.#loopDelay.disable()
  }

  async #createRegistry(): Promise<import('prom-client').Registry> {
    const { default: prom } = await import('prom-client')
    const registry = new prom.Registry()
    prom.collectDefaultMetrics({ register: registry })
    const gauges = this.#gauges
    const gauge = (name: string, help: string, read: () => number): void => {
      new prom.Gauge({
        name,
        help,
        registers: [registry],
        collect() {
          this.set(read())
        },
      })
    }
    gauge('holdfast_running_requests', 'Requests whose handlers run now.', () => gauges.running())
    gauge('holdfast_open_streams', 'Streams that follow changes now.', () => gauges.openStreams())
    gauge('holdfast_ready', '1 while the node takes requests.', () => (gauges.isReady() ? 1 : 0))
    for (const quantile of [50, 99])
      gauge(
        `holdfast_event_loop_delay_p${quantile}_seconds`,
        `Event-loop delay, ${quantile}th percentile since start.`,
        () => this.#loopDelay.percentile(quantile) / 1e9,
      )
    for (const [counter, { name, help, label }] of Object.entries(COUNTERS)) {
      const values = (): { value: number; labels: Record<string, string> }[] =>
        [...(this.#counters.get(counter) ?? [])].map(([key, value]) => ({
          value,
          labels: key === '' ? {} : { [label]: key },
        }))
      register(registry, { name, help, type: 'counter', values })
    }
    register(registry, {
      name: 'mcp_server_operation_duration_seconds',
      help: 'Duration of MCP requests (mcp.server.operation.duration).',
      type: 'histogram',
      values: () => [...this.operations.cells].flatMap(histogramValues),
    })
    return registry
  }
}

interface Exposed {
  name: string
  help: string
  type: 'counter' | 'histogram'
  values(): object[]
}

/** A registry renders whatever has a name and says its values: the part of prom-client's metrics that it asks for. */
function register(registry: import('prom-client').Registry, { name, help, type, values }: Exposed): void {
  const metric = {
    name,
    help,
    type,
    aggregator: 'sum',
    get: async () => ({ name, help, type, aggregator: 'sum', values: values() }),
    reset: () => undefined,
  }
  registry.registerMetric(metric as unknown as import('prom-client').Metric)
}

function histogramValues({ labels, counts, sum, count }: import('./operation-histogram.ts').HistogramCell): object[] {
  const name = 'mcp_server_operation_duration_seconds'
  let cumulated = 0
  const buckets = DURATION_BUCKETS_SECONDS.map((bound, index) => {
    cumulated += counts[index]!
    return { metricName: `${name}_bucket`, labels: { ...labels, le: bound }, value: cumulated }
  })
  return [
    ...buckets,
    { metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: count },
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ]
}

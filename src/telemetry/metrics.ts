import type { Metric, Registry } from 'prom-client'
import type { CacheEvent, Counter } from '../ports/telemetry.ts'
import { ModelMetrics } from './model-metrics.ts'
import { DURATION_BUCKETS_SECONDS, OperationTable, Series } from './operation-series.ts'

/** Values that are read when somebody looks. */
export interface Gauges {
  /** Handlers that run; `abandoned`: those of them whose request has ended. */
  running(): number
  abandoned(): number
  /** Attempts at tasks that run; `abandoned`: handlers that run on though their attempt has ended. */
  runningAttempts(): number
  abandonedAttempts(): number
  queued(): number
  pendingBodyBytes(): number
  loopDelayMs(): number
  openStreams(): number
  isReady(): boolean
  /** Decisions at limits since the start. */
  limitDecisions(): Iterable<{ limit: string; outcome: string; count: number }>
  isStateUp(): boolean
  /** Cached values in memory. */
  cacheMemory(): { readonly bytes: number; readonly count: number; readonly evictions: number }
  /** What lies outside, as far as it was used. */
  dependencies(): Iterable<{ name: string; breaker: string | undefined; running: number; queued: number }>
}

/** What is counted: by the kernel, and by telemetry itself. */
export type OwnCounter = Counter | 'refusals' | 'dropped_log_lines'

const COUNTERS: Readonly<Record<OwnCounter, { name: string; help: string; label: string }>> = {
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
  artifacts: {
    name: 'holdfast_artifacts_total',
    help: 'Artifacts, by what became of them: offloaded, not_offloaded (the store failed), read, downloaded, collected.',
    label: 'event',
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
    help: 'Requests answered with the outcome of an earlier one, which they repeat.',
    label: 'kind',
  },
  questions: {
    name: 'holdfast_questions_total',
    help: 'Questions sent to clients, by method.',
    label: 'method',
  },
  late_answers: {
    name: 'holdfast_late_answers_total',
    help: 'Answers of clients that answered nothing: too late, a second time, or never asked for.',
    label: 'reason',
  },
  sheds: {
    name: 'holdfast_sheds_total',
    help: 'Requests refused because the node has as much work as it can take, by reason.',
    label: 'reason',
  },
  trigger_tasks: {
    name: 'holdfast_trigger_tasks_total',
    help: 'Messages and scheduled times that have their task, by trigger.',
    label: 'trigger',
  },
  trigger_refusals: {
    name: 'holdfast_trigger_refusals_total',
    help: 'Messages and scheduled times that can not become a task, by trigger.',
    label: 'trigger',
  },
  trigger_retries: {
    name: 'holdfast_trigger_retries_total',
    help: 'Attempts of triggers to start a task that are made again, by trigger.',
    label: 'trigger',
  },
  trigger_missed: {
    name: 'holdfast_trigger_missed_total',
    help: 'Scheduled times, or stretches of them, that got no task, by trigger.',
    label: 'trigger',
  },
  task_attempts: {
    name: 'holdfast_task_attempts_total',
    help: 'Attempts at tasks that ended on this worker, by how.',
    label: 'outcome',
  },
  dependency_retries: {
    name: 'holdfast_dependency_retries_total',
    help: 'Attempts at dependencies that were made again.',
    label: 'dependency',
  },
  dependency_retries_refused: {
    name: 'holdfast_dependency_retries_refused_total',
    help: 'Attempts that would have been made again, had the retry budget allowed it.',
    label: 'dependency',
  },
  dependency_fallbacks: {
    name: 'holdfast_dependency_fallbacks_total',
    help: 'Uses of dependencies that went on with a fallback.',
    label: 'dependency',
  },
  breaker_openings: {
    name: 'holdfast_dependency_breaker_openings_total',
    help: 'Times that the breaker of a dependency opened, from closed.',
    label: 'dependency',
  },
  breaker_hints: {
    name: 'holdfast_dependency_breaker_hints_total',
    help: 'Openings of breakers that other nodes told of.',
    label: '',
  },
  queue_failures: {
    name: 'holdfast_task_queue_failures_total',
    help: 'Times that the broker which rings for tasks was found away, or with other queues than are needed (differs).',
    label: 'reason',
  },
  dropped_log_lines: {
    name: 'holdfast_dropped_log_lines_total',
    help: 'Log lines lost because their reader was too slow, or could not be written to.',
    label: 'reason',
  },
}

/** Caches with labels of their own. */
const MAX_CACHES = 200
const BREAKER_VALUES: Readonly<Record<string, number>> = { closed: 0, half_open: 0.5, open: 1 }

/** The metrics of one process as plain values. */
export type MetricsSnapshot = readonly object[]

/** The numbers of one runtime. Kept here, rendered by prom-client, which is loaded when somebody first asks. */
export class Metrics {
  readonly operations = new OperationTable()
  /** How long requests waited for a slot that got one after a wait. */
  readonly queueWait = new Series({})
  /** How long attempts at tasks took, by tool and outcome. */
  readonly attempts = new Map<string, Series>()
  readonly models = new ModelMetrics()
  readonly #sessions = new Map<string, Series>()
  readonly #dependencies = new Map<string, Map<string, Series>>()
  readonly #counters = new Map<OwnCounter, Map<string, number>>()
  readonly #cached = new Map<string, Map<CacheEvent, number>>()
  readonly #gauges: Gauges
  #registry: Promise<Registry> | undefined

  constructor(gauges: Gauges) {
    this.#gauges = gauges
  }

  count(counter: OwnCounter, label = '', by = 1): void {
    let values = this.#counters.get(counter)
    if (values === undefined) this.#counters.set(counter, (values = new Map()))
    values.set(label, (values.get(label) ?? 0) + by)
  }

  /** Names of caches beyond so many are one: they are the server's own, but may be made of data by mistake. */
  cached(cache: string, event: CacheEvent): void {
    let values = this.#cached.get(cache)
    if (values === undefined) {
      const name = this.#cached.size < MAX_CACHES ? cache : '_other'
      values = this.#cached.get(name) ?? new Map<CacheEvent, number>()
      this.#cached.set(name, values)
    }
    values.set(event, (values.get(event) ?? 0) + 1)
  }

  /** The series of attempts at the tasks of a tool that ended so. */
  attempt(tool: string, outcome: string): Series {
    const key = `${tool} ${outcome}`
    let series = this.attempts.get(key)
    if (series === undefined) this.attempts.set(key, (series = new Series({ tool, outcome })))
    return series
  }

  /** The series of uses of a dependency that ended so. */
  dependency(dependency: string, outcome: string): Series {
    let outcomes = this.#dependencies.get(dependency)
    if (outcomes === undefined) this.#dependencies.set(dependency, (outcomes = new Map()))
    let series = outcomes.get(outcome)
    if (series === undefined) outcomes.set(outcome, (series = new Series({ dependency, outcome })))
    return series
  }

  /** The series of `mcp.server.session.duration` with these attributes. */
  session(attributes: Series['attributes']): Series {
    const key = JSON.stringify(attributes)
    let series = this.#sessions.get(key)
    if (series === undefined) this.#sessions.set(key, (series = new Series({ ...attributes })))
    return series
  }

  /** The exposition in Prometheus' text format: the runtime's own families, and those of the process. */
  async render(): Promise<{ contentType: string; body: string }> {
    this.#registry ??= this.#createRegistry()
    const [own, ofProcess] = await Promise.all([this.#registry, processRegistry()])
    const [first, second] = await Promise.all([own.metrics(), ofProcess.metrics()])
    return { contentType: own.contentType, body: first + second }
  }

  /** The same as values, for the sum over several processes. */
  async snapshot(): Promise<MetricsSnapshot> {
    this.#registry ??= this.#createRegistry()
    const [own, ofProcess] = await Promise.all([this.#registry, processRegistry()])
    return [...(await own.getMetricsAsJSON()), ...(await ofProcess.getMetricsAsJSON())]
  }

  async #createRegistry(): Promise<Registry> {
    const { default: prom } = await import('prom-client')
    const registry = new prom.Registry()
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
    const gauges = this.#gauges
    gauge('holdfast_running_requests', 'Handlers that run now.', () => gauges.running())
    gauge('holdfast_abandoned_requests', 'Handlers that run on although their request has ended.', () =>
      gauges.abandoned(),
    )
    gauge('holdfast_running_attempts', 'Attempts at tasks that run now.', () => gauges.runningAttempts())
    gauge('holdfast_abandoned_attempts', 'Handlers that run on although their attempt at a task has ended.', () =>
      gauges.abandonedAttempts(),
    )
    gauge('holdfast_queued_requests', 'Requests that wait for a slot.', () => gauges.queued())
    gauge('holdfast_pending_body_bytes', 'Bytes of bodies that come in, or wait for a slot.', () =>
      gauges.pendingBodyBytes(),
    )
    gauge(
      'holdfast_event_loop_delay_seconds',
      'How late the event loop is, while there are requests.',
      () => gauges.loopDelayMs() / 1000,
    )
    gauge('holdfast_open_streams', 'Streams that follow changes now.', () => gauges.openStreams())
    gauge('holdfast_ready', '1 while the node takes requests.', () => (gauges.isReady() ? 1 : 0))
    gauge('holdfast_state_up', '1 while the state store can be reached.', () => (gauges.isStateUp() ? 1 : 0))
    for (const [counter, { name, help, label }] of Object.entries(COUNTERS))
      register(registry, name, help, 'counter', () =>
        [...(this.#counters.get(counter as OwnCounter) ?? [])].map(([key, value]) => ({
          value,
          labels: key === '' ? {} : { [label]: key },
        })),
      )
    register(registry, 'holdfast_limit_decisions_total', 'Decisions at limits, by limit and outcome.', 'counter', () =>
      Array.from(gauges.limitDecisions(), ({ limit, outcome, count }) => ({
        value: count,
        labels: { limit, outcome },
      })),
    )
    gauge('holdfast_cache_bytes', 'Bytes of cached values in memory.', () => gauges.cacheMemory().bytes)
    gauge('holdfast_cache_values', 'Cached values in memory.', () => gauges.cacheMemory().count)
    register(
      registry,
      'holdfast_cache_evictions_total',
      'Cached values that left the memory because others needed the room.',
      'counter',
      () => [{ value: gauges.cacheMemory().evictions, labels: {} }],
    )
    register(registry, 'holdfast_cache_requests_total', 'Requests to caches, by what became of them.', 'counter', () =>
      [...this.#cached].flatMap(([cache, events]) =>
        [...events].map(([event, value]) => ({ value, labels: { cache, event } })),
      ),
    )
    for (const family of this.models.families)
      register(registry, family.name, family.help, 'counter', () => family.values())
    const histogram = (name: string, help: string, series: Iterable<Series>): void =>
      register(registry, name, help, 'histogram', () => Array.from(series, (one) => histogramValues(name, one)).flat())
    histogram(
      'mcp_server_operation_duration_seconds',
      'Duration of MCP requests (mcp.server.operation.duration).',
      this.operations,
    )
    histogram(
      'mcp_server_session_duration_seconds',
      'Duration of MCP sessions whose end was seen (mcp.server.session.duration).',
      { [Symbol.iterator]: () => this.#sessions.values() },
    )
    histogram('holdfast_task_attempt_duration_seconds', 'Duration of attempts at tasks, by tool and outcome.', {
      [Symbol.iterator]: () => this.attempts.values(),
    })
    histogram('holdfast_dependency_duration_seconds', 'Duration of uses of dependencies, retries included.', {
      [Symbol.iterator]: () => this.#dependencies.values().flatMap((outcomes) => outcomes.values()),
    })
    const ofDependencies = (
      name: string,
      help: string,
      read: (one: { breaker: string | undefined; running: number; queued: number }) => number | undefined,
    ): void =>
      register(registry, name, help, 'gauge', () =>
        Array.from(gauges.dependencies(), (one) => ({ value: read(one), labels: { dependency: one.name } })).filter(
          ({ value }) => value !== undefined,
        ),
      )
    ofDependencies(
      'holdfast_dependency_breaker_open',
      '1 while the breaker of a dependency is open, 0.5 while it is probed, 0 while it is closed.',
      ({ breaker }) => (breaker === undefined ? undefined : BREAKER_VALUES[breaker]),
    )
    ofDependencies('holdfast_dependency_running', 'Attempts at dependencies that are under way.', (one) => one.running)
    ofDependencies('holdfast_dependency_queued', 'Attempts at dependencies that wait for a place.', (one) => one.queued)
    histogram('holdfast_queue_wait_seconds', 'Time that requests waited for a slot, if they had to and got one.', [
      this.queueWait,
    ])
    return registry
  }
}

/** What prom-client says of the process (CPU, memory, garbage collection, event-loop lag): once, for every runtime in it. */
let ofProcess: Promise<Registry> | undefined
function processRegistry(): Promise<Registry> {
  return (ofProcess ??= import('prom-client').then(({ default: prom }) => {
    const registry = new prom.Registry()
    prom.collectDefaultMetrics({ register: registry })
    return registry
  }))
}

/** A registry renders whatever has a name and says its values: the part of prom-client's metrics that it asks for. */
function register(
  registry: Registry,
  name: string,
  help: string,
  type: 'counter' | 'histogram' | 'gauge',
  values: () => object[],
): void {
  const metric = {
    name,
    help,
    type,
    aggregator: 'sum',
    get: async () => ({ name, help, type, aggregator: 'sum', values: values() }),
    reset: () => undefined,
  }
  registry.registerMetric(metric as unknown as Metric)
}

function histogramValues(name: string, { attributes, counts, sum, count }: Series): object[] {
  // As OpenTelemetry's exporter for Prometheus names them, so that dashboards serve both.
  const labels = Object.fromEntries(
    Object.entries(attributes).map(([key, value]) => [key.replaceAll('.', '_'), String(value)]),
  )
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

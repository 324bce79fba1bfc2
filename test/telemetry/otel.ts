import { context, metrics, propagation, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core'
import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
  type HistogramMetricData,
} from '@opentelemetry/sdk-metrics'
import { TracerProvider, type ReadableSpan } from '@opentelemetry/sdk-trace'

/** An OpenTelemetry SDK, registered as a process's own instrumentation registers it, that keeps what it is told. */
export interface Sdk {
  /** Spans that have ended since the last call. */
  spans(): ReadableSpan[]
  /** Waits for a span of this name. */
  span(name: string): Promise<ReadableSpan>
  /** A histogram as it stands now. */
  histogram(name: string): Promise<HistogramMetricData | undefined>
  shutdown(): Promise<void>
}

export function registerSdk(): Sdk {
  let ended: ReadableSpan[] = []
  const tracers = new TracerProvider({
    spanProcessors: [
      {
        onStart: () => undefined,
        onEnd: (span) => void ended.push(span),
        forceFlush: async () => undefined,
        shutdown: async () => undefined,
      },
    ],
  })
  trace.setGlobalTracerProvider(tracers)
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(
    new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }),
  )
  const metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 3_600_000 })
  const meters = new MeterProvider({ readers: [reader] })
  metrics.setGlobalMeterProvider(meters)
  const spans = (): ReadableSpan[] => {
    const taken = ended
    ended = []
    return taken
  }
  return {
    spans,
    async span(name) {
      for (;;) {
        const found = ended.find((span) => span.name === name)
        if (found !== undefined) return found
        await new Promise((resolve) => setImmediate(resolve))
      }
    },
    async histogram(name) {
      metricExporter.reset()
      await reader.forceFlush()
      const data = metricExporter
        .getMetrics()
        .flatMap((resource) => resource.scopeMetrics.flatMap((scope) => scope.metrics))
        .find((metric) => metric.descriptor.name === name)
      return data?.dataPointType === DataPointType.HISTOGRAM ? data : undefined
    },
    async shutdown() {
      await tracers.shutdown()
      await meters.shutdown()
      trace.disable()
      metrics.disable()
      context.disable()
      propagation.disable()
    },
  }
}

import type { MetricsSnapshot } from './metrics.ts'

export type { MetricsSnapshot } from './metrics.ts'

/** The metrics of several processes as those of one: counters and histograms summed, gauges by their aggregator. */
export async function aggregateMetrics(
  snapshots: readonly MetricsSnapshot[],
): Promise<{ contentType: string; body: string }> {
  const { default: prom } = await import('prom-client')
  const registry = prom.AggregatorRegistry.aggregate(snapshots as object[])
  return { contentType: registry.contentType, body: await registry.metrics() }
}

import type { CacheEntry } from '../../src/cache/cache.ts'
import { TieredCache } from '../../src/cache/tiered-cache.ts'
import { systemClock, type Clock } from '../../src/ports/clock.ts'
import type { EventBus } from '../../src/ports/event-bus.ts'
import type { StateStore } from '../../src/ports/state-store.ts'
import type { CacheEvent } from '../../src/ports/telemetry.ts'

/** What a cache has told of itself. */
export class Told {
  readonly events = new Map<CacheEvent, number>()
  degraded = 0
  readonly failures: string[] = []
  cached = (_cache: string, event: CacheEvent): void => {
    this.events.set(event, this.of(event) + 1)
  }
  count = (): void => {
    this.degraded++
  }
  failure = (_operation: unknown, message: string): void => {
    this.failures.push(message)
  }
  of(event: CacheEvent): number {
    return this.events.get(event) ?? 0
  }
}

export interface TestNode extends AsyncDisposable {
  readonly cache: TieredCache
  readonly told: Told
}

/** A node's cache. */
export async function node(
  shared: { state: StateStore; bus: EventBus } | undefined,
  {
    clock = systemClock,
    server = 'test',
    maxBytes = 10_000_000,
  }: { clock?: Clock; server?: string; maxBytes?: number } = {},
): Promise<TestNode> {
  const told = new Told()
  const cache = new TieredCache({ server, clock, telemetry: told, maxBytes, shared })
  await cache.start()
  return { cache, told, [Symbol.asyncDispose]: () => cache.close() }
}

/** An entry of everybody's. */
export const entry = (key: unknown, more: Partial<CacheEntry> = {}): CacheEntry => ({
  cache: 'test',
  key,
  partition: 'public',
  ttlMs: 60_000,
  ...more,
})

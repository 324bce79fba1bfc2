import type { CacheEntry, Compute, Found } from '../../src/cache/cache.ts'
import { anyCodec } from '../../src/cache/codec.ts'
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

/** What nodes share. */
export interface Shared {
  readonly state: StateStore
  readonly bus: EventBus
}

/** A node, as far as its cache goes. */
export class TestNode implements AsyncDisposable {
  readonly cache: TieredCache
  readonly told = new Told()

  constructor(shared: Shared | undefined, options: { clock?: Clock; server?: string; maxBytes?: number } = {}) {
    const { clock = systemClock, server = 'test', maxBytes = 10_000_000 } = options
    this.cache = new TieredCache({ server, clock, telemetry: this.told, maxBytes, shared })
  }
  static async start(...args: ConstructorParameters<typeof TestNode>): Promise<TestNode> {
    const node = new TestNode(...args)
    await node.cache.start()
    return node
  }
  through<T>(asked: CacheEntry, compute: Compute<T>, signal?: AbortSignal): Promise<Found<T>> {
    return this.cache.through(asked, compute as Compute<unknown>, anyCodec, signal && { signal }) as Promise<Found<T>>
  }
  /** The value alone. */
  async get<T>(asked: CacheEntry, compute: Compute<T>, signal?: AbortSignal): Promise<T> {
    return (await this.through(asked, compute, signal)).value
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.cache.close()
  }
}

/** An entry of everybody's. */
export const entry = (key: unknown, more: Partial<CacheEntry> = {}): CacheEntry => ({
  cache: 'test',
  key,
  partition: 'public',
  ttlMs: 60_000,
  ...more,
})

/** Counts, and computes when it is told to. */
export class Work<T = number> {
  readonly started: { readonly signal: AbortSignal; readonly ready: PromiseWithResolvers<T> }[] = []
  readonly compute: Compute<T> = (signal) => {
    const ready = Promise.withResolvers<T>()
    this.started.push({ signal, ready })
    return ready.promise
  }
  get count(): number {
    return this.started.length
  }
  /** Ends the newest. */
  finish(value: T): void {
    this.started.at(-1)!.ready.resolve(value)
  }
  fail(error: Error): void {
    this.started.at(-1)!.ready.reject(error)
  }
}

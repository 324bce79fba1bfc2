import type { Clock } from '../ports/clock.ts'
import type { BucketState, StateStore, TokenBucket, TokensTaken } from '../ports/state-store.ts'
import type { Telemetry } from '../ports/telemetry.ts'
import { Advances, type Advance } from './advances.ts'
import type { LimitOutcome } from './compiled-limit.ts'
import { StoreHealth } from './store-health.ts'
import type { Bucket } from './subjects.ts'

/** Buckets in the memory of this process, asked without a promise. */
export interface LocalTokens {
  takeTokensNow(buckets: readonly TokenBucket[]): TokensTaken
}

/** What was decided; `refusedBy` is the number of the bucket. */
export type Verdict =
  | { outcome: 'allowed' | 'allowed_local'; buckets: readonly (BucketState | undefined)[]; refusedBy?: undefined }
  | {
      outcome: Exclude<LimitOutcome, 'allowed' | 'allowed_local'>
      buckets: readonly (BucketState | undefined)[]
      refusedBy: number
      retryAfterMs: number
    }

/** What a {@link SharedTokens} works with. */
export interface SharedTokensParts {
  readonly local: LocalTokens
  readonly shared: StateStore
  nodeCount(): number
  readonly clock: Clock
  readonly telemetry: Telemetry
}

/** A bucket of one decision, and what was taken from it. */
interface Item {
  readonly index: number
  readonly bucket: Bucket
  readonly want: TokenBucket
  state: BucketState | undefined
  /** The portion that its tokens came from. */
  heldFrom: number
  /** Taken in the store, and not from a portion. */
  isTaken: boolean
}

interface Refusal {
  readonly item: Item
  readonly retryAfterMs: number
}

/**
 * Tokens from the shared state, from all buckets of a decision or from none.
 *
 * 1. What is held from portions is taken first, without a round trip; a bucket that is known to be empty refuses at once.
 * 2. Portions of global limits that are missing are asked for, one request for each at a time.
 * 3. The tenant's buckets share a tag: one command takes from all of them or none.
 * 4. Global limits too slow for portions are taken last.
 * 5. On a refusal everything taken before is given back: portions to this node, the rest to the store.
 * 6. Where the store does not answer, each node keeps its share by itself, or refuses, as the limits say.
 */
export class SharedTokens {
  readonly #parts: SharedTokensParts
  readonly #advances = new Advances()
  readonly #health: StoreHealth

  constructor(parts: SharedTokensParts) {
    this.#parts = parts
    this.#health = new StoreHealth(parts.shared, parts.clock)
  }

  close(): void {
    this.#health.close()
  }

  take(buckets: readonly Bucket[], wants: readonly TokenBucket[]): Verdict | Promise<Verdict> {
    const items = buckets.map((bucket, index): Item => {
      const want = wants[index]!
      return { index, bucket, want, state: undefined, heldFrom: 0, isTaken: want.cost === 0 }
    })
    const refusal = this.#knownRefusal(items)
    if (refusal !== undefined) return toVerdict(items, refusal)
    if (this.#takeHeld(items)) return toVerdict(items, undefined)
    if (!this.#health.isLost) return this.#takeFromStore(items)
    this.#putBack(items)
    return this.#takeLocal(items)
  }

  #knownRefusal(items: readonly Item[]): Refusal | undefined {
    const nowMs = this.#parts.clock.monotonic()
    for (const item of items) {
      const { key, cost } = item.want
      const advance = this.#advances.find(key)
      const retryAfterMs = advance?.refusedForMs(cost, nowMs) ?? 0
      if (retryAfterMs === 0) continue
      item.state = advance!.state
      return { item, retryAfterMs }
    }
    return undefined
  }

  /** Takes what portions have. `true`: that was everything. */
  #takeHeld(items: readonly Item[]): boolean {
    const nowMs = this.#parts.clock.monotonic()
    let isAll = true
    for (const item of items) {
      if (item.isTaken || item.heldFrom > 0) continue
      const advance = item.bucket.rate.portion > 0 ? this.#advances.find(item.want.key) : undefined
      item.heldFrom = advance?.take(item.want.cost, nowMs) ?? 0
      if (item.heldFrom > 0) item.state = advance!.seen()
      else isAll = false
    }
    return isAll
  }

  async #takeFromStore(items: readonly Item[]): Promise<Verdict> {
    let refusal: Refusal | undefined
    try {
      const isGlobal = ({ bucket }: Item): boolean => bucket.limit.definition.per === 'global'
      for (const item of items)
        if (refusal === undefined && isGlobal(item) && item.bucket.rate.portion > 0) refusal = await this.#draw([item])
      refusal ??= await this.#draw(items.filter((item) => !isGlobal(item)))
      for (const item of items)
        if (refusal === undefined && isGlobal(item) && item.bucket.rate.portion === 0)
          refusal = await this.#draw([item])
      if (refusal !== undefined) await this.#giveBack(items)
      return toVerdict(items, refusal)
    } catch (error) {
      const { bucket, want } = items[0]!
      if (this.#health.lose(bucket.tag, want))
        this.#parts.telemetry.failure(
          undefined,
          'The shared state did not answer; until it does, limits are kept by each node for its share, or closed.',
          error,
        )
      this.#putBack(items)
      return this.#takeLocal(items)
    }
  }

  /** Takes from buckets of one tag what portions don't have; all or none. */
  async #draw(items: readonly Item[]): Promise<Refusal | undefined> {
    for (;;) {
      if (this.#takeHeld(items)) return undefined
      const missing = items.filter(({ isTaken, heldFrom }) => !isTaken && heldFrom === 0)
      const refusal = this.#knownRefusal(missing)
      if (refusal !== undefined) return refusal
      const leased = missing
        .filter(({ bucket }) => bucket.rate.portion > 0)
        .map(({ want }) => this.#advances.of(want.key))
      const flight = leased.find((advance) => advance.flight !== undefined)?.flight
      if (flight === undefined) return this.#ask(missing, leased)
      await flight
    }
  }

  async #ask(items: readonly Item[], leased: readonly Advance[]): Promise<Refusal | undefined> {
    const { clock, shared } = this.#parts
    const sentMs = clock.monotonic()
    const flight = shared.takeTokens(
      items[0]!.bucket.tag,
      items.map(({ bucket, want }) => ({ ...want, cost: Math.max(bucket.rate.portion, want.cost), least: want.cost })),
    )
    for (const advance of leased) advance.flight = flight
    let taken: TokensTaken
    try {
      taken = await flight
    } finally {
      for (const advance of leased) advance.flight = undefined
    }
    const nowMs = clock.monotonic()
    for (const [index, item] of items.entries()) {
      const state = taken.buckets[index]!
      const { bucket, want } = item
      item.state = state
      if (!taken.ok) {
        if (index === taken.refusedBy) this.#advances.of(want.key).refuse(want.cost, state, taken.retryAfterMs, nowMs)
      } else if (bucket.rate.portion > 0) {
        const advance = this.#advances.of(want.key)
        advance.hold(state, Math.max(bucket.rate.portion, want.cost), sentMs, nowMs)
        item.heldFrom = advance.take(want.cost, nowMs)
        // The answer took longer than a portion lives: what was granted for this request is used by it all the same.
        if (item.heldFrom === 0) item.isTaken = true
        item.state = advance.seen()
      } else item.isTaken = true
    }
    return taken.ok ? undefined : { item: items[taken.refusedBy]!, retryAfterMs: taken.retryAfterMs }
  }

  #putBack(items: readonly Item[]): void {
    for (const { want, heldFrom } of items)
      if (heldFrom > 0) this.#advances.find(want.key)?.putBack(want.cost, heldFrom)
  }

  async #giveBack(items: readonly Item[]): Promise<void> {
    this.#putBack(items)
    const taken = items.filter(({ isTaken, want }) => isTaken && want.cost > 0)
    const byTag = Map.groupBy(taken, ({ bucket }) => bucket.tag)
    try {
      for (const [tag, group] of byTag)
        await this.#parts.shared.takeTokens(
          tag,
          group.map(({ want }) => ({ ...want, cost: -want.cost })),
        )
    } catch {
      // The caller is refused all the same, and has lost a few tokens.
      this.#parts.telemetry.count('degraded', 'limits_give_back')
    }
  }

  /** This node's share of each limit, while the shared buckets are out of reach. */
  #takeLocal(items: readonly Item[]): Verdict {
    const { local, telemetry } = this.#parts
    telemetry.count('degraded', 'limits')
    const nodes = Math.max(1, this.#parts.nodeCount())
    const wants = items.map(({ want }) => ({
      ...want,
      burst: Math.max(1, Math.floor(want.burst / nodes)),
      intervalUs: want.intervalUs * nodes,
    }))
    const states = items.map(({ state }) => state)
    const closed = items.findIndex(
      ({ bucket, want }, index) =>
        // What is dearer than this node's share can be had from the whole alone.
        bucket.limit.definition.onStateLost === 'closed' || want.cost > wants[index]!.burst,
    )
    if (closed !== -1)
      return { outcome: 'closed', buckets: states, refusedBy: closed, retryAfterMs: this.#health.retryAfterMs }
    const taken = local.takeTokensNow(wants)
    return taken.ok
      ? { outcome: 'allowed_local', buckets: taken.buckets }
      : {
          outcome: 'limited_local',
          buckets: taken.buckets,
          refusedBy: taken.refusedBy,
          retryAfterMs: taken.retryAfterMs,
        }
  }
}

function toVerdict(items: readonly Item[], refusal: Refusal | undefined): Verdict {
  const buckets = items.map(({ state }) => state)
  return refusal === undefined
    ? { outcome: 'allowed', buckets }
    : { outcome: 'limited', buckets, refusedBy: refusal.item.index, retryAfterMs: refusal.retryAfterMs }
}

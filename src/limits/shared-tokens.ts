import type { Clock } from '../ports/clock.ts'
import type { BucketState, StateStore, TokenBucket, TokensTaken } from '../ports/state-store.ts'
import type { Telemetry } from '../ports/telemetry.ts'
import type { LimitOutcome } from './compiled-limit.ts'
import { isDone, Lines, type Item, type Refusal } from './lines.ts'
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

/**
 * Tokens from the shared state, from all buckets of a decision or from none.
 *
 * 1. What is held from portions is taken first, without a round trip; a bucket that is known to be empty refuses at once.
 * 2. Portions of global limits that are missing are asked for.
 * 3. The tenant's buckets share a tag: one command takes from all of them or none.
 * 4. Global limits too slow for portions are taken last.
 * 5. On a refusal everything taken before is given back: portions to this node, the rest to the store.
 * 6. Where the store does not answer, each node keeps its share by itself, or refuses, as the limits say.
 */
export class SharedTokens {
  readonly #parts: SharedTokensParts
  readonly #lines: Lines
  readonly #health: StoreHealth

  constructor(parts: SharedTokensParts) {
    this.#parts = parts
    this.#lines = new Lines(parts)
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
    const refusal = this.#lines.knownRefusal(items)
    if (refusal !== undefined) return toVerdict(items, refusal)
    if (this.#lines.takeHeld(items)) return toVerdict(items, undefined)
    if (!this.#health.isLost) return this.#takeFromStore(items)
    this.#lines.putBack(items)
    return this.#takeLocal(items)
  }

  async #takeFromStore(items: readonly Item[]): Promise<Verdict> {
    let refusal: Refusal | undefined
    try {
      for (const item of items)
        if (refusal === undefined && isGlobal(item) && item.bucket.rate.portion > 0 && !isDone(item))
          refusal = await this.#lines.draw([item])
      const scoped = items.filter((item) => !isGlobal(item))
      if (refusal === undefined && !scoped.every(isDone)) refusal = await this.#lines.draw(scoped)
      for (const item of items)
        if (refusal === undefined && isGlobal(item) && item.bucket.rate.portion === 0 && !isDone(item))
          refusal = await this.#lines.draw([item])
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
      this.#lines.putBack(items)
      return this.#takeLocal(items)
    }
  }

  /**
   * Gives back, or takes beyond what was taken: `wants` say how much (`cost`, less than 0 to give back), `outcome` what was
   * decided before. Never rejects: where the store is lost meanwhile, some callers have lost a few, or won.
   */
  async settle(buckets: readonly Bucket[], wants: readonly TokenBucket[], outcome: Verdict['outcome']): Promise<void> {
    if (outcome === 'allowed_local') {
      this.#parts.local.takeTokensNow(this.#localWants(wants))
      return
    }
    await this.#lines.giveBack(
      buckets.map(({ tag }, index) => ({ tag, want: wants[index]!, tokens: -wants[index]!.cost })),
    )
  }

  async #giveBack(items: readonly Item[]): Promise<void> {
    this.#lines.putBack(items)
    const taken = items.filter(({ isTaken, want }) => isTaken && want.cost > 0)
    await this.#lines.giveBack(taken.map(({ bucket, want }) => ({ tag: bucket.tag, want, tokens: want.cost })))
  }

  /** This node's share of each limit, while the shared buckets are out of reach. */
  #takeLocal(items: readonly Item[]): Verdict {
    const { local, telemetry } = this.#parts
    telemetry.count('degraded', 'limits')
    const wants = this.#localWants(items.map(({ want }) => want))
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

  /** This node's part of the buckets. */
  #localWants(wants: readonly TokenBucket[]): TokenBucket[] {
    const nodes = Math.max(1, this.#parts.nodeCount())
    return wants.map((want) => ({
      ...want,
      burst: Math.max(1, Math.floor(want.burst / nodes)),
      intervalUs: want.intervalUs * nodes,
    }))
  }
}

const isGlobal = ({ bucket }: Item): boolean => bucket.limit.definition.per === 'global'

function toVerdict(items: readonly Item[], refusal: Refusal | undefined): Verdict {
  const buckets = items.map(({ state }) => state)
  return refusal === undefined
    ? { outcome: 'allowed', buckets }
    : { outcome: 'limited', buckets, refusedBy: refusal.item.index, retryAfterMs: refusal.retryAfterMs }
}

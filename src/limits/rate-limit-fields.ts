import type { RateLimitFields } from '../kernel/exchange.ts'
import type { BucketState } from '../ports/state-store.ts'
import type { Bucket } from './subjects.ts'

/**
 * Values of the header fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11), made when they
 * are sent. Global limits are left out: what a server can do in all is no caller's affair (section 8.2).
 *
 * `t` is the time in which a caller who keeps to the rate uses `r` tokens; with none left, the time until there is one. A
 * bucket has no window that ends, and the time until it is full would make clients wait without need.
 */
export class AnswerFields implements RateLimitFields {
  readonly #items: { bucket: Bucket; state: BucketState | undefined; retryAfterMs: number | undefined }[] = []
  #refused: Bucket | undefined

  /** Whether there is anything to tell. */
  get isEmpty(): boolean {
    return this.#items.length === 0
  }

  add(bucket: Bucket, state: BucketState | undefined, retryAfterMs?: number): void {
    if (retryAfterMs !== undefined) this.#refused = bucket
    if (bucket.limit.definition.per === 'global') return
    const item = { bucket, state, retryAfterMs }
    // The requests of a batch are held to the same limits; the last one's state is told.
    const at = this.#items.findIndex((told) => told.bucket.limit === bucket.limit)
    if (at === -1) this.#items.push(item)
    else this.#items[at] = item
  }

  get policy(): string {
    return this.#items.map(({ bucket }) => bucket.rate.policy).join(', ')
  }

  get current(): string {
    // A time beyond Retry-After must not stand beside it (section 6): of a refusal only its own limit is told.
    const told = this.#items.filter(({ bucket, state }) =>
      this.#refused === undefined ? state !== undefined : bucket === this.#refused,
    )
    return told
      .map(({ bucket, state, retryAfterMs }) => {
        const remaining = state?.remaining ?? 0
        const seconds = Math.ceil((retryAfterMs ?? windowOf(bucket, state!)) / 1000)
        return `"${bucket.limit.name}";r=${remaining};t=${seconds}`
      })
      .join(', ')
  }
}

function windowOf({ rate }: Bucket, { remaining, fullAfterMs }: BucketState): number {
  const intervalMs = rate.intervalUs / 1000
  return remaining > 0 ? remaining * intervalMs : Math.max(0, fullAfterMs - (rate.burst - 1) * intervalMs)
}

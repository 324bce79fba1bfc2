import type { RateLimitFields } from '../kernel/exchange.ts'
import type { BucketState } from '../ports/state-store.ts'
import type { Bucket, Subject } from './subjects.ts'

/**
 * Values of the header fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11), made when they
 * are sent. Global limits are left out: what a server can do in all is no caller's affair (section 8.2).
 *
 * `t` is the time in which a caller who keeps to the rate uses `r` tokens; with none left, the time until there is one. A
 * bucket has no window that ends, and the time until it is full would make clients wait without need.
 */
export class AnswerFields implements RateLimitFields {
  /** Whose request it is: found once, asked for at each of its stages. */
  readonly subject: Subject
  readonly #buckets: Bucket[] = []
  readonly #states: (BucketState | undefined)[] = []
  #refused: Bucket | undefined
  #retryAfterMs = 0

  constructor(subject: Subject) {
    this.subject = subject
  }

  add(bucket: Bucket, state: BucketState | undefined): void {
    if (bucket.limit.definition.per === 'global') return
    // The requests of a batch are held to the same limits; the last one's state is told.
    const known = this.#buckets.indexOf(bucket)
    this.#buckets[known === -1 ? this.#buckets.length : known] = bucket
    this.#states[known === -1 ? this.#states.length : known] = state
  }

  refuse(bucket: Bucket, retryAfterMs: number): void {
    this.#refused = bucket
    this.#retryAfterMs = retryAfterMs
  }

  get policy(): string {
    let text = ''
    for (const { rate } of this.#buckets) text += text === '' ? rate.policy : `, ${rate.policy}`
    return text
  }

  get current(): string {
    let text = ''
    for (const [index, bucket] of this.#buckets.entries()) {
      const state = this.#states[index]
      const item = this.#item(bucket, state)
      if (item !== undefined) text += text === '' ? item : `, ${item}`
    }
    return text
  }

  #item(bucket: Bucket, state: BucketState | undefined): string | undefined {
    // A time beyond Retry-After must not stand beside it (section 6): of a refusal only its own limit is told.
    if (this.#refused !== undefined ? bucket !== this.#refused : state === undefined) return undefined
    const ms = this.#refused === undefined ? windowOf(bucket, state!) : this.#retryAfterMs
    return `"${bucket.limit.name}";r=${state?.remaining ?? 0};t=${Math.ceil(ms / 1000)}`
  }
}

function windowOf({ rate }: Bucket, { remaining, fullAfterMs }: BucketState): number {
  const intervalMs = rate.intervalUs / 1000
  return remaining > 0 ? remaining * intervalMs : Math.max(0, fullAfterMs - (rate.burst - 1) * intervalMs)
}

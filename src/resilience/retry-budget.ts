import type { ResolvedDependency } from '../define/dependency.ts'
import type { Clock } from '../ports/clock.ts'

/** What is not spent is kept, up to this many seconds of `perSecond`, or ten retries. */
const KEPT_SECONDS = 10
const LEAST_KEPT = 10

/**
 * Bounds retries to a share of the uses: a token bucket that each use fills a little, and time too. In any stretch of time
 * there are at most `ratio` × uses + `perSecond` × seconds retries, and what was kept.
 * @see Finagle's `RetryBudget` (ratio and a reserve), gRPC's A6 (a bucket of tokens), "Handling Overload" in the SRE book
 */
export class RetryBudget {
  readonly #options: Exclude<ResolvedDependency['retryBudget'], false>
  readonly #clock: Clock
  readonly #most: number
  #tokens: number
  #filledMs: number

  constructor(options: Exclude<ResolvedDependency['retryBudget'], false>, clock: Clock) {
    this.#options = options
    this.#clock = clock
    this.#most = Math.max(LEAST_KEPT, options.perSecond * KEPT_SECONDS)
    // As if it had been seldom used until now.
    this.#tokens = options.perSecond * KEPT_SECONDS
    this.#filledMs = clock.monotonic()
  }

  /** A use begins. */
  deposit(): void {
    this.#tokens = Math.min(this.#most, this.#tokens + this.#options.ratio)
  }

  /** Takes a retry; `false`: there is none. */
  withdraw(): boolean {
    const nowMs = this.#clock.monotonic()
    const earned = ((nowMs - this.#filledMs) / 1000) * this.#options.perSecond
    this.#filledMs = nowMs
    this.#tokens = Math.min(this.#most, this.#tokens + earned)
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}

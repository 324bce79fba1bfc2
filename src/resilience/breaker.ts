/*
 * The breaker of a dependency on one node.
 *
 * closed ──(the window says so)──▶ open ──(its time is up, and somebody calls)──▶ half-open ──(the probe succeeds)──▶ closed
 *                                   ▲                                                │
 *                                   └──────────────(the probe fails)─────────────────┘
 *
 * Cockatiel's policy is the state machine. What it does not do is done here:
 * 1. Nobody waits for a probe: while it is under way all others are refused at once ({@link Breaker.refusalMs}).
 * 2. Time is the injected, monotonic clock. Cockatiel compares the system's clock with `duration`, so that says only "not yet"
 *    or "now".
 * 3. What has ended without a word about the dependency (the caller went away, no place was free) counts as nothing. Of a probe
 *    such an end makes the next call a probe, at once.
 * 4. A call that was begun before the breaker last changed says nothing about the time since, and counts as nothing.
 */
import { circuitBreaker, CircuitState, handleWhenResult, type CircuitBreakerPolicy, type IBackoff } from 'cockatiel'
import type { ResolvedDependency } from '../define/dependency.ts'
import type { Clock } from '../ports/clock.ts'
import { FailureWindow } from './failure-window.ts'
import type { Settled } from './settled.ts'

/** What a breaker does: `closed` lets calls through, `open` none, `half_open` one, as a probe. */
export type BreakerState = 'closed' | 'open' | 'half_open'

/** A breaker has changed. */
export interface BreakerChange {
  readonly from: BreakerState
  readonly to: BreakerState
  /** Of `open`: time until it can be probed. */
  readonly openMs: number
}

/** What a {@link Breaker} works with. */
export interface BreakerParts {
  readonly clock: Clock
  /** From 0 up to, not including, 1. */
  readonly random: () => number
  /** Enough other nodes have found the dependency down. */
  readonly isWarned: () => boolean
  readonly onChange: (change: BreakerChange) => void
}

/** It stays open for `openMs`, less up to this share: nodes that opened together must not probe together. */
const JITTER = 0.2
/** Whoever is refused while a probe is under way is told to come again after this. */
const PROBE_RETRY_MS = 1000

/** Carries the end of an attempt past the policy, which leaves what is thrown uncounted. */
class Uncounted extends Error {
  readonly settled: Settled<unknown>
  constructor(settled: Settled<unknown>) {
    super('Nothing was learnt of the dependency.')
    this.settled = settled
  }
}

/** What an attempt says of the dependency. */
const isSilent = ({ outcome }: Settled<unknown>): boolean => outcome === 'cancelled' || outcome === 'full'
/** As a probe, an attempt that says nothing must not close the breaker. */
const reopens = (settled: Settled<unknown>): boolean => settled.isFailure || isSilent(settled)

export class Breaker {
  readonly #options: Exclude<ResolvedDependency['breaker'], false>
  readonly #parts: BreakerParts
  readonly #window: FailureWindow
  readonly #policy: CircuitBreakerPolicy
  #state: BreakerState = 'closed'
  /** Rises when it opens or closes. */
  #era = 0
  #probeAtMs = 0

  constructor(options: Exclude<ResolvedDependency['breaker'], false>, parts: BreakerParts) {
    this.#options = options
    this.#parts = parts
    this.#window = new FailureWindow(options, parts.clock, parts.isWarned)
    this.#policy = circuitBreaker(
      handleWhenResult((settled) => reopens(settled as Settled<unknown>)),
      {
        breaker: this.#window,
        halfOpenAfter: { next: ({ result }) => this.#pause(result as { value?: Settled<unknown> }) },
      },
    )
    this.#policy.onStateChange((state) => this.#changed(state))
  }

  get state(): BreakerState {
    return this.#state
  }

  /** How long to wait before the next try; `undefined`: a call is let through now. */
  get refusalMs(): number | undefined {
    if (this.#state === 'closed') return undefined
    if (this.#state === 'half_open') return PROBE_RETRY_MS
    const leftMs = this.#probeAtMs - this.#parts.clock.monotonic()
    return leftMs > 0 ? leftMs : undefined
  }

  /** Runs an attempt, and learns from its end. Only where there is no {@link refusalMs}. */
  async run<T>(attempt: () => Promise<Settled<T>>): Promise<Settled<T>> {
    const isProbe = this.#state !== 'closed'
    const era = this.#era
    try {
      return await this.#policy.execute(async () => {
        const settled = await attempt()
        if (!isProbe && (isSilent(settled) || era !== this.#era)) throw new Uncounted(settled)
        return settled
      })
    } catch (error) {
      if (error instanceof Uncounted) return error.settled as Settled<T>
      throw error
    }
  }

  /** What was a success has failed after all: the rest of an answer did not come. */
  fail(settled: Settled<never>): void {
    if (this.#state === 'closed') void this.#policy.execute(() => settled)
  }

  #pause(result: { value?: Settled<unknown> }): IBackoff<{ result: unknown }> {
    const { clock, random } = this.#parts
    const isNothingLearnt = result.value !== undefined && !result.value.isFailure
    const pauseMs = isNothingLearnt ? 0 : this.#options.openMs * (1 - JITTER * random())
    this.#probeAtMs = clock.monotonic() + pauseMs
    const probeAtMs = this.#probeAtMs
    return {
      get duration() {
        return clock.monotonic() < probeAtMs ? Infinity : -Infinity
      },
      next: (context) => this.#pause(context.result as { value?: Settled<unknown> }),
    }
  }

  #changed(state: CircuitState): void {
    const from = this.#state
    const to = state === CircuitState.Closed ? 'closed' : state === CircuitState.HalfOpen ? 'half_open' : 'open'
    this.#state = to
    if (to !== 'half_open') this.#era++
    if (to === 'closed') this.#window.clear()
    this.#parts.onChange({ from, to, openMs: Math.max(0, this.#probeAtMs - this.#parts.clock.monotonic()) })
  }
}

/*
 * The guard of one dependency in one runtime. Around the work, outermost first:
 *
 *   fallback → deadline → retry (budget) → breaker → bulkhead → time-out → work
 *
 * 1. No attempt begins, and no wait, that the deadline would cut short; the time of the last attempt ends with it.
 * 2. What the breaker or the bulkhead refuses fails at once, and is not repeated. A repeat that is refused leaves the error of
 *    the attempt before it.
 * 3. One layer retries: an error that a guard has given up on is final for every guard around it. A use within a running use of
 *    the same dependency is part of it.
 * 4. When the caller goes away, everything that waits or runs ends.
 */
import type { Dependency, ResolvedDependency, UseOptions } from '../define/dependency.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import type { Operation, Telemetry, UseSpan } from '../ports/telemetry.ts'
import { Attempt, currentAttempt, type AttemptHost } from './attempt.ts'
import { createBackoff } from './backoff.ts'
import { Breaker, type BreakerChange, type BreakerState } from './breaker.ts'
import { Bulkhead } from './bulkhead.ts'
import { classify } from './classify.ts'
import { RetryBudget } from './retry-budget.ts'
import { cancelled, faulty, refused, timedOut, type Settled } from './settled.ts'
import { Timers } from './timers.ts'

/** What a guard works with. */
export interface GuardParts {
  readonly clock: Clock
  readonly telemetry: Pick<Telemetry, 'count' | 'dependencyUsed' | 'startUse'> | undefined
  readonly random: () => number
  /** Enough other nodes have found the dependency down. */
  readonly isWarned: () => boolean
  readonly onBreaker: (change: BreakerChange) => void
}

/** A use as a guard sees it. */
export interface GuardedUse<F> extends UseOptions<F> {
  readonly operation?: Operation | undefined
  /** What it sends can be sent again. Default true. */
  readonly isRepeatable?: boolean
}

export class Guard implements AttemptHost {
  readonly dependency: ResolvedDependency & Pick<Dependency<unknown>, 'fallback'>
  readonly timers: Timers
  readonly clock: Clock
  readonly timeoutMs: number
  readonly #parts: GuardParts
  readonly #breaker: Breaker | undefined
  readonly #bulkhead: Bulkhead | undefined
  readonly #budget: RetryBudget | undefined
  readonly #backoff: ReturnType<typeof createBackoff> | undefined

  constructor(dependency: Guard['dependency'], parts: GuardParts) {
    const { retry, retryBudget, breaker, bulkhead } = dependency
    const { clock, random, isWarned, onBreaker } = parts
    this.dependency = dependency
    this.clock = clock
    this.timers = new Timers(clock)
    this.timeoutMs = dependency.timeoutMs
    this.#parts = parts
    this.#breaker =
      breaker === false ? undefined : new Breaker(breaker, { clock, random, isWarned, onChange: onBreaker })
    this.#bulkhead = bulkhead === false ? undefined : new Bulkhead(bulkhead, clock)
    this.#budget = retry === false || retryBudget === false ? undefined : new RetryBudget(retryBudget, clock)
    this.#backoff = retry === false ? undefined : createBackoff(retry)
  }

  get breakerState(): BreakerState | undefined {
    return this.#breaker?.state
  }
  /** Attempts that are under way, and that wait for a place; of a dependency without bulkhead they are not counted. */
  get running(): number {
    return this.#bulkhead?.running ?? 0
  }
  get queued(): number {
    return this.#bulkhead?.queued ?? 0
  }

  /**
   * Runs work that is guarded.
   * @throws {HoldfastError} `dependency_unavailable`, `dependency_timeout`; what the work throws; the reason of the signal
   */
  async run<T, F>(work: (attempt: Attempt) => T | PromiseLike<T>, use: GuardedUse<F> = {}): Promise<T | F> {
    const outer = currentAttempt()
    if (outer?.host === this && outer.isRunning) return work(outer)
    const { telemetry } = this.#parts
    const { name } = this.dependency
    if (use.deadlineMs !== undefined && !(use.deadlineMs > 0))
      throw new HoldfastError(
        'invalid_option',
        `\`deadlineMs\` of a use of ${name} is ${use.deadlineMs}. It must be a number of milliseconds above 0.`,
      )
    const startedMs = this.clock.monotonic()
    const span = telemetry?.startUse(use.operation, name)
    const settled = await (span === undefined
      ? this.#use(work, use, startedMs, undefined)
      : span.run(() => this.#use(work, use, startedMs, span)))
    telemetry?.dependencyUsed(name, settled.outcome, (this.clock.monotonic() - startedMs) / 1000)
    span?.end(settled.outcome, settled.error)
    if (settled.outcome === 'ok') return settled.value as T
    const { error, outcome, isFailure } = settled
    const fallback = use.fallback ?? this.dependency.fallback
    if (fallback !== undefined && (isFailure || outcome === 'open' || outcome === 'full')) {
      telemetry?.count('dependency_fallbacks', name)
      try {
        return (await fallback(error)) as F
      } catch (thrown) {
        throw this.#giveUp(thrown, settled, outer)
      }
    }
    throw this.#giveUp(error, settled, outer)
  }

  /** The error of a use, which no guard around this one tries again where this one has. */
  #giveUp(error: unknown, { isFinal }: Settled<unknown>, outer: Attempt | undefined): unknown {
    if (this.#backoff !== undefined || isFinal === true) outer?.giveUp(error)
    return error
  }

  async #use<T>(
    work: (attempt: Attempt) => T | PromiseLike<T>,
    use: GuardedUse<unknown>,
    startedMs: number,
    span: UseSpan | undefined,
  ): Promise<Settled<T>> {
    const { signal, deadlineMs = this.dependency.deadlineMs } = use
    const untilMs = startedMs + deadlineMs
    this.#budget?.deposit()
    let backoff = this.#backoff?.next(undefined)
    let last: Settled<T> | undefined
    for (let number = 1; ; number++) {
      if (signal?.aborted) return cancelled(signal)
      const settled = await this.#attempt(work, number, signal, untilMs)
      if (settled.outcome === 'ok') return settled
      if (last !== undefined && (settled.outcome === 'open' || settled.outcome === 'full')) return last
      try {
        if (backoff === undefined || !this.#mayRepeat(settled, number, use)) return settled
      } catch (thrown) {
        return faulty(thrown)
      }
      // What a server asks for is waited for in full, and on top of it so that not everybody comes back together.
      const waitMs = (settled.retryAfterMs ?? 0) + backoff.duration
      if (this.clock.monotonic() + waitMs >= untilMs) return settled
      // It would be refused: whoever waits is told at once.
      if ((this.#breaker?.refusalMs ?? 0) > waitMs || !this.#payRetry()) return settled
      span?.event('retry', { attempt: number, waitMs, error: String(settled.error) })
      try {
        await this.clock.sleep(waitMs, signal)
      } catch {
        return cancelled(signal!)
      }
      // A busy process wakes late.
      if (this.clock.monotonic() >= untilMs) return settled
      backoff = backoff.next(undefined)
      last = settled
    }
  }

  #attempt<T>(
    work: (attempt: Attempt) => T | PromiseLike<T>,
    number: number,
    signal: AbortSignal | undefined,
    untilMs: number,
  ): Promise<Settled<T>> {
    const breaker = this.#breaker
    if (breaker === undefined) return this.#inPlace(work, number, signal, untilMs)
    const refusalMs = breaker.refusalMs
    return refusalMs === undefined
      ? breaker.run(() => this.#inPlace(work, number, signal, untilMs))
      : Promise.resolve(refused(this.dependency.name, 'open', refusalMs))
  }

  #inPlace<T>(
    work: (attempt: Attempt) => T | PromiseLike<T>,
    number: number,
    signal: AbortSignal | undefined,
    untilMs: number,
  ): Promise<Settled<T>> {
    const bulkhead = this.#bulkhead
    const start = (): Promise<Settled<T>> => {
      const leftMs = Math.min(this.timeoutMs, untilMs - this.clock.monotonic())
      return new Attempt(this, number, signal).run(work, leftMs)
    }
    if (bulkhead === undefined || bulkhead.take()) return start()
    return bulkhead.wait(untilMs - this.clock.monotonic(), signal).then((refusal) => {
      const isTooLate = signal?.aborted === true || this.clock.monotonic() >= untilMs
      if (refusal === undefined && !isTooLate) return start()
      // The place came, and at the same moment the caller went away, or the time was up.
      if (refusal === undefined) bulkhead.give()
      return signal?.aborted ? cancelled(signal) : refused(this.dependency.name, 'full', bulkhead.maxWaitMs)
    })
  }

  #mayRepeat(
    { repeatable, error, outcome, isFinal }: Settled<unknown>,
    number: number,
    use: GuardedUse<unknown>,
  ): boolean {
    const { retry, idempotent } = this.dependency
    if (retry === false || number >= retry.maxAttempts || use.isRepeatable === false) return false
    if (outcome === 'cancelled' || outcome === 'open' || outcome === 'full' || isFinal === true) return false
    if (retry.retryable !== undefined) return retry.retryable(error)
    return repeatable === 'always' || (repeatable === 'if_idempotent' && (use.idempotent ?? idempotent))
  }

  #payRetry(): boolean {
    const { telemetry } = this.#parts
    const isPaid = this.#budget?.withdraw() ?? true
    telemetry?.count(isPaid ? 'dependency_retries' : 'dependency_retries_refused', this.dependency.name)
    return isPaid
  }

  give(): void {
    this.#bulkhead?.give()
  }
  classify(error: unknown): Settled<never> {
    const verdict = classify(error, this.clock.now())
    const { isFailure } = this.dependency
    if (isFailure === undefined) return { ...verdict, error }
    try {
      const isOwn = isFailure(error)
      const outcome = verdict.outcome === 'timeout' ? 'timeout' : isOwn ? 'failed' : 'error'
      return { ...verdict, outcome, isFailure: isOwn, error }
    } catch (thrown) {
      return faulty(thrown)
    }
  }
  timedOut(ms: number): Settled<never> {
    return this.classify(timedOut(this.dependency.name, ms))
  }
  broke(settled: Settled<never>): void {
    if (settled.isFailure) this.#breaker?.fail(settled)
  }
}

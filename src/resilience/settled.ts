import { HoldfastError } from '../errors/holdfast-error.ts'

/**
 * How an attempt, or a use, has ended: the label of `holdfast_dependency_duration_seconds`.
 * `failed`: the dependency is to blame; `error`: it has answered, with an error; `open` and `full`: it was not asked.
 */
export type Outcome = 'ok' | 'failed' | 'error' | 'timeout' | 'open' | 'full' | 'cancelled'

/** What may be repeated: always, since it was surely not carried out; only where that does no harm; never. */
export type Repeatable = 'always' | 'if_idempotent' | 'never'

/** The end of an attempt. */
export interface Settled<T> {
  readonly outcome: Outcome
  /** Of `ok`. */
  readonly value?: T
  /** Of all others. */
  readonly error?: unknown
  /** The breaker counts it. */
  readonly isFailure: boolean
  readonly repeatable: Repeatable
  /** The dependency wants to be left alone for so long. */
  readonly retryAfterMs?: number | undefined
  /** A guard within it has given up on this error already. */
  readonly isFinal?: boolean
}

export const succeeded = <T>(value: T): Settled<T> => ({
  outcome: 'ok',
  value,
  isFailure: false,
  repeatable: 'never',
})

/** The caller has gone away. */
export const cancelled = (signal: AbortSignal): Settled<never> => ({
  outcome: 'cancelled',
  error: signal.reason,
  isFailure: false,
  repeatable: 'never',
})

/** A rule of the definition has thrown: that is to be seen, and says nothing of the dependency. */
export const faulty = (error: unknown): Settled<never> => ({
  outcome: 'error',
  error,
  isFailure: false,
  repeatable: 'never',
})

/** Not asked: its breaker is open, or as many ask it as may. */
export function refused(dependency: string, outcome: 'open' | 'full', retryAfterMs: number): Settled<never> {
  const why = outcome === 'open' ? 'too many calls of it have failed' : 'as many calls of it are under way as may be'
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000))
  const message = `${dependency} is not available now: ${why}. Try again in ${seconds} s.`
  return {
    outcome,
    error: new HoldfastError('dependency_unavailable', message, {
      data: { dependency, retryAfterMs: Math.max(1, Math.ceil(retryAfterMs)) },
    }),
    isFailure: false,
    repeatable: 'never',
  }
}

/** The reason of a signal whose time is up. */
export const timedOut = (dependency: string, ms: number): HoldfastError =>
  new HoldfastError(
    'dependency_timeout',
    `${dependency} did not answer within ${ms < 1000 ? `${Math.round(ms)} ms` : `${Number((ms / 1000).toFixed(1))} s`}.`,
    { data: { dependency } },
  )

import { checkFields, checkFunction, checkOptions, invalid, quote } from './names.ts'

/** Which of the failed attempts at something outside are made again, and when. */
export interface RetryOptions {
  /** Attempts of one use, the first among them. Default 3. */
  maxAttempts?: number
  /** The first wait is up to this; each further one up to twice the one before. Default 100. */
  baseMs?: number
  /** No wait is longer. Default 10,000. */
  maxMs?: number
  /**
   * How waits are drawn. `full`: evenly from 0 to the bound (AWS, "Exponential Backoff and Jitter"); `decorrelated`: as Polly
   * does, which spreads as well and is rarely close to 0. Default `full`.
   */
  jitter?: 'full' | 'decorrelated'
  /**
   * Takes the place of the rules on what may be repeated: what it accepts is, whether the use is idempotent or not.
   * Default: see `docs/resilience.md`.
   */
  retryable?: (error: unknown) => boolean
}

/** How many attempts may be repeats, over all uses on a node: without a bound retries multiply the load of what is failing. */
export interface RetryBudgetOptions {
  /** Retries for each use. Default 0.1: one in ten. */
  ratio?: number
  /** Retries a second beside those, so that what is seldom used may retry too. Default 1. Ten seconds of them can be saved up. */
  perSecond?: number
}

/** When a dependency counts as down, so that it is left alone. */
export interface BreakerOptions {
  /** Opens when this share of the calls in the window has failed. Default 0.5. */
  failureShare?: number
  /** Length of the window. Default 10,000. */
  windowMs?: number
  /** Calls that the window must hold before the share says anything. Default 10. */
  minimumCalls?: number
  /** Opens also after so many failures in a row, however far apart: for what is seldom used. Default 5. */
  consecutiveFailures?: number
  /** How long it stays open, at most, before one call is let through as a probe. Default 5000. */
  openMs?: number
}

/** How much of a dependency may be in use at once, on a node. */
export interface BulkheadOptions {
  /** Attempts at once. Default 50. */
  maxConcurrent?: number
  /** Attempts that may wait for a place. Default 50. */
  maxQueue?: number
  /** How long they wait, at most. Default 1000. */
  maxWaitMs?: number
}

/**
 * Something outside that is called over a network, and how calls of it are guarded.
 * @typeParam D what `fallback` gives
 */
export interface DependencyOptions<D = never> {
  /** 1–64 of `A–Z a–z 0–9 _ . -`: how errors and metrics call it. Unique in a server. */
  name: string
  /**
   * Time for one attempt. Default 10,000. Of a `fetch` it is the time until the headers of the answer, and again between any two
   * pieces of its body, so that a stream may last.
   */
  timeoutMs?: number
  /** Time for a use with all its attempts and the waits between them. Default: three times `timeoutMs`. */
  deadlineMs?: number
  /** Every use may be repeated though it is unknown whether it was carried out; a use may say so of itself. Default false. */
  idempotent?: boolean
  /** `false`: nothing is repeated. Default: see {@link RetryOptions}. */
  retry?: RetryOptions | false
  /** `false`: no bound. Default: see {@link RetryBudgetOptions}. */
  retryBudget?: RetryBudgetOptions | false
  /** `false`: none. Default: see {@link BreakerOptions}. */
  breaker?: BreakerOptions | false
  /** `false`: none. Default: see {@link BulkheadOptions}. */
  bulkhead?: BulkheadOptions | false
  /**
   * Whether the dependency is to blame for an error: that is what the breaker counts, and what `fallback` stands in for.
   * Default: time-outs, failures of the network, and answers of status 500 and up.
   */
  isFailure?: (error: unknown) => boolean
  /** What to go on with where the dependency has failed, or is not asked at all; what it throws is the error of the use. Default: none. */
  fallback?: (error: unknown) => D | PromiseLike<D>
}

/**
 * How one use of a dependency differs from the others.
 * @typeParam F what `fallback` gives
 */
export interface UseOptions<F = never> {
  /** This use may be repeated though it is unknown whether it was carried out. Default: as the dependency says. */
  idempotent?: boolean
  /** Time for this use with all its attempts. Default: as the dependency says. */
  deadlineMs?: number
  /** Takes the place of the dependency's. */
  fallback?: (error: unknown) => F | PromiseLike<F>
  /** Ends the use, beside the signal of the call that it is made in. */
  signal?: AbortSignal
}

/**
 * Work that is guarded.
 * @param signal aborts when the caller goes away or the time is up: give it to whatever waits
 * @param attempt counted from 1
 */
export type Work<T> = (signal: AbortSignal, attempt: number) => T | PromiseLike<T>

/** The guard of a dependency, as a handler and the background code of a server use it. */
export type Use = <T, D = never, F = never>(
  dependency: Dependency<D>,
  work: Work<T>,
  options?: UseOptions<F>,
) => Promise<T | D | F>

/** A dependency with every default filled in. */
export interface ResolvedDependency {
  readonly kind: 'dependency'
  readonly name: string
  readonly timeoutMs: number
  readonly deadlineMs: number
  readonly idempotent: boolean
  readonly retry: (Required<Omit<RetryOptions, 'retryable'>> & Pick<RetryOptions, 'retryable'>) | false
  readonly retryBudget: Required<RetryBudgetOptions> | false
  readonly breaker: Required<BreakerOptions> | false
  readonly bulkhead: Required<BulkheadOptions> | false
  readonly isFailure: ((error: unknown) => boolean) | undefined
}

/**
 * Something outside, as {@link defineDependency} makes it: to be given to `ctx.use` and `runtime.use`, or used by itself.
 * @typeParam D what its `fallback` gives
 */
export interface Dependency<D = never> extends ResolvedDependency {
  readonly fallback: ((error: unknown) => D | PromiseLike<D>) | undefined
  /** As `ctx.use` of the call that it is made in, for code that has no `ctx`. Outside any call: guarded in this process alone, without telemetry. */
  use<T, F = never>(work: Work<T>, options?: UseOptions<F>): Promise<T | D | F>
  /**
   * A guarded `fetch`, for clients that take one. It ends with the call that it is made in. What may be repeated is known by the
   * method. An answer with an error status is an answer, also after retries; only where there is none it throws. A `fallback`
   * gives a `Response`.
   */
  readonly fetch: typeof globalThis.fetch
}

const RETRY = { maxAttempts: 3, baseMs: 100, maxMs: 10_000, jitter: 'full' } as const
const RETRY_BUDGET = { ratio: 0.1, perSecond: 1 }
const BREAKER = { failureShare: 0.5, windowMs: 10_000, minimumCalls: 10, consecutiveFailures: 5, openMs: 5_000 }
const BULKHEAD = { maxConcurrent: 50, maxQueue: 50, maxWaitMs: 1_000 }
const TIMEOUT_MS = 10_000

const FIELDS = [
  'name',
  'timeoutMs',
  'deadlineMs',
  'idempotent',
  'retry',
  'retryBudget',
  'breaker',
  'bulkhead',
  'isFailure',
  'fallback',
]

type Check = readonly [isAllowed: (value: unknown) => boolean, expected: string]
const whole = (least: number): Check => [
  (value) => Number.isSafeInteger(value) && (value as number) >= least,
  `a whole number, ${least} or more`,
]
const share: Check = [(value) => typeof value === 'number' && value > 0 && value <= 1, 'a number above 0, at most 1']
const amount: Check = [
  (value) => typeof value === 'number' && value >= 0 && Number.isFinite(value),
  'a number, 0 or more',
]
const CHECKS: Readonly<Record<string, Check>> = {
  maxAttempts: whole(1),
  baseMs: whole(1),
  maxMs: whole(1),
  jitter: [(value) => value === 'full' || value === 'decorrelated', '"full" or "decorrelated"'],
  retryable: [(value) => typeof value === 'function', 'a function'],
  ratio: amount,
  perSecond: amount,
  failureShare: share,
  windowMs: whole(1),
  minimumCalls: whole(1),
  consecutiveFailures: whole(1),
  openMs: whole(1),
  maxConcurrent: whole(1),
  maxQueue: whole(0),
  maxWaitMs: whole(0),
}

/**
 * Fills in the defaults.
 * @throws {HoldfastError} `invalid_definition`
 */
export function resolveDependency<D>(
  options: DependencyOptions<D>,
): ResolvedDependency & Pick<Dependency<D>, 'fallback'> {
  checkOptions('defineDependency', options)
  const { name, timeoutMs = TIMEOUT_MS, idempotent = false, isFailure, fallback } = options
  if (typeof name !== 'string' || !/^[A-Za-z0-9_.-]{1,64}$/.test(name))
    invalid(
      `defineDependency(${quote(name)})`,
      'the name is not a usable one.',
      'Use 1 to 64 letters, digits, "_", "." and "-".',
    )
  const where = `defineDependency("${name}")`
  checkFields(where, options, FIELDS)
  const { deadlineMs = 3 * timeoutMs } = options
  for (const [field, value] of Object.entries({ timeoutMs, deadlineMs }))
    if (!Number.isSafeInteger(value) || value < 1)
      invalid(where, `\`${field}\` is ${quote(value)}.`, 'It must be a whole number of milliseconds, 1 or more.')
  if (typeof idempotent !== 'boolean')
    invalid(where, `\`idempotent\` is ${quote(idempotent)}.`, 'It must be true or false.')
  if (isFailure !== undefined) checkFunction(where, 'isFailure', isFailure)
  if (fallback !== undefined) checkFunction(where, 'fallback', fallback)
  const group = <T extends object>(
    field: string,
    given: unknown,
    defaults: T,
    others: readonly string[] = [],
  ): T | false => (given === false ? false : resolveGroup(where, field, given, defaults, others))
  const retry: ResolvedDependency['retry'] = group('retry', options.retry, RETRY, ['retryable'])
  return {
    kind: 'dependency',
    name,
    timeoutMs,
    deadlineMs,
    idempotent,
    retry,
    retryBudget: group('retryBudget', options.retryBudget, RETRY_BUDGET),
    breaker: group('breaker', options.breaker, BREAKER),
    bulkhead: group('bulkhead', options.bulkhead, BULKHEAD),
    isFailure,
    fallback,
  }
}

function resolveGroup<T extends object>(
  where: string,
  field: string,
  given: unknown,
  defaults: T,
  others: readonly string[],
): T {
  if (given === undefined) return defaults
  if (typeof given !== 'object' || given === null)
    invalid(where, `\`${field}\` is ${quote(given)}.`, 'Give it options, or `false` to go without.')
  const known = [...Object.keys(defaults), ...others]
  for (const [key, value] of Object.entries(given)) {
    if (!known.includes(key))
      invalid(where, `there is no field \`${field}.${key}\`.`, `The fields are ${known.join(', ')}.`)
    const [isAllowed, expected] = CHECKS[key]!
    if (value !== undefined && !isAllowed(value))
      invalid(where, `\`${field}.${key}\` is ${quote(value)}.`, `It must be ${expected}.`)
  }
  return { ...defaults, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) }
}

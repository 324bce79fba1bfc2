import type { Principal } from '../define/context.ts'
import type { RequestLimit } from '../define/limits.ts'
import type { ToolDefinition } from '../define/tool.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Exchange } from '../kernel/exchange.ts'
import type { Limited, Limits, TakenTokens } from '../kernel/limits.ts'
import { isPromise } from '../kernel/protocol.ts'
import type { Clock } from '../ports/clock.ts'
import type { StateStore, TokenBucket } from '../ports/state-store.ts'
import type { Telemetry } from '../ports/telemetry.ts'
import { CompiledLimit, type LimitOutcome } from './compiled-limit.ts'
import type { OverrideLimits } from './overrides.ts'
import { AnswerFields } from './rate-limit-fields.ts'
import { SharedTokens, type LocalTokens, type Verdict } from './shared-tokens.ts'
import { bucketOf, Subjects, type Bucket, type Plan, type Subject } from './subjects.ts'

/** What a {@link Limiter} works with. */
export interface LimiterParts {
  /** Limits of all requests. */
  readonly limits: readonly RequestLimit[]
  readonly tools: readonly Pick<ToolDefinition, 'name' | 'limits'>[]
  readonly override: OverrideLimits | undefined
  /** Where buckets are kept that are not shared, and while the shared ones are out of reach. */
  readonly local: LocalTokens
  /** Where nodes share their buckets; `undefined`: there is one node. */
  readonly shared: StateStore | undefined
  /** Nodes that serve requests, this one included: how many parts a limit has while the state is lost. */
  nodeCount(): number
  readonly clock: Clock
  readonly telemetry: Telemetry
}

/** How long an answer of the override is used. */
const OVERRIDE_TTL_MS = 10_000

/**
 * Holds requests to their limits.
 *
 * Stages of a decision: who calls → which buckets (the plan, remembered for each subject) → what each costs → tokens, from
 * this process where there is one node, else from the shared state ({@link SharedTokens}) → counted, told in headers, or
 * refused. All is synchronous until something is a promise: a promise for each would cost more than the rest together.
 */
export class Limiter implements Limits {
  readonly #parts: LimiterParts
  readonly #requests: readonly CompiledLimit[]
  readonly #calls: ReadonlyMap<string, readonly CompiledLimit[]>
  /** Limits on the tokens of models: the server's, and each tool's together with them. */
  readonly #tokens: readonly CompiledLimit[]
  readonly #toolTokens: ReadonlyMap<string, readonly CompiledLimit[]>
  readonly #subjects = new Subjects()
  readonly #shared: SharedTokens | undefined

  constructor(parts: LimiterParts) {
    this.#parts = parts
    const compile = (tool: string | undefined, limits: readonly RequestLimit[], ofTokens: boolean): CompiledLimit[] =>
      limits.filter(({ unit }) => (unit === 'llm-tokens') === ofTokens).map((limit) => new CompiledLimit(limit, tool))
    const ofTools = (ofTokens: boolean): Map<string, CompiledLimit[]> =>
      new Map(
        parts.tools
          .map(({ name, limits = [] }): [string, CompiledLimit[]] => [name, compile(name, limits, ofTokens)])
          .filter(([, limits]) => limits.length > 0),
      )
    this.#requests = compile(undefined, parts.limits, false)
    this.#calls = ofTools(false)
    this.#tokens = compile(undefined, parts.limits, true)
    this.#toolTokens = ofTools(true)
    this.#shared = parts.shared && new SharedTokens({ ...parts, shared: parts.shared })
  }

  /** Decisions of this node since its start, for the metrics. */
  *decisions(): Iterable<{ limit: string; outcome: LimitOutcome; count: number }> {
    const ofTools = [...this.#calls.values(), ...this.#toolTokens.values()].flat()
    for (const limit of [...this.#requests, ...this.#tokens, ...ofTools])
      for (const [outcome, count] of Object.entries(limit.counts))
        if (count > 0) yield { limit: limit.name, outcome: outcome as LimitOutcome, count }
  }

  chargeRequest(exchange: Exchange): undefined | Promise<void> {
    return this.#requests.length === 0 ? undefined : this.#charge(exchange, undefined, this.#requests, undefined)
  }

  chargeCall(exchange: Exchange, tool: string, args: unknown): undefined | Promise<void> {
    const limits = this.#calls.get(tool)
    return limits && this.#charge(exchange, tool, limits, args)
  }

  takeModelTokens(caller: Limited, tool: string | undefined, estimate: () => number): undefined | Promise<TakenTokens> {
    const ofTool = tool === undefined ? undefined : this.#toolTokens.get(tool)
    if (this.#tokens.length === 0 && ofTool === undefined) return undefined
    return this.#takeModelTokens(caller, `tokens of ${tool}`, [...this.#tokens, ...(ofTool ?? [])], estimate())
  }

  async #takeModelTokens(
    caller: Limited,
    planName: string,
    limits: readonly CompiledLimit[],
    tokens: number,
  ): Promise<TakenTokens> {
    const { buckets } = await this.#plan(this.#subjects.of(caller), caller.principal, planName, limits)
    const wants = buckets.map(({ want }) => ({ ...want, cost: tokens }))
    const verdict = await this.#ask(buckets, wants)
    decide(buckets, verdict)
    return {
      settle: async (usedTokens) => {
        if (usedTokens === tokens || buckets.length === 0) return
        // Less than was taken is given back; more is taken as far as there is any: the model has used it already.
        const rest = wants.map((want) => ({ ...want, cost: usedTokens - tokens, least: 0 }))
        if (this.#shared === undefined) this.#parts.local.takeTokensNow(rest)
        else await this.#shared.settle(buckets, rest, verdict.outcome)
      },
    }
  }

  close(): void {
    this.#shared?.close()
  }

  #charge(
    exchange: Exchange,
    tool: string | undefined,
    limits: readonly CompiledLimit[],
    args: unknown,
  ): undefined | Promise<void> {
    const { subject } = ((exchange.rateLimit as AnswerFields | undefined) ??= new AnswerFields(
      this.#subjects.of(exchange),
    ))
    const plan = this.#plan(subject, exchange.principal, tool, limits)
    return isPromise(plan)
      ? Promise.resolve(plan).then((ready) => this.#take(exchange, ready, args))
      : this.#take(exchange, plan, args)
  }

  /** @param name of the plan: the tool, or what else it is for. */
  #plan(
    subject: Subject,
    principal: Principal,
    name: string | undefined,
    limits: readonly CompiledLimit[],
  ): Plan | Promise<Plan> {
    const known = subject.plans.get(name)
    if (known !== undefined && (known.untilMs === Infinity || this.#parts.clock.monotonic() < known.untilMs))
      return known
    const rates = limits.map((limit) => this.#bucket(limit, subject, principal))
    const keep = (buckets: (Bucket | undefined)[]): Plan => {
      const plan = this.#toPlan(buckets.filter((bucket) => bucket !== undefined))
      subject.plans.set(name, plan)
      return plan
    }
    return rates.some(isPromise)
      ? Promise.all(rates.map(async (rate) => rate)).then(keep)
      : keep(rates as (Bucket | undefined)[])
  }

  #toPlan(buckets: readonly Bucket[]): Plan {
    return {
      buckets,
      wants: buckets.some(({ limit }) => limit.costOf !== undefined) ? undefined : buckets.map(({ want }) => want),
      untilMs: this.#parts.override === undefined ? Infinity : this.#parts.clock.monotonic() + OVERRIDE_TTL_MS,
    }
  }

  /** `undefined`: the subject is not held to this limit. */
  #bucket(
    limit: CompiledLimit,
    subject: Subject,
    principal: Principal,
  ): Bucket | undefined | Promise<Bucket | undefined> {
    const { override, telemetry } = this.#parts
    const { per } = limit.definition
    const asDefined = bucketOf(limit, subject, limit.rate)
    if (override === undefined || per === 'global') return asDefined
    const { name, tool, rate } = limit
    const failed = (error: unknown): Bucket => {
      telemetry.failure(undefined, `The limit "${name}" could not be overridden, and holds as it is defined.`, error)
      return asDefined
    }
    const apply = (said: Awaited<ReturnType<OverrideLimits>>): Bucket | undefined =>
      said === 'unlimited'
        ? undefined
        : said === undefined
          ? asDefined
          : bucketOf(limit, subject, limit.overriddenBy(said))
    try {
      const said = override(principal, {
        name,
        tool,
        per,
        limit: rate.limit,
        windowMs: rate.windowMs,
        burst: rate.burst,
      })
      return isPromise(said) ? Promise.resolve(said).then(apply).catch(failed) : apply(said)
    } catch (error) {
      return failed(error)
    }
  }

  #take(exchange: Exchange, plan: Plan, args: unknown): undefined | Promise<void> {
    const { buckets } = plan
    const wants = plan.wants ?? buckets.map((bucket) => wantFor(bucket, args))
    const fields = exchange.rateLimit as AnswerFields
    const verdict = this.#ask(buckets, wants)
    return isPromise(verdict)
      ? Promise.resolve(verdict).then((done) => decide(buckets, done, fields))
      : decide(buckets, verdict, fields)
  }

  #ask(buckets: readonly Bucket[], wants: readonly TokenBucket[]): Verdict | Promise<Verdict> {
    for (let index = 0; index < wants.length; index++)
      if (wants[index]!.cost > wants[index]!.burst) throw costTooHigh(buckets[index]!, wants[index]!.cost)
    if (this.#shared !== undefined) return this.#shared.take(buckets, wants)
    const taken = this.#parts.local.takeTokensNow(wants)
    return taken.ok ? { ...taken, outcome: 'allowed' } : { ...taken, outcome: 'limited' }
  }
}

/** Counts a decision, notes it for the answer's headers, and throws where it is a refusal. */
function decide(buckets: readonly Bucket[], verdict: Verdict, fields?: AnswerFields): undefined {
  const { outcome, buckets: states } = verdict
  if (fields !== undefined)
    for (let index = 0; index < buckets.length; index++) fields.add(buckets[index]!, states[index])
  if (verdict.refusedBy === undefined) {
    for (const { limit } of buckets) limit.counts[outcome]++
    return undefined
  }
  const refusing = buckets[verdict.refusedBy]!
  fields?.refuse(refusing, verdict.retryAfterMs)
  const { limit, rate } = refusing
  limit.counts[outcome]++
  const data = { retryAfterMs: verdict.retryAfterMs, limit: limit.name }
  if (outcome === 'closed')
    throw new HoldfastError(
      'limits_unavailable',
      `The limit "${limit.name}" can't be asked now. Try again in ${seconds(verdict.retryAfterMs)}.`,
      { data },
    )
  const { per } = limit.definition
  const what = per === 'global' ? 'of the server' : `(${rate.limit} in ${seconds(rate.windowMs)} for each ${per})`
  throw new HoldfastError(
    'rate_limited',
    `The limit "${limit.name}" ${what} is used up. Try again in ${seconds(verdict.retryAfterMs)}.`,
    { data },
  )
}

const seconds = (ms: number): string => `${Math.ceil(ms / 100) / 10} s`

/** @throws {TypeError} where the cost that the tool's definition gives is none. */
function wantFor({ limit, want }: Bucket, args: unknown): TokenBucket {
  if (limit.costOf === undefined) return want
  const cost = Math.ceil(limit.costOf(args as never))
  if (!Number.isSafeInteger(cost) || cost < 0)
    throw new TypeError(`The cost of a call at the limit "${limit.name}" came out as ${String(cost)}.`)
  return { ...want, cost }
}

function costTooHigh({ limit, rate }: Bucket, cost: number): HoldfastError {
  return new HoldfastError(
    'cost_above_limit',
    `The call costs ${cost}, and the limit "${limit.name}" allows ${rate.burst} at once. Ask for less in one call.`,
    { data: { limit: limit.name, cost, burst: rate.burst } },
  )
}

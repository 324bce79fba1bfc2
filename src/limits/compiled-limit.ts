import { limitName, type RequestLimit, type ToolLimit } from '../define/limits.ts'

/** What became of a request at a limit. `…_local`: decided without the shared state; `closed`: refused for want of it. */
export type LimitOutcome = 'allowed' | 'limited' | 'allowed_local' | 'limited_local' | 'closed'

/** How fast a bucket fills and how deep it is: as defined, or as overridden for one principal. */
export interface Rate {
  readonly limit: number
  readonly windowMs: number
  readonly burst: number
  readonly intervalUs: number
  /** Tokens that a node takes in advance; 0: none. */
  readonly portion: number
  /** The limit as an item of `RateLimit-Policy`. */
  readonly policy: string
}

/** What an override may change of a limit, for one principal. */
export interface LimitOverride {
  limit?: number
  windowMs?: number
  /** Default: the overriding `limit`. */
  burst?: number
}

/** Below so many tokens a second a global limit is kept exactly: a portion would be a large part of it. */
const EXACT_BELOW_PER_SECOND = 5
const DEFAULT_GLOBAL_SHARE = 0.1

/** A limit, ready to be asked. */
export class CompiledLimit {
  /** `principal-60s`, or `add:principal-60s` for a limit of the tool `add`. */
  readonly name: string
  readonly tool: string | undefined
  readonly definition: RequestLimit
  readonly rate: Rate
  /** Tokens of a call, where they do not depend on its arguments. */
  readonly fixedCost: number
  readonly costOf: ((args: never) => number) | undefined
  /** Decisions of this node since its start. */
  readonly counts: Record<LimitOutcome, number> = {
    allowed: 0,
    limited: 0,
    allowed_local: 0,
    limited_local: 0,
    closed: 0,
  }
  readonly #isCost: boolean

  constructor(definition: ToolLimit, tool: string | undefined) {
    const { cost } = definition
    this.name = tool === undefined ? limitName(definition) : `${tool}:${limitName(definition)}`
    this.tool = tool
    this.definition = definition
    this.fixedCost = typeof cost === 'number' ? cost : 1
    this.costOf = typeof cost === 'function' ? cost : undefined
    this.#isCost = cost !== undefined
    this.rate = this.#toRate(definition)
  }

  /**
   * The rate that an override makes of this limit.
   * @throws {TypeError} for numbers that a limit can't have.
   */
  overriddenBy({ limit = this.rate.limit, windowMs = this.rate.windowMs, burst = limit }: LimitOverride): Rate {
    for (const [field, value] of Object.entries({ limit, windowMs, burst }))
      if (!Number.isSafeInteger(value) || value < 1)
        throw new TypeError(`The override of the limit "${this.name}" has \`${field}\` ${String(value)}.`)
    return this.#toRate({ ...this.definition, limit, windowMs, burst })
  }

  #toRate({ per, limit, windowMs, burst = limit, leaseShare, unit }: RequestLimit): Rate {
    const perSecond = (limit * 1000) / windowMs
    // A round trip is nothing beside a call of a model.
    const isLeased = per === 'global' && unit !== 'llm-tokens' && perSecond >= EXACT_BELOW_PER_SECOND
    const share = leaseShare ?? (isLeased ? DEFAULT_GLOBAL_SHARE : 0)
    const window = windowMs % 1000 === 0 ? `;w=${windowMs / 1000}` : ''
    return {
      limit,
      windowMs,
      burst,
      intervalUs: wholeMicroseconds((windowMs * 1000) / limit),
      portion: Math.floor(Math.min(perSecond, share * burst)),
      // The draft's units are requests, bytes and concurrent requests: of other ones it is only said that they are others.
      policy: `"${this.name}";q=${limit}${window}${this.#isCost ? ';holdfast-cost' : ''}`,
    }
  }
}

/**
 * Whole microseconds lose nothing to rounding beside the epoch, so that a full bucket gives its last token too. Rounded up:
 * a limit is never passed, and missed by a hundredth at most; shorter intervals stay as they are.
 */
function wholeMicroseconds(intervalUs: number): number {
  return intervalUs < 100 ? intervalUs : Math.ceil(intervalUs)
}

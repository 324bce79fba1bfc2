import { checkFields, invalid, quote } from './names.ts'

/**
 * A limit on requests: a bucket of tokens that fills evenly (generic cell rate algorithm). `limit` tokens come back in
 * `windowMs`; `burst` of them can be taken at once.
 */
export interface RequestLimit {
  /** Who has a bucket of their own: each caller, each tenant (a caller without one is its own tenant), or nobody: all share one. */
  per: 'principal' | 'tenant' | 'global'
  /** Tokens that come back in `windowMs`: requests, or what `cost` or `unit` says. */
  limit: number
  windowMs: number
  /** Tokens of a full bucket: the most that can be taken at once. Default: `limit`. */
  burst?: number
  /**
   * What to do while the shared state does not answer. `local`: each node keeps its share of the limit by itself. `closed`:
   * requests are refused with `limits_unavailable` (503), for limits that guard money. Default `local`.
   */
  onStateLost?: 'local' | 'closed'
  /**
   * Share of `burst` that a node may take from the shared state in advance, for a second at most: most requests then need no
   * round trip, and the limit may be passed by `nodes × leaseShare × burst`. Never more than a second's worth. 0: every
   * request asks. Default: 0.1 for `global`, else 0; 0 for `llm-tokens`.
   */
  leaseShare?: number
  /**
   * What is limited. `llm-tokens`: tokens of language and embedding models, as the middlewares of `holdfast/ai-sdk` take them
   * when a model is called: an estimate before, the difference after. An answer from the cache takes none. Default `requests`.
   */
  unit?: 'requests' | 'llm-tokens'
}

/** A limit on the calls of one tool. */
export interface ToolLimit<Args = never> extends RequestLimit {
  /**
   * Tokens that a call takes: a fixed number, or what its (checked) arguments say, a whole number of 0 or more (fractions
   * are rounded up). Not together with `unit`, whose tokens are counted. Default: 1.
   */
  cost?: number | ((args: Args) => number)
}

const FIELDS = ['per', 'limit', 'windowMs', 'burst', 'onStateLost', 'leaseShare', 'unit']
/** Buckets are kept by the microsecond. */
const MOST_PER_MS = 1000

/**
 * Checks the limits of a tool or a server.
 * @param hasCost whether `cost` is allowed.
 * @throws {HoldfastError} `invalid_definition`
 */
export function checkLimits(where: string, limits: unknown, hasCost: boolean): void {
  if (limits === undefined) return
  if (!Array.isArray(limits)) invalid(where, '`limits` is not an array.', 'Write limits: [{ per, limit, windowMs }].')
  const names = new Set<string>()
  limits.forEach((limit: unknown, index) => {
    const at = `${where}, limits[${index}]`
    if (typeof limit !== 'object' || limit === null)
      invalid(at, `it is ${quote(limit)}.`, 'Write { per, limit, windowMs }.')
    checkLimit(at, limit as ToolLimit, hasCost)
    const name = limitName(limit as ToolLimit)
    if (names.has(name))
      invalid(at, `there are two limits "${name}".`, 'Two of one kind and window: keep the lower one.')
    names.add(name)
  })
}

function checkLimit(at: string, limit: ToolLimit, hasCost: boolean): void {
  checkFields(at, limit, hasCost ? [...FIELDS, 'cost'] : FIELDS)
  const { per, windowMs, burst = limit.limit, onStateLost = 'local', leaseShare = 0, cost = 1 } = limit
  if (!['principal', 'tenant', 'global'].includes(per))
    invalid(at, `\`per\` is ${quote(per)}.`, 'It is "principal", "tenant" or "global".')
  for (const [field, value] of Object.entries({ limit: limit.limit, windowMs, burst }))
    if (!Number.isSafeInteger(value) || value < 1)
      invalid(at, `\`${field}\` is ${quote(value)}.`, 'It must be a whole number, 1 or more.')
  if (limit.limit > windowMs * MOST_PER_MS)
    invalid(at, `${limit.limit} in ${windowMs} ms is more than one a microsecond.`, 'Lower it, or leave it out.')
  if (onStateLost !== 'local' && onStateLost !== 'closed')
    invalid(at, `\`onStateLost\` is ${quote(onStateLost)}.`, 'It is "local" or "closed".')
  if (typeof leaseShare !== 'number' || !(leaseShare >= 0 && leaseShare <= 1))
    invalid(at, `\`leaseShare\` is ${quote(leaseShare)}.`, 'It must be a number from 0 to 1.')
  if (limit.unit !== undefined && limit.unit !== 'requests' && limit.unit !== 'llm-tokens')
    invalid(at, `\`unit\` is ${quote(limit.unit)}.`, 'It is "requests" or "llm-tokens".')
  if (limit.unit === 'llm-tokens' && limit.cost !== undefined)
    invalid(
      at,
      'it has `unit: "llm-tokens"` and a `cost`.',
      'Take `cost` away: the tokens that models use are counted.',
    )
  if (typeof cost === 'function') return
  if (!Number.isSafeInteger(cost) || cost < 1)
    invalid(at, `\`cost\` is ${quote(cost)}.`, 'It must be a whole number, 1 or more, or a function of the arguments.')
  if (cost > burst)
    invalid(at, `a call costs ${cost}, and no more than ${burst} can be taken at once.`, `Raise \`burst\` to ${cost}.`)
}

/**
 * What a limit is called in errors, headers and metrics: `principal-60s`, `global-500ms`, `tenant-3600s-cost`,
 * `principal-3600s-llm-tokens`.
 */
export function limitName({ per, windowMs, cost, unit }: ToolLimit): string {
  const window = windowMs % 1000 === 0 ? `${windowMs / 1000}s` : `${windowMs}ms`
  return `${per}-${window}${cost === undefined ? '' : '-cost'}${unit === 'llm-tokens' ? '-llm-tokens' : ''}`
}

import type { Call } from '../kernel/call.ts'
import type { ModelUse } from '../ports/telemetry.ts'
import { systemClock, type Clock } from '../ports/clock.ts'
import { costOf, type PriceTable } from './prices.ts'
import { inputOnly, type TokenCount } from './usage.ts'

/** A call of a model, as meters and limits see it. */
export interface Metered {
  readonly call: Call | undefined
  readonly operation: ModelUse['operation']
  readonly modelId: string
  readonly prices: PriceTable | undefined
}

/** What a call has come to. */
export interface Spent<T> {
  readonly value: T
  readonly tokens: TokenCount
  /** How long the model took. */
  readonly ms: number
}

const NOTHING = inputOnly(0)
export const clockOf = (call: Call | undefined): Clock => call?.services.clock ?? systemClock

/** Tells telemetry what was used, or saved. Outside a call there is nobody to tell. */
export function tell(
  { call, operation, modelId, prices }: Metered,
  outcome: ModelUse['outcome'],
  tokens: TokenCount,
  ms: number,
): void {
  const cost = costOf(prices, modelId, tokens)
  call?.services.telemetry.modelUsed({
    operation,
    model: modelId,
    outcome,
    inputTokens: tokens.input,
    outputTokens: tokens.output,
    cost: cost === undefined ? undefined : { amount: cost, currency: prices!.currency },
    seconds: ms / 1000,
  })
}

/**
 * Calls a model within the limits on its tokens: takes what it may use, before; gives back what it has not, after. Tells what was
 * used.
 * @param estimate the most that it will use
 * @param work `spend` is to be called with what it has used as soon as that is known, also where it fails then
 * @throws {HoldfastError} `rate_limited`, `limits_unavailable`, `cost_above_limit`; what `work` throws
 */
export async function metered<T>(
  metered: Metered,
  estimate: () => number,
  signal: AbortSignal | undefined,
  work: (spend: (tokens: TokenCount) => void) => Promise<T>,
): Promise<Spent<T>> {
  const { call } = metered
  const limits = call?.services.limits
  const tool = call?.operation.start.tool
  const taken = await limits?.takeModelTokens(call!.caller, tool, estimate)
  const clock = clockOf(call)
  const startedMs = clock.monotonic()
  let tokens = NOTHING
  let outcome: ModelUse['outcome'] = 'called'
  try {
    const value = await work((spent) => (tokens = spent))
    return { value, tokens, ms: clock.monotonic() - startedMs }
  } catch (error) {
    outcome = signal?.aborted === true ? 'cancelled' : 'failed'
    throw error
  } finally {
    tell(metered, outcome, tokens, clock.monotonic() - startedMs)
    await taken?.settle(tokens.input + tokens.output)
  }
}

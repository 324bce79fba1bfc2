import type { Exchange } from './exchange.ts'

/** Who is limited: what {@link Limits} looks at of an exchange, or of the caller of a task. */
export type Limited = Pick<Exchange, 'principal' | 'address' | 'connection'>

/** Tokens that were taken for a call of a model, before anybody knew how many it uses. */
export interface TakenTokens {
  /** Gives back what was not used, or takes what was used beyond the estimate, as far as there is any. Called once; never rejects. */
  settle(usedTokens: number): Promise<void>
}

/** What the kernel asks before it serves: nothing is returned where the answer is there at once, which is the usual case. */
export interface Limits {
  /**
   * Takes what one request costs.
   * @throws {HoldfastError} `rate_limited`, `limits_unavailable`
   */
  chargeRequest(exchange: Exchange): undefined | Promise<void>
  /**
   * Takes what a call of a tool costs, beside the request that it came in.
   * @param args as the tool's schema made them.
   * @throws {HoldfastError} `rate_limited`, `limits_unavailable`, `cost_above_limit`
   */
  chargeCall(exchange: Exchange, tool: string, args: unknown): undefined | Promise<void>
  /**
   * Takes tokens of models from the limits that count them (`unit: 'llm-tokens'`), for a model that a tool is about to call.
   * `undefined`: no such limit holds here.
   * @param estimate the most tokens that it will use; asked where there are such limits.
   * @throws {HoldfastError} `rate_limited`, `limits_unavailable`, `cost_above_limit`
   */
  takeModelTokens(caller: Limited, tool: string | undefined, estimate: () => number): undefined | Promise<TakenTokens>
}

import type { Exchange } from './exchange.ts'

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
}

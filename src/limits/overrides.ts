import type { Principal } from '../define/context.ts'
import type { LimitOverride } from './compiled-limit.ts'

/** What {@link OverrideLimits} is told of a limit. */
export interface LimitFacts {
  /** `principal-60s`, or `add:principal-60s` for a limit of the tool `add`. */
  readonly name: string
  readonly tool: string | undefined
  readonly per: 'principal' | 'tenant'
  readonly limit: number
  readonly windowMs: number
  readonly burst: number
}

/**
 * Says which limit a principal has in place of the defined one; `undefined` leaves it as it is. Asked again for each
 * principal after ten seconds. Global limits are nobody's, and are not asked for.
 */
export type OverrideLimits = (
  principal: Principal,
  limit: LimitFacts,
) => LimitOverride | 'unlimited' | undefined | Promise<LimitOverride | 'unlimited' | undefined>

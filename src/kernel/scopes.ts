import { ANONYMOUS, type Principal } from '../define/context.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Invocation } from './invocation.ts'

/** Makes the challenge of an answer that says what a caller lacks. */
export interface Challenges {
  header(error?: 'insufficient_scope', description?: string, scopes?: readonly string[]): Record<string, string>
}

/** Whether a caller has every scope that a definition needs. Broader scopes are expanded in the principal already. */
export function mayUse({ scopes: held }: Principal, { scopes }: { readonly scopes?: readonly string[] }): boolean {
  return scopes === undefined || scopes.every((scope) => held.includes(scope))
}

/**
 * Refuses a caller who lacks a scope, with all that the operation needs in one challenge.
 * @param what names the target: `The tool "report"`.
 * @throws {HoldfastError} `insufficient_scope`; `unauthenticated` where the caller could say who it is, and has not.
 */
export function requireScopes(
  { principal, services: { challenges } }: Pick<Invocation, 'principal' | 'services'>,
  definition: { readonly scopes?: readonly string[] },
  what: string,
): void {
  if (mayUse(principal, definition)) return
  const scopes = definition.scopes!
  const message = `${what} needs the ${scopes.length === 1 ? 'scope' : 'scopes'} ${scopes.join(' ')}.`
  const data = { requiredScopes: scopes }
  if (principal === ANONYMOUS && challenges !== undefined)
    throw new HoldfastError('unauthenticated', `${message} Send a credential that has them.`, {
      data,
      headers: challenges.header(undefined, undefined, scopes),
    })
  throw new HoldfastError('insufficient_scope', message, {
    data,
    ...(challenges === undefined ? {} : { headers: challenges.header('insufficient_scope', message, scopes) }),
  })
}

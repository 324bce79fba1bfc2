import { invalid, quote } from './names.ts'

/** A scope (RFC 6749, 3.3): visible ASCII without quotation mark and backslash, so it may stand in a header as it is. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/

/** Whether a text is a scope. */
export const isScope = (value: unknown): value is string => typeof value === 'string' && SCOPE.test(value)

/**
 * Whether a server may ask for a scope. `offline_access` says that a client may come back without its user, which is between
 * the two of them and the authorization server (MCP 2026-07-28, authorization, "Refresh Tokens": SHOULD NOT be asked for).
 */
export const mayRequire = (value: unknown): value is string => isScope(value) && value !== 'offline_access'

/** The scopes that a definition needs. @throws {HoldfastError} `invalid_definition` */
export function checkScopes(where: string, scopes: unknown): void {
  if (scopes === undefined) return
  if (!Array.isArray(scopes) || scopes.length === 0)
    invalid(where, `\`scopes\` is ${quote(scopes)}.`, 'Give an array of at least one scope, or leave it out.')
  for (const scope of scopes as unknown[])
    if (!mayRequire(scope))
      invalid(
        where,
        `\`scopes\` holds ${quote(scope)}.`,
        'A scope is visible ASCII without quotation marks and backslashes; offline_access is not a server’s to ask for.',
      )
}

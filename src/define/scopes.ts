import { invalid, quote } from './names.ts'

/** A scope (RFC 6749, 3.3): visible ASCII without quotation mark and backslash, so it may stand in a header as it is. */
export const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/

/** The scopes that a definition needs. @throws {HoldfastError} `invalid_definition` */
export function checkScopes(where: string, scopes: unknown): void {
  if (scopes === undefined) return
  if (!Array.isArray(scopes) || scopes.length === 0)
    invalid(where, `\`scopes\` is ${quote(scopes)}.`, 'Give an array of at least one scope, or leave it out.')
  for (const scope of scopes as unknown[])
    if (typeof scope !== 'string' || !SCOPE.test(scope))
      invalid(
        where,
        `\`scopes\` holds ${quote(scope)}.`,
        'A scope is visible ASCII without quotation marks and backslashes.',
      )
}

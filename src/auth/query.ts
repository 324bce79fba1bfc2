import { HoldfastError } from '../errors/holdfast-error.ts'

/**
 * Tokens in the query would stand in the logs of every proxy (MCP 2026-07-28, authorization: MUST NOT).
 * @throws {HoldfastError} `malformed_credentials`
 */
export function refuseTokenInQuery(target: string): void {
  const at = target.indexOf('?')
  if (at !== -1 && new URLSearchParams(target.slice(at)).has('access_token'))
    throw new HoldfastError(
      'malformed_credentials',
      'A token in the query is not accepted; send it as `Authorization: Bearer …`.',
    )
}

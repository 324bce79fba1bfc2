import { errors, jwtVerify, type CryptoKey, type JWTPayload, type JWTVerifyOptions } from 'jose'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import type { KeySet } from './key-set.ts'

/** Types of access tokens: that of RFC 9068, and the one that issuers wrote before it. Tokens for other uses have others. */
const TYPES = new Set(['at+jwt', 'application/at+jwt', 'jwt'])

/** What a token must say of itself. */
export interface TokenRules {
  readonly issuer: string
  readonly audience: readonly string[]
  readonly algorithms: readonly string[]
  readonly clockToleranceMs: number
}

/** Whether a token has the form of a signed JWT. */
export const isJwt = (token: string): boolean => token.startsWith('eyJ') && token.split('.').length === 3

/**
 * Checks signature, issuer, audience, times and type of a token (RFC 9068, 4); returns its claims.
 * @throws {HoldfastError} `unauthenticated` with a reason that may be told, `auth_unavailable`.
 */
export async function verifyJwt(token: string, rules: TokenRules, keys: KeySet, clock: Clock): Promise<JWTPayload> {
  const options: JWTVerifyOptions = {
    issuer: rules.issuer,
    audience: [...rules.audience],
    algorithms: [...rules.algorithms],
    clockTolerance: rules.clockToleranceMs / 1000,
    currentDate: new Date(clock.now()),
    requiredClaims: ['exp'],
  }
  try {
    const { payload, protectedHeader } = await verify(token, keys, options)
    const { typ } = protectedHeader
    if (typ !== undefined && !TYPES.has(String(typ).toLowerCase()))
      throw new HoldfastError('unauthenticated', 'The token is of another type than an access token.')
    if (payload.cnf !== undefined)
      throw new HoldfastError(
        'unauthenticated',
        'The token is bound to a key of its sender, which is not checked here.',
      )
    return payload
  } catch (error) {
    throw error instanceof errors.JOSEError ? new HoldfastError('unauthenticated', reasonOf(error)) : error
  }
}

async function verify(
  token: string,
  keys: KeySet,
  options: JWTVerifyOptions,
): Promise<{ payload: JWTPayload; protectedHeader: { typ?: string } }> {
  try {
    return await jwtVerify(token, (header) => keys.find(header), options)
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    // A token without a key id, while keys rotate: one of several signed it.
    for await (const key of error as AsyncIterable<CryptoKey>) {
      try {
        return await jwtVerify(token, key, options)
      } catch (inner) {
        if (!(inner instanceof errors.JWSSignatureVerificationFailed)) throw inner
      }
    }
    throw new errors.JWSSignatureVerificationFailed()
  }
}

/** What may be told to whoever sent the token: nothing that it does not say itself. */
function reasonOf(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return 'The token has expired.'
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'iss') return 'The token is of another issuer.'
    if (error.claim === 'aud') return 'The token is for another audience.'
    if (error.claim === 'nbf') return 'The token is not valid yet.'
    return 'A claim of the token is missing or malformed.'
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return 'The token is signed by an algorithm that is not allowed.'
  if (error instanceof errors.JWKSNoMatchingKey) return 'The token is signed by a key that the issuer does not have.'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'The signature of the token is wrong.'
  return 'The token is malformed.'
}

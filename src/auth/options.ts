import type { Principal } from '../define/context.ts'
import { isScope, mayRequire } from '../define/scopes.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { ApiKeyEntry } from './api-keys.ts'
import { secureUrl } from './discovery.ts'
import type { IntrospectionOptions } from './introspection.ts'

/** Signatures that prove who signed: with a shared secret (HS…) whoever can check can also sign. */
const ASYMMETRIC_ALGORITHMS: readonly string[] = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
]
/** What an `authenticate` function of your own sees of a request. */
export interface AuthRequest {
  /** A header, by its lower-case name. */
  header(name: string): string | undefined
  /** Address of the client, as far as it is known. */
  readonly address: string | undefined
}

/** Who may call, and how that is found out. Several ways may stand side by side. */
export interface AuthOptions {
  /** Authorization server whose access tokens are accepted: its issuer identifier, exactly as it writes it (`HOLDFAST_AUTH_ISSUER`). */
  issuer?: string
  /** What `aud` of a token must hold one of (`HOLDFAST_AUTH_AUDIENCE`). Default: `publicUrl`. */
  audience?: string | readonly string[]
  /** Where the signing keys lie. Default: where the metadata of the issuer says. */
  jwksUrl?: string
  /** Signature algorithms that are accepted. Default: all asymmetric ones that jose has. */
  algorithms?: readonly string[]
  /** How far the clocks of the issuer and of this machine may be apart. Default 10,000. */
  clockToleranceMs?: number
  /** Accept opaque tokens, by asking the authorization server about them. */
  introspection?: IntrospectionOptions
  /** API keys, hashed: entries, or the path of a JSON file of them, which is read again when it changes (`HOLDFAST_API_KEYS`). */
  apiKeys?: string | readonly ApiKeyEntry[]
  /** A way of your own, asked first. `undefined` passes on to the others; what it throws lets nobody in. */
  authenticate?: (request: AuthRequest) => Principal | undefined | Promise<Principal | undefined>
  /** Scopes that every caller needs, whatever it calls. Default: none. */
  scopes?: readonly string[]
  /** Broader scopes, each with the narrower ones that it stands for: `{ admin: ['reports:write'] }`. Default: none. */
  impliedScopes?: Readonly<Record<string, readonly string[]>>
  /** Claim of a token that names the tenant. Default: there are no tenants; with it, tokens without the claim are refused. */
  tenantClaim?: string
}

/** All of them, for what checks and documents them. */
export const AUTH_FIELDS: readonly (keyof AuthOptions)[] = [
  'issuer',
  'audience',
  'jwksUrl',
  'algorithms',
  'clockToleranceMs',
  'introspection',
  'apiKeys',
  'authenticate',
  'scopes',
  'impliedScopes',
  'tenantClaim',
]

/** What stands where an option of {@link AuthOptions} is not given. */
export const AUTH_DEFAULTS = {
  algorithms: ASYMMETRIC_ALGORITHMS,
  clockToleranceMs: 10_000,
  scopes: [],
  impliedScopes: {},
} as const satisfies AuthOptions

/** {@link AuthOptions}, checked and filled in. */
export type ResolvedAuth = Omit<AuthOptions, 'audience' | keyof typeof AUTH_DEFAULTS> &
  Required<Pick<AuthOptions, keyof typeof AUTH_DEFAULTS>> & { readonly audience: readonly string[] }

/**
 * Checks the options against each other.
 * @param publicUrl URL of the endpoint in its canonical form.
 * @throws {HoldfastError} `unknown_option`, `invalid_option`
 */
export function resolveAuth(options: AuthOptions, publicUrl: string | undefined): ResolvedAuth {
  for (const name of Object.keys(options))
    if (!AUTH_FIELDS.includes(name as keyof AuthOptions))
      throw new HoldfastError(
        'unknown_option',
        `There is no option \`auth.${name}\`; there is ${AUTH_FIELDS.join(', ')}.`,
      )
  const { issuer, jwksUrl, introspection, apiKeys, authenticate } = options
  const { algorithms, clockToleranceMs, scopes, impliedScopes } = { ...AUTH_DEFAULTS, ...options }
  if (issuer === undefined && apiKeys === undefined && authenticate === undefined)
    refuse('`auth` names no way to authenticate', 'Give it `issuer`, `apiKeys` or `authenticate`.')
  if (issuer !== undefined && secureUrl(issuer) === undefined)
    refuse(`\`auth.issuer\` is ${JSON.stringify(issuer)}`, 'It must be an https URL (http on this machine).')
  if (issuer === undefined && (introspection ?? jwksUrl ?? options.audience) !== undefined)
    refuse('`auth.issuer` is missing', 'Tokens are accepted of one issuer: name it.')
  if (jwksUrl !== undefined && secureUrl(jwksUrl) === undefined)
    refuse(`\`auth.jwksUrl\` is ${JSON.stringify(jwksUrl)}`, 'It must be an https URL (http on this machine).')
  if (introspection !== undefined) checkIntrospection(introspection)
  if (issuer !== undefined && publicUrl === undefined)
    refuse(
      '`auth.issuer` is set, but `publicUrl` is not',
      'Tokens must be made for this server, and clients told so: set publicUrl (HOLDFAST_PUBLIC_URL) to the URL of the endpoint as clients write it.',
    )
  for (const [name, list] of [
    ['algorithms', algorithms],
    ['scopes', scopes],
    ...Object.entries(impliedScopes),
  ] as const)
    if (!Array.isArray(list)) refuse(`\`auth\` has \`${name}\`, which is no array`, 'Give an array of texts.')
  const bad = algorithms.find((name) => !ASYMMETRIC_ALGORITHMS.includes(name))
  if (bad !== undefined || algorithms.length === 0)
    refuse(`\`auth.algorithms\` holds ${JSON.stringify(bad)}`, `It may hold ${ASYMMETRIC_ALGORITHMS.join(', ')}.`)
  if (!Number.isSafeInteger(clockToleranceMs) || clockToleranceMs < 0)
    refuse(`\`auth.clockToleranceMs\` is ${JSON.stringify(clockToleranceMs)}`, 'Give milliseconds, 0 or more.')
  const badScope = scopes.find((scope) => !mayRequire(scope)) ?? Object.entries(impliedScopes).flat(2).find(isNoScope)
  if (badScope !== undefined)
    refuse(
      `${JSON.stringify(badScope)} is no scope that can be asked for`,
      'A scope is visible ASCII without quotation marks and backslashes; offline_access is not a server’s to ask for.',
    )
  if (authenticate !== undefined && typeof authenticate !== 'function')
    refuse('`auth.authenticate` is no function', 'Give a function that returns a principal, or undefined.')
  return {
    ...options,
    algorithms,
    clockToleranceMs,
    scopes,
    impliedScopes,
    audience: issuer === undefined ? [] : audienceOf(options.audience, publicUrl!),
  }
}

function audienceOf(given: AuthOptions['audience'], publicUrl: string): readonly string[] {
  if (given !== undefined) {
    const audience = typeof given === 'string' ? [given] : given
    if (audience.length === 0 || !audience.every((one) => typeof one === 'string' && one !== ''))
      refuse('`auth.audience` names nothing', 'Give what tokens for this server hold in `aud`.')
    return audience
  }
  // For a bare origin both forms are in use (MCP 2026-07-28, authorization, "Canonical Server URI").
  return new URL(publicUrl).pathname === '/' ? [publicUrl, `${publicUrl}/`] : [publicUrl]
}

const isNoScope = (value: unknown): boolean => !isScope(value)

function checkIntrospection({ clientId, clientSecret, url }: IntrospectionOptions): void {
  if (typeof clientId !== 'string' || clientId === '' || typeof clientSecret !== 'string' || clientSecret === '')
    refuse('`auth.introspection` lacks a client', 'Give `clientId` and `clientSecret`, with which this server asks.')
  if (url !== undefined && secureUrl(url) === undefined)
    refuse(`\`auth.introspection.url\` is ${JSON.stringify(url)}`, 'It must be an https URL (http on this machine).')
}

function refuse(what: string, remedy: string): never {
  throw new HoldfastError('invalid_option', `${what}. ${remedy}`)
}

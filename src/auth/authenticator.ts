import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { ANONYMOUS, type Principal } from '../define/context.ts'
import { HoldfastError, retrySoonMs } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import { ApiKeys, isApiKey } from './api-keys.ts'
import type { Challenger, ChallengeError } from './challenge.ts'
import { discover } from './discovery.ts'
import { FetchFailure, fetchJson } from './fetch-json.ts'
import { Introspector } from './introspection.ts'
import { isJwt, verifyJwt } from './jwt.ts'
import { KeySet } from './key-set.ts'
import type { ResolvedAuth } from './options.ts'
import { identityOf, PrincipalMaker } from './principal.ts'

/** How long a checked token is taken as checked: so long a key that the issuer took back still works. */
const REMEMBER_JWT_MS = 60_000
/** The same for an opaque token: so long one that was revoked still works. */
const REMEMBER_OPAQUE_MS = 15_000
const MAX_REMEMBERED = 10_000
/** Time for a function of the user's. */
const OWN_TIMEOUT_MS = 5000
/** Tokens that are being checked at once; more are told to try again. */
const MAX_PENDING = 2000
/** Longest credential. Tokens with many claims are 2 to 4 kB; headers are bounded to 16 KiB in all. */
const MAX_LENGTH = 8192
/** A bearer token (RFC 6750, 2.1). */
const BEARER = /^bearer +([\w.~+/-]+=*)$/i

/** What is looked at of a request. */
export interface Caller {
  readonly head: { header(name: string): string | undefined }
  readonly address: string | undefined
}

interface Remembered {
  readonly principal: Principal
  readonly untilMs: number
}

/** What the authenticator works with. */
export interface AuthParts {
  readonly clock: Clock
  readonly challenger: Challenger
  /** Whether who brings no credential is let in, as nobody in particular. */
  readonly allowAnonymous: boolean
  /** Told of what failed outside: the message is ours, the error may hold anything but credentials. */
  onFailure(message: string, error: unknown): void
}

/**
 * Says who calls, from the headers of a request.
 *
 * 1. A credential is checked or refused: one that is there and not good lets nobody in, not even anonymously.
 * 2. What can't be decided now (no keys, no answer) is refused as such: 503, try again.
 * 3. A checked token is remembered by its SHA-256, never by itself; then the answer is synchronous.
 * 4. Several requests with one new token check it once.
 */
export class Authenticator {
  readonly #auth: ResolvedAuth
  readonly #parts: AuthParts
  readonly #maker: PrincipalMaker
  readonly #apiKeys: ApiKeys | undefined
  readonly #keySet: KeySet | undefined
  readonly #introspector: Introspector | undefined
  readonly #remembered = new LRUCache<string, Remembered>({ max: MAX_REMEMBERED })
  readonly #pending = new Map<string, Promise<Principal>>()

  constructor(auth: ResolvedAuth, parts: AuthParts) {
    this.#auth = auth
    this.#parts = parts
    this.#maker = new PrincipalMaker(auth.impliedScopes)
    const { issuer, jwksUrl, introspection, apiKeys } = auth
    const told = (what: string) => (error: unknown) => parts.onFailure(what, error)
    if (apiKeys !== undefined)
      this.#apiKeys = new ApiKeys(
        apiKeys,
        this.#maker,
        parts.clock,
        told('The file of API keys could not be read again.'),
      )
    if (issuer === undefined) return
    this.#keySet = new KeySet(
      async (signal) => fetchJson(jwksUrl ?? (await jwksUrlOf(issuer, signal)), signal),
      parts.clock,
      told('The keys of the authorization server could not be fetched.'),
    )
    if (introspection !== undefined)
      this.#introspector = new Introspector(
        introspection,
        async (signal) => (await discover(issuer, signal)).introspectionUrl,
        parts.clock,
        told('The authorization server could not be asked about a token.'),
      )
  }

  /**
   * Who sends a request.
   * @throws {HoldfastError} (or rejects with) `unauthenticated`, `insufficient_scope`, `malformed_credentials`, `auth_unavailable`,
   * with the headers of the answer.
   * @param target path and query of the request, where it has one.
   */
  authenticate(caller: Caller, target = ''): Principal | Promise<Principal> {
    if (target.includes('?') && hasTokenInQuery(target))
      throw this.#challenged(malformed('A token in the query is not accepted; send it as `Authorization: Bearer …`.'))
    if (this.#auth.authenticate !== undefined) return this.#askOwn(caller)
    return this.#byHeaders(caller)
  }

  #byHeaders({ head }: Caller): Principal | Promise<Principal> {
    const authorization = head.header('authorization')
    const apiKey = head.header('x-api-key')
    try {
      if (authorization === undefined && apiKey === undefined) return this.#nobody()
      if (authorization !== undefined && apiKey !== undefined)
        throw malformed('Send one credential: Authorization, or X-API-Key.')
      if (apiKey !== undefined) return this.#byApiKey(apiKey)
      // One hash of the header, and no look inside it, for a token that was checked a moment ago.
      const digest = hash('sha256', authorization!, 'base64')
      const known = this.#remembered.get(digest)
      if (known !== undefined && known.untilMs > this.#parts.clock.now()) return known.principal
      return this.#byToken(authorization!, digest)
    } catch (error) {
      throw this.#challenged(error)
    }
  }

  async #askOwn(caller: Caller): Promise<Principal> {
    let identity: Principal | undefined
    try {
      const asked = this.#auth.authenticate!({
        header: (name) => caller.head.header(name.toLowerCase()),
        address: caller.address,
      })
      identity = isThenable(asked) ? await this.#inTime(asked) : asked
      if (identity !== undefined) return this.#admitted(this.#maker.make(checkIdentity(identity)))
    } catch (error) {
      if (error instanceof HoldfastError && error.code !== 'invalid_option') throw this.#challenged(error)
      this.#parts.onFailure('The function `auth.authenticate` failed.', error)
      throw new HoldfastError('auth_unavailable', 'Who is calling can not be found out now.', {
        data: { retryAfterMs: 2000 },
      })
    }
    return this.#byHeaders(caller)
  }

  /** A request must not wait for ever, whatever somebody's function waits for. */
  async #inTime<T>(asked: PromiseLike<T>): Promise<T> {
    const answered = new AbortController()
    const timeout = this.#parts.clock.sleep(OWN_TIMEOUT_MS, answered.signal).then(() => {
      throw new Error(`It did not answer within ${OWN_TIMEOUT_MS} ms.`)
    })
    try {
      return await Promise.race([asked, timeout])
    } finally {
      answered.abort()
    }
  }

  #nobody(): Principal {
    if (this.#parts.allowAnonymous) return ANONYMOUS
    throw this.#bare('Send a credential: `Authorization: Bearer …`.')
  }

  /** Whoever sent nothing that could be checked is told no error, only what to bring (RFC 6750, 3.1). */
  #bare(message: string): HoldfastError {
    return new HoldfastError('unauthenticated', message, { headers: this.#parts.challenger.header() })
  }

  #byApiKey(key: string): Principal {
    if (this.#apiKeys === undefined) throw new HoldfastError('unauthenticated', 'API keys are not accepted here.')
    if (key.length > MAX_LENGTH) throw tooLong()
    return this.#admitted(this.#apiKeys.authenticate(key))
  }

  #byToken(authorization: string, digest: string): Principal | Promise<Principal> {
    if (authorization.length > MAX_LENGTH) throw tooLong()
    const token = BEARER.exec(authorization)?.[1]
    if (token === undefined) {
      if (/^bearer\b/i.test(authorization)) throw malformed('`Authorization: Bearer` holds no token, or more than one.')
      throw this.#bare('Of the schemes of `Authorization`, Bearer is accepted here.')
    }
    if (this.#apiKeys !== undefined && isApiKey(token)) return this.#byApiKey(token)
    let pending = this.#pending.get(digest)
    if (pending === undefined) {
      if (this.#pending.size >= MAX_PENDING)
        throw new HoldfastError('auth_unavailable', 'Too many new tokens are being checked.', {
          data: { retryAfterMs: retrySoonMs() },
        })
      pending = this.#check(token, digest)
        .catch((error: unknown) => {
          throw this.#challenged(error)
        })
        .finally(() => this.#pending.delete(digest))
      this.#pending.set(digest, pending)
    }
    return pending
  }

  async #check(token: string, digest: string): Promise<Principal> {
    const { issuer, audience, tenantClaim } = this.#auth
    const { clock } = this.#parts
    if (issuer === undefined) throw new HoldfastError('unauthenticated', 'There is no such API key.')
    const isLocal = isJwt(token)
    if (!isLocal && this.#introspector === undefined)
      throw new HoldfastError('unauthenticated', 'The token is malformed.')
    const claims = isLocal
      ? await verifyJwt(token, { ...this.#auth, issuer }, this.#keySet!, clock)
      : await this.#introspector!.introspect(token, issuer, audience)
    const principal = this.#admitted(this.#maker.make(identityOf(claims, issuer, tenantClaim)))
    const expiresMs = typeof claims.exp === 'number' ? claims.exp * 1000 : Infinity
    const rememberMs = isLocal ? REMEMBER_JWT_MS : REMEMBER_OPAQUE_MS
    this.#remembered.set(digest, { principal, untilMs: Math.min(expiresMs, clock.now() + rememberMs) })
    return principal
  }

  #admitted(principal: Principal): Principal {
    const { scopes } = this.#auth
    if (!scopes.every((scope) => principal.scopes.includes(scope)))
      throw new HoldfastError('insufficient_scope', `Every call here needs the scopes ${scopes.join(' ')}.`)
    return principal
  }

  /** The same error with its challenge. */
  #challenged(error: unknown): unknown {
    if (!(error instanceof HoldfastError) || error.headers !== undefined) return error
    const challenge = CHALLENGES[error.code]
    if (challenge === undefined) return error
    const headers = this.#parts.challenger.header(challenge, error.message)
    return new HoldfastError(error.code, error.message, { data: { ...error.data }, headers })
  }
}

const CHALLENGES: Readonly<Record<string, ChallengeError>> = {
  unauthenticated: 'invalid_token',
  insufficient_scope: 'insufficient_scope',
  malformed_credentials: 'invalid_request',
}

const isThenable = <T>(value: T | PromiseLike<T>): value is PromiseLike<T> =>
  typeof value === 'object' && value !== null && 'then' in value

const malformed = (message: string): HoldfastError => new HoldfastError('malformed_credentials', message)
const tooLong = (): HoldfastError => malformed(`The credential is longer than ${MAX_LENGTH} characters.`)

/** Tokens in the query would stand in the logs of every proxy (MCP 2026-07-28, authorization: MUST NOT). */
const hasTokenInQuery = (target: string): boolean =>
  new URLSearchParams(target.slice(target.indexOf('?'))).has('access_token')

async function jwksUrlOf(issuer: string, signal: AbortSignal): Promise<string> {
  const { jwksUrl } = await discover(issuer, signal)
  if (jwksUrl === undefined) throw new FetchFailure(`The metadata of ${issuer} names no \`jwks_uri\`.`)
  return jwksUrl
}

/** What a function of the user's returned. @throws {HoldfastError} `invalid_option` */
function checkIdentity(identity: Principal): Principal {
  const { issuer, subject, tenant, scopes } = identity as Partial<Record<keyof Principal, unknown>>
  if (
    typeof issuer !== 'string' ||
    typeof subject !== 'string' ||
    (tenant !== undefined && typeof tenant !== 'string') ||
    !(Array.isArray(scopes) && scopes.every((scope) => typeof scope === 'string'))
  )
    throw new HoldfastError(
      'invalid_option',
      '`auth.authenticate` returned something other than { issuer, subject, tenant?, scopes }.',
    )
  return identity
}

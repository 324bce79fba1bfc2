import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Clock } from '../ports/clock.ts'
import { fetchDeadline, FetchFailure, fetchJson } from './fetch-json.ts'

/** How this server asks about opaque tokens. */
export interface IntrospectionOptions {
  /** Client by which this server is known to the authorization server. */
  clientId: string
  clientSecret: string
  /** Introspection endpoint. Default: the one that the issuer's metadata names. */
  url?: string
}

/** Questions to the authorization server at once, per process; more are told to try again: made-up tokens cost nothing to send. */
const MAX_IN_FLIGHT = 64

/** Asks the authorization server whether a token is good (RFC 7662). Whatever fails, nobody is let in by it. */
export class Introspector {
  readonly #options: IntrospectionOptions
  readonly #discoverUrl: (signal: AbortSignal) => Promise<string | undefined>
  readonly #onFailure: (error: unknown) => void
  readonly #clock: Clock
  #url: string | undefined
  #inFlight = 0

  constructor(
    options: IntrospectionOptions,
    discoverUrl: (signal: AbortSignal) => Promise<string | undefined>,
    clock: Clock,
    onFailure: (error: unknown) => void,
  ) {
    this.#options = options
    this.#url = options.url
    this.#discoverUrl = discoverUrl
    this.#clock = clock
    this.#onFailure = onFailure
  }

  /**
   * The claims of a token that is active, for this audience, and of this issuer.
   * @throws {HoldfastError} `unauthenticated`, `auth_unavailable`
   */
  async introspect(
    token: string,
    issuer: string,
    audience: readonly string[],
  ): Promise<Readonly<Record<string, unknown>>> {
    const claims = await this.#ask(token)
    if (claims.active !== true) throw new HoldfastError('unauthenticated', 'The token is not active.')
    if (claims.iss !== undefined && claims.iss !== issuer)
      throw new HoldfastError('unauthenticated', 'The token is of another issuer.')
    const audiences: unknown[] = Array.isArray(claims.aud) ? claims.aud : [claims.aud]
    if (!audiences.some((one) => typeof one === 'string' && audience.includes(one)))
      throw new HoldfastError('unauthenticated', 'The token is for another audience.')
    const nowSeconds = this.#clock.now() / 1000
    // The endpoint says `active`; these only matter where its clock and its answer disagree.
    if (typeof claims.exp === 'number' && claims.exp <= nowSeconds)
      throw new HoldfastError('unauthenticated', 'The token has expired.')
    return claims
  }

  async #ask(token: string): Promise<Readonly<Record<string, unknown>>> {
    if (this.#inFlight >= MAX_IN_FLIGHT)
      throw unavailable('More tokens are being asked about than the authorization server should be asked at once.')
    this.#inFlight++
    try {
      const signal = fetchDeadline()
      this.#url ??= await this.#discoverUrl(signal)
      if (this.#url === undefined) throw new FetchFailure('The metadata of the issuer names no introspection endpoint.')
      const { clientId, clientSecret } = this.#options
      return await fetchJson(this.#url, signal, {
        method: 'POST',
        headers: {
          authorization: `Basic ${Buffer.from(`${formEncode(clientId)}:${formEncode(clientSecret)}`).toString('base64')}`,
          'content-type': 'application/x-www-form-urlencoded',
        },
        body: new URLSearchParams({ token, token_type_hint: 'access_token' }).toString(),
      })
    } catch (error) {
      this.#onFailure(error)
      throw unavailable('The authorization server can not be asked about the token now.')
    } finally {
      this.#inFlight--
    }
  }
}

/** Client credentials are form-encoded before they are joined (RFC 6749, 2.3.1). */
const formEncode = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1)

const unavailable = (message: string): HoldfastError =>
  new HoldfastError('auth_unavailable', message, { data: { retryAfterMs: 2000 } })

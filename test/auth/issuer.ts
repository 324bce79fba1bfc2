import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK, type JWTPayload } from 'jose'

/** A key of the issuer. */
export interface IssuerKey {
  readonly kid: string
  readonly alg: string
  readonly privateKey: CryptoKey
  readonly publicKey: CryptoKey
  readonly jwk: JWK
}

/** How a token differs from a good one. */
export interface TokenChanges {
  /** Claims to set, or with `undefined` to leave out. */
  claims?: { [claim: string]: unknown; aud?: unknown }
  header?: Record<string, unknown>
  key?: IssuerKey
  /** When it is made, in seconds since the epoch. */
  nowSeconds?: number
}

/** How an endpoint answers. */
export type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void

/** Sends JSON. */
export const json =
  (value: unknown, status = 200): Answer =>
  (_request, response) =>
    void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))

export async function makeKey(kid: string, alg = 'ES256'): Promise<IssuerKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' }
  return { kid, alg, privateKey, publicKey, jwk }
}

/**
 * An issuer that does what it is told: publishes keys, signs whatever claims, breaks in every way. (What a real one does is
 * tested with `oidc-provider`.)
 */
export class Issuer {
  readonly #server = createServer((request, response) => this.#serve(request, response))
  keys: IssuerKey[] = []
  /** Requests by path. */
  readonly asked: Record<string, number> = {}
  /** Endpoints that answer otherwise than well. */
  readonly answers = new Map<string, Answer>()
  /** Path of the issuer identifier. */
  readonly path: string
  url = ''

  constructor(path = '') {
    this.path = path
  }

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${this.path}`
    this.keys = [await makeKey('first')]
    return this
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    if (this.#server.listening) await once(this.#server, 'close')
  }

  /** How often the keys were fetched. */
  get fetches(): number {
    return this.asked['/jwks'] ?? 0
  }

  /** An access token for an audience, good unless told otherwise. */
  token(audience: string, { claims = {}, header = {}, key = this.keys[0]!, nowSeconds }: TokenChanges = {}) {
    const now = nowSeconds ?? Math.floor(Date.now() / 1000)
    const all = { iss: this.url, aud: audience, sub: 'ada', iat: now, exp: now + 300, ...claims }
    const kept = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as JWTPayload
    return new SignJWT(kept)
      .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: 'at+jwt', ...header })
      .sign(key.privateKey, { crit: { unheard: true } })
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url!
    this.asked[path] = (this.asked[path] ?? 0) + 1
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => (this.answers.get(path) ?? this.#wellBehaved(path))(request, response, body))
  }

  #wellBehaved(path: string): Answer {
    const { origin } = new URL(this.url)
    if (path === `/.well-known/oauth-authorization-server${this.path}`)
      return json({
        issuer: this.url,
        jwks_uri: `${origin}/jwks`,
        introspection_endpoint: `${origin}/introspect`,
      })
    if (path === '/jwks') return json({ keys: this.keys.map(({ jwk }) => jwk) })
    return json({}, 404)
  }
}

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Provider, type Configuration, type ResourceServer } from 'oidc-provider'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { freePort } from './serving.ts'

/** A client that may ask for tokens in its own name. */
export const ROBOT = { clientId: 'robot', clientSecret: 'robot-secret-0123456789' }
/** A client on a desktop that is registered already. */
export const DESKTOP = { client_id: 'desktop' }
/** Where the desktop takes its user back. */
export const CALLBACK = 'http://127.0.0.1:4711/callback'
/** The MCP server, as a client that asks about tokens. */
export const RESOURCE_SERVER = { clientId: 'mcp-server', clientSecret: 'mcp-server-secret-0123456789' }

const SCOPES = 'mcp notes:read notes:write'

/** A certified authorization server (`oidc-provider`) whose only user, Ada, agrees to everything. */
export class AuthorizationServer {
  readonly #port: number
  readonly #format: 'jwt' | 'opaque'
  readonly #server = createServer((request, response) => this.#serve(request, response))
  #provider!: Provider
  readonly issuer: string

  private constructor(port: number, format: 'jwt' | 'opaque') {
    this.#port = port
    this.#format = format
    this.issuer = `http://127.0.0.1:${port}`
  }

  static async start(format: 'jwt' | 'opaque'): Promise<AuthorizationServer> {
    const server = new AuthorizationServer(await freePort(), format)
    await server.rotate()
    server.#server.listen(server.#port, '127.0.0.1')
    await once(server.#server, 'listening')
    return server
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  /** Begins anew with other keys, as after a rotation without overlap. */
  async rotate(): Promise<void> {
    const { privateKey } = await generateKeyPair('RS256', { extractable: true })
    const key: JWK = { ...(await exportJWK(privateKey)), alg: 'RS256', use: 'sig' }
    this.#provider = new Provider(this.issuer, configuration(this.#format, key))
  }

  /** A token for a client that calls in its own name (RFC 6749, 4.4). */
  async token(resource: string, scope: string): Promise<string> {
    const { access_token: token } = await this.#post('/token', ROBOT, {
      grant_type: 'client_credentials',
      resource,
      scope,
    })
    return token as string
  }

  async revoke(token: string): Promise<void> {
    await this.#post('/token/revocation', ROBOT, { token })
  }

  async #post(path: string, client: typeof ROBOT, form: Record<string, string>): Promise<Record<string, unknown>> {
    const response = await fetch(this.issuer + path, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`${client.clientId}:${client.clientSecret}`).toString('base64')}`,
      },
      body: new URLSearchParams(form),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text}`)
    return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const work = request.url!.startsWith('/interaction/')
      ? this.#agree(request, response)
      : this.#provider.callback()(request, response)
    work.catch((error: unknown) => response.writeHead(500).end(String(error)))
  }

  /** What the pages of a log-in and a consent would do once Ada has pressed the button. */
  async #agree(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { prompt, params, session, grantId } = await this.#provider.interactionDetails(request, response)
    if (prompt.name === 'login')
      return this.#provider.interactionFinished(request, response, { login: { accountId: 'ada' } })
    const grant =
      (grantId === undefined ? undefined : await this.#provider.Grant.find(grantId)) ??
      new this.#provider.Grant({ accountId: session!.accountId, clientId: params['client_id'] as string })
    const missing = prompt.details as { missingOIDCScope?: string[]; missingResourceScopes?: Record<string, string[]> }
    if (missing.missingOIDCScope !== undefined) grant.addOIDCScope(missing.missingOIDCScope.join(' '))
    for (const [resource, scopes] of Object.entries(missing.missingResourceScopes ?? {}))
      grant.addResourceScope(resource, scopes.join(' '))
    const consent = { grantId: await grant.save() }
    return this.#provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true })
  }
}

function configuration(format: 'jwt' | 'opaque', key: JWK): Configuration {
  const getResourceServerInfo = (_context: unknown, resource: string): ResourceServer => ({
    scope: SCOPES,
    audience: resource,
    accessTokenFormat: format,
    accessTokenTTL: 600,
    ...(format === 'jwt' ? { jwt: { sign: { alg: 'RS256' } } } : {}),
  })
  const machines = [ROBOT, RESOURCE_SERVER].map(({ clientId, clientSecret }) => ({
    client_id: clientId,
    client_secret: clientSecret,
    redirect_uris: [],
    response_types: [],
    grant_types: ['client_credentials'],
  }))
  const desktop = {
    ...DESKTOP,
    redirect_uris: [CALLBACK],
    token_endpoint_auth_method: 'none',
    application_type: 'native',
  }
  return {
    clients: [desktop, ...machines] as NonNullable<Configuration['clients']>,
    cookies: { keys: ['a key of a test'] },
    jwks: { keys: [key as never] },
    scopes: SCOPES.split(' '),
    interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
    findAccount: (_context, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: {
        enabled: true,
        allowedPolicy: (_context, client) => client.clientId === RESOURCE_SERVER.clientId,
      },
      revocation: { enabled: true },
      registration: { enabled: true },
      resourceIndicators: { enabled: true, getResourceServerInfo, useGrantedResource: () => true },
    },
  }
}

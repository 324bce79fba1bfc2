import {
  Client,
  ClientCredentialsProvider,
  StreamableHTTPClientTransport,
  UnauthorizedError,
  type OAuthClientProvider,
} from '@modelcontextprotocol/client'
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js'
import { UnauthorizedError as UnauthorizedError1 } from '@modelcontextprotocol/sdk/client/auth.js'
import { StreamableHTTPClientTransport as Transport1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineServer, defineTool, type Runtime, type RuntimeOptions } from '../../src/index.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { AuthorizationServer, CALLBACK, DESKTOP, RESOURCE_SERVER, ROBOT } from './authorization-server.ts'
import { browse } from './browser.ts'
import { bearer, call, principalOf, serve, whoami } from './serving.ts'

const server = defineServer({
  name: 'notes',
  version: '1.0.0',
  tools: [
    whoami,
    defineTool({ name: 'read', description: 'Reads', scopes: ['notes:read'], run: () => 'a note' }),
    defineTool({ name: 'write', description: 'Writes', scopes: ['notes:write'], run: () => 'written' }),
  ],
})

/** What a client on a desktop keeps; its browser is {@link browse}. */
class Desktop implements OAuthClientProvider {
  readonly redirectUrl = CALLBACK
  readonly clientMetadata = {
    client_name: 'desktop',
    redirect_uris: [CALLBACK],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
    application_type: 'native',
  }
  /** Where the user was sent. */
  readonly visits: URL[] = []
  #client: any
  #discovery: any
  #tokens: any
  #verifier = ''
  /** @param client one that is registered already; without, it registers itself. */
  constructor(client?: { client_id: string }) {
    this.#client = client
  }
  clientInformation = () => this.#client
  saveClientInformation = (client: unknown) => void (this.#client = client)
  tokens = () => this.#tokens
  saveTokens = (tokens: unknown) => void (this.#tokens = tokens)
  redirectToAuthorization = (url: URL) => void this.visits.push(url)
  saveDiscoveryState = (state: unknown) => void (this.#discovery = state)
  discoveryState = () => this.#discovery
  saveCodeVerifier = (verifier: string) => void (this.#verifier = verifier)
  codeVerifier = () => this.#verifier
  /** The user comes back from the page that they were sent to last. */
  return(): Promise<URL> {
    return browse(this.visits.at(-1)!, CALLBACK)
  }
}

const scopesOf = (url: URL): string[] => (url.searchParams.get('scope') ?? '').split(' ').toSorted()

describe.each(['jwt', 'opaque'] as const)('with a real authorization server that gives out %s tokens', (format) => {
  let authorization: AuthorizationServer
  let runtime: Runtime
  let url: string
  let clock: FakeClock
  beforeAll(async () => {
    authorization = await AuthorizationServer.start(format)
    clock = new FakeClock(Date.now())
    const auth: RuntimeOptions['auth'] = {
      issuer: authorization.issuer,
      scopes: ['mcp'],
      ...(format === 'opaque' ? { introspection: RESOURCE_SERVER } : {}),
    }
    ;({ runtime, url } = await serve(() => ({ auth, clock }), server))
  })
  afterAll(async () => {
    await runtime.close()
    await authorization.stop()
  })

  test.each(['auto', 'legacy'] as const)(
    'the official client (2.x, %s) finds its way from the challenge to a token by PKCE, and to more scopes when it needs them',
    async (mode) => {
      const desktop = new Desktop({ ...DESKTOP, issuer: authorization.issuer } as typeof DESKTOP)
      const connect = async (): Promise<Client> => {
        const client = new Client({ name: 'desktop', version: '1.0.0' }, { versionNegotiation: { mode } })
        await client.connect(transport)
        return client
      }
      let transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: desktop })
      await expect(connect()).rejects.toThrow(UnauthorizedError)
      // It asks for what the challenge named, and not for every scope that there is.
      expect(desktop.visits).toHaveLength(1)
      expect(scopesOf(desktop.visits[0]!)).toEqual(['mcp'])
      expect(desktop.visits[0]!.searchParams.get('resource')).toBe(url)
      expect(desktop.visits[0]!.searchParams.get('code_challenge_method')).toBe('S256')
      await transport.finishAuth((await desktop.return()).searchParams)
      transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: desktop })
      const client = await connect()
      expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['whoami'])
      const { content } = await client.callTool({ name: 'whoami', arguments: {} })
      expect(JSON.parse((content[0] as { text: string }).text)).toEqual({
        issuer: authorization.issuer,
        subject: 'ada',
        scopes: ['mcp'],
      })
      // Step-up: 403, the union of scopes, the same call again.
      await expect(client.callTool({ name: 'read', arguments: {} })).rejects.toThrow(UnauthorizedError)
      expect(desktop.visits).toHaveLength(2)
      expect(scopesOf(desktop.visits[1]!)).toEqual(['mcp', 'notes:read'])
      await transport.finishAuth((await desktop.return()).searchParams)
      const result = await client.callTool({ name: 'read', arguments: {} })
      expect(result.content).toEqual([{ type: 'text', text: 'a note' }])
      // (A list would come from the client's cache, which it may keep for a minute.)
      await client.close()
    },
  )

  test('the official client 1.x finds its way, too', async () => {
    const desktop = new Desktop()
    const client = new Client1({ name: 'desktop', version: '1.0.0' })
    let transport = new Transport1(new URL(url), { authProvider: desktop as never })
    await expect(client.connect(transport as never)).rejects.toThrow(UnauthorizedError1)
    await transport.finishAuth((await desktop.return()).searchParams.get('code')!)
    transport = new Transport1(new URL(url), { authProvider: desktop as never })
    await client.connect(transport as never)
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['whoami'])
    await client.close()
  })

  test('a client without a user gets its token by itself', async () => {
    const authProvider = new ClientCredentialsProvider({
      ...ROBOT,
      scope: 'mcp notes:write',
      expectedIssuer: authorization.issuer,
    })
    const client = new Client({ name: 'robot', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } })
    await client.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider }))
    expect(client.getProtocolEra()).toBe('modern')
    const result = await client.callTool({ name: 'write', arguments: {} })
    expect(result.content).toEqual([{ type: 'text', text: 'written' }])
    await client.close()
  })

  test('a token that was made for another server is refused', async () => {
    const other = await authorization.token('https://other.example/mcp', 'mcp')
    const reply = await call(url, bearer(other))
    expect([reply.status, reply.challenge]).toEqual([401, expect.stringContaining('for another audience')])
  })

  test('a token lacks the scope that every call needs', async () => {
    const reply = await call(url, bearer(await authorization.token(url, 'notes:read')))
    expect([reply.status, reply.challenge]).toEqual([403, expect.stringContaining('scope="mcp"')])
  })

  test('a caller without a user is its client', async () => {
    const reply = await call(url, bearer(await authorization.token(url, 'mcp')))
    expect(principalOf(reply)).toMatchObject({ subject: expect.stringContaining('robot') as unknown, scopes: ['mcp'] })
  })

  if (format === 'opaque')
    test('a token that is revoked is refused some seconds later', async () => {
      const token = await authorization.token(url, 'mcp')
      expect((await call(url, bearer(token))).status).toBe(200)
      await authorization.revoke(token)
      await clock.advance(15_000)
      expect((await call(url, bearer(token))).status).toBe(401)
    })
  else
    test('a rotation of keys is followed: new tokens are accepted, old ones are not for long', async () => {
      const old = await authorization.token(url, 'mcp')
      expect((await call(url, bearer(old))).status).toBe(200)
      await authorization.rotate()
      await clock.advance(10_000)
      expect((await call(url, bearer(await authorization.token(url, 'mcp')))).status).toBe(200)
      await clock.advance(60_000)
      expect((await call(url, bearer(old))).status).toBe(401)
    })
})

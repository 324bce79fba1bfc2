import express from 'express'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { resolveOptions } from '../../src/compose/options.ts'
import { createRuntime, defineServer, defineTool, type RuntimeOptions } from '../../src/index.ts'
import { serve } from './serving.ts'

const ISSUER = 'https://login.example.com/realms/acme'
const server = defineServer({
  name: 'notes',
  version: '1.0.0',
  tools: [
    defineTool({ name: 'read', description: 'Reads', scopes: ['notes:read'], run: () => '' }),
    defineTool({ name: 'write', description: 'Writes', scopes: ['notes:read', 'notes:write'], run: () => '' }),
  ],
})

/** What every server with an issuer needs. */
const AT = { publicUrl: 'https://mcp.example.com/mcp' }

const get = async (url: string, init: RequestInit = {}): Promise<{ status: number; headers: Headers; body: any }> => {
  const response = await fetch(url, init)
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.includes('json') === true && text !== ''
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text }
}

describe('the protected-resource metadata', () => {
  test('names the resource, where its tokens come from, and the scopes that its tools need', async () => {
    const { runtime, url } = await serve(() => ({ auth: { issuer: ISSUER, scopes: ['mcp'] } }), server)
    const origin = new URL(url).origin
    for (const path of ['/.well-known/oauth-protected-resource', '/.well-known/oauth-protected-resource/mcp']) {
      const { status, headers, body } = await get(origin + path, { headers: { origin: 'https://some.page' } })
      expect(status).toBe(200)
      expect(headers.get('content-type')).toBe('application/json')
      expect(headers.get('access-control-allow-origin')).toBe('*')
      expect(body).toEqual({
        resource: url,
        authorization_servers: [ISSUER],
        scopes_supported: ['mcp', 'notes:read', 'notes:write'],
        bearer_methods_supported: ['header'],
        resource_name: 'notes',
      })
    }
    expect((await get(`${origin}/.well-known/oauth-protected-resource/other`)).status).toBe(404)
    await runtime.close()
  })

  test('may be asked for by pages, whatever they send along, and is only read', async () => {
    const { runtime, url } = await serve(() => ({ auth: { issuer: ISSUER } }), server)
    const at = `${new URL(url).origin}/.well-known/oauth-protected-resource`
    const preflight = await get(at, {
      method: 'OPTIONS',
      headers: { origin: 'https://some.page', 'access-control-request-headers': 'mcp-protocol-version' },
    })
    expect([preflight.status, preflight.headers.get('access-control-allow-headers')]).toEqual([
      204,
      expect.stringContaining('mcp-protocol-version'),
    ])
    const head = await get(at, { method: 'HEAD' })
    expect([head.status, head.body]).toEqual([200, ''])
    const post = await get(at, { method: 'POST', body: 'x' })
    expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD, OPTIONS'])
    await runtime.close()
  })

  test.each([
    ['https://mcp.example.com/mcp', '/.well-known/oauth-protected-resource/mcp'],
    ['https://mcp.example.com/team/a/mcp', '/.well-known/oauth-protected-resource/team/a/mcp'],
    ['https://mcp.example.com', '/.well-known/oauth-protected-resource'],
  ])('of %s lies at %s, also behind a proxy that changes the path', async (publicUrl, path) => {
    const runtime = await createRuntime(server, {
      dataDir: false,
      logLevel: 'silent',
      publicUrl,
      auth: { issuer: ISSUER },
    })
    const response = await runtime.fetch(new Request(`http://127.0.0.1:3000${path}`))
    expect(await response.json()).toMatchObject({ resource: publicUrl, authorization_servers: [ISSUER] })
    const refused = await runtime.fetch(new Request('http://127.0.0.1:3000/mcp', { method: 'POST' }))
    await refused.text()
    expect(refused.headers.get('www-authenticate')).toContain(`resource_metadata="https://mcp.example.com${path}"`)
    await runtime.close()
  })

  test('is not there without an authorization server to name, and no challenge points to it', async () => {
    const { runtime, url } = await serve(() => ({ auth: { authenticate: () => undefined } }))
    expect((await get(`${new URL(url).origin}/.well-known/oauth-protected-resource`)).status).toBe(404)
    const refused = await get(url, { method: 'POST' })
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
    await runtime.close()
  })

  test('is served by the handler in Express, below the route that it is mounted on', async () => {
    const options: RuntimeOptions = { dataDir: false, logLevel: 'silent', auth: { issuer: ISSUER } }
    const app = express()
    const http: Server = createServer(app).listen(0, '127.0.0.1')
    await once(http, 'listening')
    const origin = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
    const runtime = await createRuntime(server, { ...options, publicUrl: `${origin}/mcp` })
    app.all('/mcp', runtime.nodeHandler)
    app.use('/.well-known/oauth-protected-resource', runtime.nodeHandler)
    for (const path of ['', '/mcp']) {
      const { status, body } = await get(`${origin}/.well-known/oauth-protected-resource${path}`)
      expect([status, body.resource]).toEqual([200, `${origin}/mcp`])
    }
    expect((await get(`${origin}/mcp`, { method: 'POST' })).status).toBe(401)
    await runtime.close()
    http.close()
    http.closeAllConnections()
  })
})

test.each([
  ['https://MCP.Example.com:443/mcp', 'https://mcp.example.com/mcp'],
  ['https://mcp.example.com/', 'https://mcp.example.com'],
  ['https://mcp.example.com:8443', 'https://mcp.example.com:8443'],
])('the public URL %s is told to clients as %s, and its host is allowed', async (publicUrl, resource) => {
  const runtime = await createRuntime(server, {
    dataDir: false,
    logLevel: 'silent',
    publicUrl,
    auth: { issuer: ISSUER },
  })
  const { origin } = new URL(resource)
  const response = await runtime.fetch(new Request(`${origin}/.well-known/oauth-protected-resource`))
  expect(await response.json()).toMatchObject({ resource })
  expect((await runtime.fetch(new Request(resource, { method: 'POST' }))).status).toBe(401)
  await runtime.close()
})

describe('options that can not work are refused at the start', () => {
  test.each<[string, RuntimeOptions, RegExp]>([
    ['no way to authenticate', { auth: {} }, /issuer.*apiKeys.*authenticate/],
    ['an issuer, but no URL that tokens could be for', { auth: { issuer: ISSUER, audience: 'x' } }, /publicUrl/],
    [
      'a scope that is no server’s to ask for',
      { ...AT, auth: { issuer: ISSUER, scopes: ['offline_access'] } },
      /offline_access/,
    ],
    [
      'implied scopes that are no array',
      { ...AT, auth: { issuer: ISSUER, impliedScopes: { a: 'b' } as never } },
      /array/,
    ],
    ['an issuer over plain http', { auth: { issuer: 'http://login.example.com' } }, /https/],
    ['keys over plain http', { auth: { issuer: ISSUER, jwksUrl: 'http://x.example/keys' } }, /jwksUrl/],
    [
      'introspection without a secret',
      { auth: { issuer: ISSUER, introspection: { clientId: 'a' } as never } },
      /clientSecret/,
    ],
    [
      'introspection without an issuer',
      { auth: { apiKeys: [], introspection: { clientId: 'a', clientSecret: 'b' } } },
      /issuer/,
    ],
    ['an algorithm whose secret is shared', { ...AT, auth: { issuer: ISSUER, algorithms: ['HS256'] } }, /HS256/],
    ['no algorithm', { ...AT, auth: { issuer: ISSUER, algorithms: [] } }, /algorithms/],
    ['an option that does not exist', { auth: { isuer: ISSUER } as never }, /isuer/],
    ['a scope that no header can hold', { ...AT, auth: { issuer: ISSUER, scopes: ['a"b'] } }, /scope/],
    ['an audience that names nothing', { ...AT, auth: { issuer: ISSUER, audience: [] } }, /audience/],
    ['a public URL with a query', { publicUrl: 'https://mcp.example.com/mcp?a=b' }, /publicUrl/],
    ['a public URL without a scheme', { publicUrl: 'mcp.example.com/mcp' }, /publicUrl/],
    ['a proxy that is no address', { trustedProxies: ['proxy.local'] }, /proxy\.local/],
    ['a range that is none', { trustedProxies: ['10.0.0.0/33'] }, /10\.0\.0\.0\/33/],
  ])('%s', async (_what, options, message) => {
    const made = createRuntime(server, { dataDir: false, logLevel: 'silent', ...options })
    await expect(made).rejects.toMatchObject({ name: 'HoldfastError', message })
  })
})

test('what the environment says goes before what stands in code, field by field', () => {
  const code: RuntimeOptions = { ...AT, auth: { issuer: 'https://other.example', tenantClaim: 'org' } }
  const env = { HOLDFAST_AUTH_ISSUER: ISSUER, HOLDFAST_AUTH_AUDIENCE: 'a, b', HOLDFAST_API_KEYS: '/keys.json' }
  expect(resolveOptions(code, env).auth).toMatchObject({
    issuer: ISSUER,
    tenantClaim: 'org',
    audience: ['a', 'b'],
    apiKeys: '/keys.json',
  })
  expect(resolveOptions({}, { HOLDFAST_AUTH_ISSUER: ISSUER, HOLDFAST_PUBLIC_URL: AT.publicUrl })).toMatchObject({
    publicUrl: AT.publicUrl,
    auth: { issuer: ISSUER, audience: [AT.publicUrl] },
  })
  expect(resolveOptions({}, {}).auth).toBeUndefined()
})

test('authentication lifts the bar on listening beyond this machine', async () => {
  const listen = async (options: RuntimeOptions): Promise<string> => {
    const runtime = await createRuntime(defineServer({ name: 'x', version: '1' }), {
      dataDir: false,
      logLevel: 'silent',
      ...options,
    })
    try {
      return (await runtime.listen({ host: '0.0.0.0', port: 0 })).host
    } finally {
      await runtime.close()
    }
  }
  await expect(listen({})).rejects.toMatchObject({ code: 'invalid_option', message: /allowAnonymous/ })
  expect(await listen({ ...AT, auth: { issuer: ISSUER } })).toBe('0.0.0.0')
  expect(await listen({ allowAnonymous: true })).toBe('0.0.0.0')
})

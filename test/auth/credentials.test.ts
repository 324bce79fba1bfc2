import { once } from 'node:events'
import { connect as connectSocket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey } from '../../src/auth/api-keys.ts'
import type { Runtime } from '../../src/index.ts'
import { Issuer } from './issuer.ts'
import { bearer, call, modernRequest, serve, toReply } from './serving.ts'

let issuer: Issuer
let runtime: Runtime
let url: string
let token: string
const { key, entry } = createApiKey({ subject: 'robot' })
beforeAll(async () => {
  issuer = await new Issuer().start()
  ;({ runtime, url } = await serve(() => ({
    auth: { issuer: issuer.url, apiKeys: [entry], scopes: ['mcp'] },
    maxHeaderBytes: 64 * 1024,
  })))
  token = await issuer.token(url, { claims: { scope: 'mcp' } })
})
afterAll(async () => {
  await runtime.close()
  await issuer.stop()
})
const metadata = (): string => `resource_metadata="${new URL(url).origin}/.well-known/oauth-protected-resource/mcp"`

/** A request with headers as they stand, repeated ones too: `fetch` would join and trim them. */
async function raw(
  headers: readonly string[],
  target = '/mcp',
): Promise<{ status: number; challenge: string | undefined }> {
  const { host, port, hostname } = new URL(url)
  const { body, headers: usual } = modernRequest('tools/call', { name: 'whoami', arguments: {} })
  const lines = [
    `POST ${target} HTTP/1.1`,
    `Host: ${host}`,
    ...Object.entries(usual as Record<string, string>).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${Buffer.byteLength(body as string)}`,
    'connection: close',
    ...headers,
  ]
  const socket = connectSocket(Number(port), hostname)
  socket.write(`${lines.join('\r\n')}\r\n\r\n${body as string}`, 'latin1')
  let answer = ''
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')))
  await once(socket, 'close')
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)![1]),
    challenge: /^www-authenticate: (.*)\r$/im.exec(answer)?.[1],
  }
}

describe('a request without a credential', () => {
  test('is told where to get one and with which scopes, and of no error', async () => {
    const reply = await call(url)
    expect([reply.status, reply.challenge]).toEqual([401, `Bearer scope="mcp", ${metadata()}`])
    expect(reply.message!.error).toMatchObject({ code: 40100, data: { code: 'unauthenticated' } })
  })

  test.each([
    ['GET', { method: 'GET', headers: { accept: 'text/event-stream', 'mcp-session-id': 'x' } }],
    ['DELETE', { method: 'DELETE', headers: { 'mcp-session-id': 'x' } }],
    ['PUT', { method: 'PUT', body: 'x' }],
    ['a notification', modernRequest('notifications/initialized')],
    ['server/discover', modernRequest('server/discover')],
    ['a body that is no JSON', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{' }],
    ['a body of the wrong type', { method: 'POST', body: 'x' }],
    ['an answer', modernRequest('result')],
  ] as [string, RequestInit][])('is refused before it is looked at: %s', async (_what, init) => {
    expect((await toReply(await fetch(url, init))).status).toBe(401)
  })

  test('is told the same over `fetch`', async () => {
    const reply = await toReply(await runtime.fetch(new Request(url, modernRequest('tools/list'))))
    expect([reply.status, reply.challenge]).toEqual([401, `Bearer scope="mcp", ${metadata()}`])
  })

  test('whose body is big gets its answer before the body is sent', async () => {
    const socket = connectSocket(Number(new URL(url).port), '127.0.0.1')
    socket.write(
      'POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 4000000\r\n\r\n{',
    )
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    expect(chunk.toString()).toMatch(/^HTTP\/1\.1 401 /)
    socket.destroy()
  })
})

test('a preflight carries no credential, and needs none', async () => {
  const headers = {
    origin: 'http://localhost:5173',
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization, x-api-key, content-type',
  }
  const response = await fetch(url, { method: 'OPTIONS', headers })
  expect(response.status).toBe(204)
  expect(response.headers.get('access-control-allow-headers')).toBe('authorization, x-api-key, content-type')
  const refused = await fetch(url, { ...modernRequest('tools/list', {}, { origin: 'http://localhost:5173' }) })
  await refused.text()
  expect(refused.headers.get('access-control-expose-headers')).toContain('WWW-Authenticate')
})

describe('of headers, these are let in', () => {
  test.each<[string, () => string[]]>([
    ['a token', () => [`Authorization: Bearer ${token}`]],
    ['a scheme in another case', () => [`authorization: bEARER ${token}`]],
    ['several spaces', () => [`Authorization:   Bearer   ${token}   `]],
    ['an API key as a bearer token', () => [`Authorization: Bearer ${key}`]],
    ['an API key in its own header', () => [`X-API-Key: ${key}`]],
  ])('%s', async (_what, headers) => {
    // The key lacks the scope that every caller needs; it is known all the same.
    expect((await raw(headers())).status).toBe(headers().some((line) => line.includes(key)) ? 403 : 200)
  })
})

describe('of headers, these are refused', () => {
  test.each<[string, () => string[], number, string | undefined]>([
    ['nothing after the scheme', () => ['Authorization: Bearer'], 400, 'invalid_request'],
    ['only spaces after it', () => ['Authorization: Bearer    '], 400, 'invalid_request'],
    ['an empty header', () => ['Authorization: '], 401, undefined],
    ['a comma', () => [`Authorization: Bearer ${token},`], 400, 'invalid_request'],
    ['two tokens', () => [`Authorization: Bearer ${token} ${token}`], 400, 'invalid_request'],
    ['two headers', () => [`Authorization: Bearer ${token}`, `Authorization: Bearer ${token}`], 400, 'invalid_request'],
    [
      'a good one after a bad one',
      () => ['Authorization: Bearer x', `Authorization: Bearer ${token}`],
      400,
      'invalid_request',
    ],
    ['another scheme before it', () => ['Authorization: Basic YTpi', `Authorization: Bearer ${token}`], 401, undefined],
    ['a token and an API key', () => [`Authorization: Bearer ${token}`, `X-API-Key: ${key}`], 400, 'invalid_request'],
    ['two API keys', () => [`X-API-Key: ${key}`, `X-API-Key: ${key}`], 401, 'invalid_token'],
    ['an empty API key', () => ['X-API-Key: '], 401, 'invalid_token'],
    ['another scheme', () => ['Authorization: Basic YTpi'], 401, undefined],
    ['DPoP', () => [`Authorization: DPoP ${token}`], 401, undefined],
    ['a token without a scheme', () => [`Authorization: ${token}`], 401, undefined],
    ['parameters', () => [`Authorization: Bearer token="${token}"`], 400, 'invalid_request'],
    ['a quotation mark', () => ['Authorization: Bearer "x"'], 400, 'invalid_request'],
    ['bytes beyond ASCII', () => ['Authorization: Bearer t\xc3\xb6ken'], 400, 'invalid_request'],
    ['a tab', () => [`Authorization: Bearer\t${token}`], 400, 'invalid_request'],
    ['9 kB', () => [`Authorization: Bearer ${'a'.repeat(9000)}`], 400, 'invalid_request'],
    ['40 kB', () => [`Authorization: Bearer eyJ${'a'.repeat(40_000)}.a.a`], 400, 'invalid_request'],
    ['an API key of 9 kB', () => [`X-API-Key: hf_${'a'.repeat(9000)}`], 400, 'invalid_request'],
    ['dots', () => ['Authorization: Bearer ..'], 401, 'invalid_token'],
    ['a JWT of nothing', () => ['Authorization: Bearer eyJ.eyJ.x'], 401, 'invalid_token'],
    ['an encrypted token', () => ['Authorization: Bearer eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d'], 401, 'invalid_token'],
    ['a prototype', () => ['Authorization: Bearer __proto__'], 401, 'invalid_token'],
    ['an API key of nobody', () => [`X-API-Key: hf_${'0'.repeat(16)}_${'A'.repeat(43)}`], 401, 'invalid_token'],
  ])('%s', async (_what, headers, status, error) => {
    const reply = await raw(headers())
    expect(reply.status).toBe(status)
    expect(/error="(\w+)"/.exec(reply.challenge!)?.[1]).toBe(error)
    // Whatever was sent, the challenge is one that a client can parse, and holds nothing of it.
    expect(reply.challenge).toMatch(/^Bearer (\w+="[\x20\x21\x23-\x5b\x5d-\x7e]*"(, |$))+$/)
    expect(reply.challenge).toContain(metadata())
    for (const secret of [token, key]) expect(reply.challenge).not.toContain(secret)
  })

  test('40 kB, where headers may be no longer than 16: 431', async () => {
    const { runtime: usual, url: at } = await serve(() => ({ auth: { apiKeys: [entry] } }))
    const response = await fetch(at, modernRequest('tools/list', {}, bearer('a'.repeat(40_000))))
    await response.text()
    expect(response.status).toBe(431)
    await usual.close()
  })
})

describe('a token in the query', () => {
  test.each([
    '/mcp?access_token=TOKEN',
    '/mcp?a=b&access_token=TOKEN',
    '/mcp?access%5Ftoken=TOKEN',
    '/mcp?access_token=',
  ])('is refused: %s', async (target) => {
    const alone = await raw([], target.replace('TOKEN', token))
    expect([alone.status, alone.challenge]).toEqual([400, expect.stringContaining('error="invalid_request"')])
    const beside = await raw([`Authorization: Bearer ${token}`], target.replace('TOKEN', token))
    expect(beside.status).toBe(400)
  })

  test('is refused over `fetch`, too', async () => {
    const request = new Request(`${url}?access_token=${token}`, modernRequest('tools/list', {}, bearer(token)))
    expect((await toReply(await runtime.fetch(request))).status).toBe(400)
  })

  test('another query is none of it', async () => {
    expect((await raw([`Authorization: Bearer ${token}`], '/mcp?tenant=a')).status).toBe(200)
  })
})

describe('DNS rebinding', () => {
  test.each([
    ['a foreign host', { host: 'evil.example' }],
    ['a foreign origin', { origin: 'https://evil.example' }],
  ])('is refused before the credential is looked at: %s', async (_what, headers) => {
    for (const credential of [[], [`Authorization: Bearer ${token}`]]) {
      const { host, port } = new URL(url)
      const socket = connectSocket(Number(port), '127.0.0.1')
      const lines = [
        'POST /mcp HTTP/1.1',
        `Host: ${'host' in headers ? headers.host : host}`,
        'content-length: 0',
        'connection: close',
      ]
      if ('origin' in headers) lines.push(`Origin: ${headers.origin}`)
      socket.write(`${[...lines, ...credential].join('\r\n')}\r\n\r\n`)
      let answer = ''
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
      await once(socket, 'close')
      expect(answer).toMatch(/^HTTP\/1\.1 403 /)
      expect(answer).not.toMatch(/www-authenticate/i)
    }
  })
})

test('every call needs the scopes that `auth.scopes` names', async () => {
  const reply = await call(url, { 'x-api-key': key })
  expect(reply.status).toBe(403)
  expect(reply.challenge).toContain('error="insufficient_scope"')
  expect(reply.challenge).toContain('scope="mcp"')
})

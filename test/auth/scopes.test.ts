import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { definePrompt, defineResource, defineServer, defineTool, HoldfastError, type Runtime } from '../../src/index.ts'
import { connect } from '../../src/testing/index.ts'
import { openSession, post, type LegacySession } from '../clients/raw.ts'
import { Issuer } from './issuer.ts'
import { bearer, call, modernRequest, serve, toReply, type Reply } from './serving.ts'

const guarded = defineServer({
  name: 'guarded',
  version: '1.0.0',
  tools: [
    defineTool({ name: 'open', description: 'For everybody', run: () => 'open' }),
    defineTool({ name: 'read', description: 'For readers', scopes: ['notes:read'], run: () => 'read' }),
    defineTool({
      name: 'publish',
      description: 'For who may write and publish',
      scopes: ['notes:write', 'notes:publish'],
      run: () => 'published',
    }),
  ],
  resources: [
    defineResource({ uri: 'note://open', name: 'open', read: () => 'open' }),
    defineResource({ uri: 'note://secret', name: 'secret', scopes: ['notes:read'], read: () => 'secret' }),
    defineResource({
      uriTemplate: 'diary://{day}',
      name: 'diary',
      scopes: ['notes:read'],
      list: () => [{ uri: 'diary://monday', name: 'monday' }],
      complete: { day: () => ['monday'] },
      read: ({ day }) => day,
    }),
  ],
  prompts: [
    definePrompt({ name: 'greet', get: () => 'Hello' }),
    definePrompt({ name: 'review', scopes: ['notes:write'], get: () => 'Review' }),
  ],
})

let issuer: Issuer
let runtime: Runtime
let url: string
beforeAll(async () => {
  issuer = await new Issuer().start()
  ;({ runtime, url } = await serve(
    () => ({
      allowAnonymous: true,
      auth: { issuer: issuer.url, impliedScopes: { notes: ['notes:read', 'notes:write', 'notes:publish'] } },
    }),
    guarded,
  ))
})
afterAll(async () => {
  await runtime.close()
  await issuer.stop()
})

const as = async (scope: string): Promise<Record<string, string>> =>
  bearer(await issuer.token(url, { claims: { scope } }))
const ask = async (method: string, params: Record<string, unknown>, headers: Record<string, string>): Promise<Reply> =>
  toReply(await fetch(url, modernRequest(method, params, headers)))
const names = ({ message }: Reply, kind: string): string[] =>
  (message!.result[kind] as { name: string }[]).map(({ name }) => name)

const metadata = (): string => `resource_metadata="${new URL(url).origin}/.well-known/oauth-protected-resource/mcp"`

describe('in 2026-07-28', () => {
  test.each([
    ['', ['open'], ['open'], [], ['greet']],
    ['notes:read', ['open', 'read'], ['open', 'secret', 'monday'], ['diary'], ['greet']],
    ['notes:write', ['open'], ['open'], [], ['greet', 'review']],
    ['notes:write notes:publish', ['open', 'publish'], ['open'], [], ['greet', 'review']],
    ['notes', ['open', 'read', 'publish'], ['open', 'secret', 'monday'], ['diary'], ['greet', 'review']],
    ['unheard of', ['open'], ['open'], [], ['greet']],
  ])(
    'a caller with the scopes "%s" sees what they are enough for',
    async (scope, tools, resources, templates, prompts) => {
      const headers = await as(scope)
      const list = await ask('tools/list', {}, headers)
      expect(names(list, 'tools')).toEqual(tools)
      expect(list.message!.result.cacheScope).toBe('private')
      expect(names(await ask('resources/list', {}, headers), 'resources')).toEqual(resources)
      expect(names(await ask('resources/templates/list', {}, headers), 'resourceTemplates')).toEqual(templates)
      expect(names(await ask('prompts/list', {}, headers), 'prompts')).toEqual(prompts)
    },
  )

  test('a list tells clients not to share it, as far as callers see different ones', async () => {
    const open = defineServer({
      name: 'half',
      version: '1.0.0',
      tools: [defineTool({ name: 'open', description: 'For everybody', run: () => 'open' })],
      prompts: [definePrompt({ name: 'review', scopes: ['notes:write'], get: () => 'Review' })],
    })
    await using client = await connect(open)
    expect(await client.request('tools/list')).toMatchObject({ cacheScope: 'public' })
    expect(await client.request('prompts/list')).toMatchObject({ cacheScope: 'private', prompts: [] })
  })

  test.each<[string, Record<string, unknown>, string[]]>([
    ['tools/call', { name: 'read' }, ['notes:read']],
    ['tools/call', { name: 'publish' }, ['notes:write', 'notes:publish']],
    ['resources/read', { uri: 'note://secret' }, ['notes:read']],
    ['resources/read', { uri: 'diary://monday' }, ['notes:read']],
    ['prompts/get', { name: 'review' }, ['notes:write']],
    [
      'completion/complete',
      { ref: { type: 'ref/resource', uri: 'diary://{day}' }, argument: { name: 'day', value: '' } },
      ['notes:read'],
    ],
    [
      'completion/complete',
      { ref: { type: 'ref/prompt', name: 'review' }, argument: { name: 'x', value: '' } },
      ['notes:write'],
    ],
  ])(
    '%s of %j without its scopes is answered 403, with all of them in one challenge',
    async (method, params, scopes) => {
      const reply = await ask(method, params, await as('other'))
      expect(reply.status).toBe(403)
      expect(reply.challenge).toMatch(/^Bearer error="insufficient_scope", error_description="[^"]+", /)
      expect(reply.challenge).toContain(`scope="${scopes.join(' ')}"`)
      expect(reply.challenge).toContain(metadata())
      expect(reply.message).toMatchObject({
        id: 1,
        error: { code: 40300, data: { code: 'insufficient_scope', requiredScopes: scopes, retryable: false } },
      })
    },
  )

  test('one of two scopes is not enough, and the challenge names both', async () => {
    const reply = await call(url, await as('notes:write'), 'publish')
    expect([reply.status, reply.challenge]).toEqual([403, expect.stringContaining('scope="notes:write notes:publish"')])
    expect((await call(url, await as('notes:publish notes:write'), 'publish')).status).toBe(200)
  })

  test('a caller who has not said who it is, is asked to: 401, with the scopes of the operation', async () => {
    expect((await call(url, {}, 'open')).status).toBe(200)
    const reply = await call(url, {}, 'read')
    expect(reply.status).toBe(401)
    expect(reply.challenge).toBe(`Bearer scope="notes:read", ${metadata()}`)
  })

  test('a stream of changes leaves out what its caller may not read', async () => {
    const notifications = { resourceSubscriptions: ['note://open', 'note://secret', 'diary://monday'] }
    const controller = new AbortController()
    const open = async (scope: string): Promise<string> => {
      const init = modernRequest('subscriptions/listen', { notifications }, await as(scope))
      const response = await fetch(url, { ...init, signal: controller.signal })
      const { value } = await response.body!.getReader().read()
      return Buffer.from(value!).toString()
    }
    expect(await open('other')).toContain('"resourceSubscriptions":["note://open"]')
    expect(await open('notes')).toContain('"resourceSubscriptions":["note://open","note://secret","diary://monday"]')
    controller.abort()
  })
})

describe('in a session of 2025-11-25', () => {
  const session = async (scope: string): Promise<{ session: LegacySession; headers: Record<string, string> }> => {
    const headers = await as(scope)
    return { session: await openSession(url, '2025-11-25', headers), headers }
  }

  test('lists are filtered, and calls refused with 403 and the challenge', async () => {
    const { session: mine, headers } = await session('notes:read')
    const { message } = await mine.request('tools/list', {}, { headers })
    expect(message!.result!.tools.map(({ name }: { name: string }) => name)).toEqual(['open', 'read'])
    const refused = await mine.request('tools/call', { name: 'publish', arguments: {} }, { headers })
    expect(refused.status).toBe(403)
    expect(refused.headers.get('www-authenticate')).toContain('scope="notes:write notes:publish"')
    expect((await mine.request('tools/call', { name: 'read', arguments: {} }, { headers })).status).toBe(200)
  })

  test('a subscription to what may not be read is refused', async () => {
    const { session: mine, headers } = await session('other')
    const subscribe = (uri: string) => mine.request('resources/subscribe', { uri }, { headers })
    expect((await subscribe('note://open')).status).toBe(200)
    expect((await subscribe('note://secret')).status).toBe(403)
    expect((await subscribe('diary://monday')).status).toBe(403)
  })

  test('a token with more scopes goes on in the same session', async () => {
    const { session: mine } = await session('other')
    const params = { name: 'read', arguments: {} }
    expect((await mine.request('tools/call', params, { headers: await as('other') })).status).toBe(403)
    expect((await mine.request('tools/call', params, { headers: await as('notes:read') })).status).toBe(200)
  })
})

test('in a batch each call is refused by itself', async () => {
  const headers = await as('notes:read')
  const mine = await openSession(url, '2025-03-26', headers)
  const calls = ['publish', 'read'].map((name, id) => ({
    jsonrpc: '2.0',
    id,
    method: 'tools/call',
    params: { name, arguments: {} },
  }))
  const { status, text } = await post(url, calls, mine.headers)
  expect(status).toBe(200)
  expect(JSON.parse(text)).toMatchObject([
    { id: 0, error: { code: 40300, data: { requiredScopes: ['notes:write', 'notes:publish'] } } },
    { id: 1, result: { content: [{ text: 'read' }] } },
  ])
})

describe('in memory, for tests of tools', () => {
  test('the principal is whom the test says', async () => {
    await using anonymous = await connect(guarded)
    expect((await anonymous.listTools()).map(({ name }) => name)).toEqual(['open'])
    await expect(anonymous.callTool('read')).rejects.toMatchObject({ data: { code: 'insufficient_scope' } })
    await using reader = await connect(guarded, { principal: { subject: 'ada', scopes: ['notes:read'] } })
    expect((await reader.callTool('read')).text).toBe('read')
  })
})

describe('what can not work is refused at once', () => {
  test('a server whose tools need scopes does not listen where nobody can have any', async () => {
    await expect(serve(() => ({}), guarded)).rejects.toMatchObject({
      code: 'invalid_option',
      message: /"notes:read".*`auth`/,
    })
  })

  test.each([
    ['none', []],
    ['a text', 'notes:read'],
    ['a quotation mark', ['a"b']],
    ['a space', ['a b']],
    ['a number', [1]],
    ['no server’s to ask for', ['offline_access']],
  ])('scopes that are %s', (_what, scopes) => {
    const define = () => defineTool({ name: 'bad', description: 'Bad', scopes: scopes as never, run: () => '' })
    expect(define).toThrow(HoldfastError)
  })

  test('a resource that some may not read, but shared caches may keep', () => {
    const define = () =>
      defineResource({ uri: 'a://b', name: 'b', scopes: ['a'], cacheScope: 'public', read: () => '' })
    expect(define).toThrow(/cacheScope/)
  })
})

test('whatever set of scopes a caller has, the list is the one for it', async () => {
  const many = defineServer({
    name: 'many',
    version: '1.0.0',
    tools: Array.from({ length: 12 }, (_, index) =>
      defineTool({ name: `tool-${index}`, description: 'x'.repeat(100), scopes: [`scope-${index}`], run: () => '' }),
    ),
  })
  for (const mask of [0, 1, 5, 4095]) {
    const held = Array.from({ length: 12 }, (_, index) => index).filter((index) => (mask & (1 << index)) !== 0)
    await using client = await connect(many, { principal: { scopes: held.map((index) => `scope-${index}`) } })
    expect((await client.listTools()).map(({ name }) => name)).toEqual(held.map((index) => `tool-${index}`))
  }
})

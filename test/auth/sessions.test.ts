import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { defineServer, defineTool, type Runtime } from '../../src/index.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { openSession, send } from '../clients/raw.ts'
import { Issuer } from './issuer.ts'
import { bearer, call, modernRequest, principalOf, serve, toReply, type Reply } from './serving.ts'

let issuer: Issuer
let runtime: Runtime
let url: string
let ran = 0
const server = defineServer({
  name: 'sessions',
  version: '1.0.0',
  tools: [
    defineTool({ name: 'count', description: 'Counts its calls', run: () => String(++ran) }),
    defineTool({
      name: 'ask',
      description: 'Asks who it is for',
      async run(_args, ctx) {
        const { content } = await ctx.elicit('for', { message: 'For whom?', schema: z.object({ name: z.string() }) })
        return `for ${content?.name}, by ${ctx.principal.subject}`
      },
    }),
  ],
})
beforeAll(async () => {
  issuer = await new Issuer().start()
  const own = (header: string | undefined) =>
    header === undefined ? undefined : { issuer: 'https://other.example', subject: header, tenant: 'acme', scopes: [] }
  ;({ runtime, url } = await serve(
    () => ({
      allowAnonymous: true,
      maxStreamsPerPrincipal: 2,
      auth: { issuer: issuer.url, tenantClaim: 'org', authenticate: ({ header }) => own(header('x-other')) },
    }),
    server,
  ))
})
afterAll(async () => {
  await runtime.close()
  await issuer.stop()
})

const as = async (sub: string, org = 'acme', jti = '1'): Promise<Record<string, string>> =>
  bearer(await issuer.token(url, { claims: { sub, org, jti } }))

describe('a session', () => {
  test('belongs to issuer, subject and tenant, whatever token they come with', async () => {
    const session = await openSession(url, '2025-11-25', await as('ada'))
    const again = await session.request('tools/list', {}, { headers: await as('ada', 'acme', '2') })
    expect(again.status).toBe(200)
  })

  test.each<[string, () => Promise<Record<string, string | undefined>>]>([
    ['another subject', () => as('eve')],
    ['the same subject of another tenant', () => as('ada', 'evil')],
    ['the same subject and tenant of another issuer', async () => ({ 'x-other': 'ada', authorization: undefined })],
    ['nobody in particular', async () => ({ authorization: undefined })],
  ])('is unknown to %s: exactly as one that never was', async (_who, credential) => {
    const mine = await openSession(url, '2025-11-25', await as('ada'))
    const theirs = await credential()
    const made = `${mine.id.slice(0, -4)}AAAA`
    const attempts = [
      (id: string) => mine.request('tools/list', {}, { headers: { ...theirs, 'mcp-session-id': id } }),
      (id: string) => mine.request('ping', {}, { headers: { ...theirs, 'mcp-session-id': id } }),
      (id: string) =>
        send(url, { method: 'GET', headers: { accept: 'text/event-stream', ...theirs, 'mcp-session-id': id } }),
      (id: string) => send(url, { method: 'DELETE', headers: { ...theirs, 'mcp-session-id': id } }),
    ]
    for (const attempt of attempts) {
      const [foreign, unknown] = [await attempt(mine.id), await attempt(made)]
      expect(foreign.status).toBe(404)
      const seen = ({ status, message, headers }: typeof foreign): unknown => {
        const { requestId: _, ...data } = message!.error!.data as Record<string, unknown>
        const kept = Object.fromEntries([...headers].filter(([name]) => name !== 'date' && name !== 'content-length'))
        return { status, id: message!.id, error: { ...message!.error, data }, headers: kept }
      }
      expect(seen(foreign)).toEqual(seen(unknown))
    }
    // Nobody but its owner has ended it.
    expect((await mine.request('tools/list')).status).toBe(200)
    expect((await mine.end()).status).toBe(204)
    expect((await mine.request('tools/list')).status).toBe(404)
  })

  test('of an anonymous caller is a bearer secret, and not for those who say who they are', async () => {
    const session = await openSession(url)
    expect((await session.request('tools/list')).status).toBe(200)
    expect((await session.request('tools/list', {}, { headers: await as('ada') })).status).toBe(404)
  })

  test('does not stand in for a credential that is no longer good', async () => {
    const session = await openSession(url, '2025-11-25', await as('ada'))
    const expired = await issuer.token(url, { claims: { org: 'acme', sub: 'ada', exp: 1 } })
    expect((await session.request('tools/list', {}, { headers: bearer(expired) })).status).toBe(401)
  })
})

test('an idempotency key is its caller’s: another one runs', async () => {
  const key = { 'dev.holdfast/idempotencyKey': 'a-key-that-is-hard-to-guess' }
  const run = async (credential: Record<string, string>): Promise<string> => {
    const init = modernRequest('tools/call', { name: 'count', arguments: {} }, credential)
    const body = JSON.parse(init.body as string) as { params: { _meta: object } }
    Object.assign(body.params._meta, key)
    const reply = await toReply(await fetch(url, { ...init, body: JSON.stringify(body) }))
    return reply.message!.result.content[0].text as string
  }
  const first = await run(await as('ada'))
  expect(await run(await as('ada', 'acme', '2'))).toBe(first)
  const rest = [await run(await as('eve')), await run(await as('ada', 'evil')), await run({ 'x-other': 'ada' })]
  expect(new Set([first, ...rest]).size).toBe(4)
})

test('an answered question goes on for who was asked, and for nobody else', async () => {
  const ask = async (credential: Record<string, string>, params: object = {}): Promise<Reply> => {
    const init = modernRequest('tools/call', { name: 'ask', arguments: {}, ...params }, credential)
    const capable = (init.body as string).replace('clientCapabilities":{}', 'clientCapabilities":{"elicitation":{}}')
    return toReply(await fetch(url, { ...init, body: capable }))
  }
  const { requestState } = (await ask(await as('ada'))).message!.result as { requestState: string }
  const answer = { requestState, inputResponses: { for: { action: 'accept', content: { name: 'Bob' } } } }
  for (const other of [await as('eve'), await as('ada', 'evil'), { 'x-other': 'ada' }, {}]) {
    const { message } = await ask(other, answer)
    expect(message).toMatchObject({ error: { code: -32602 } })
    expect(JSON.stringify(message)).not.toContain('Bob')
  }
  const { message } = await ask(await as('ada', 'acme', '2'), answer)
  expect(message!.result.content).toEqual([{ type: 'text', text: 'for Bob, by ada' }])
})

test('open streams are counted by caller, whatever token or address they come with', async () => {
  const disconnect = new AbortController()
  const listen = async (credential: Record<string, string>): Promise<number> => {
    const init = modernRequest('subscriptions/listen', { notifications: {} }, credential)
    return (await fetch(url, { ...init, signal: disconnect.signal })).status
  }
  expect([await listen(await as('ada')), await listen(await as('ada', 'acme', '2'))]).toEqual([200, 200])
  expect(await listen(await as('ada', 'acme', '3'))).toBe(429)
  expect(await listen(await as('eve'))).toBe(200)
  expect(await listen(await as('ada', 'evil'))).toBe(200)
  expect(await listen({})).toBe(200)
  disconnect.abort()
})

describe('a function of one’s own', () => {
  let own: Runtime | undefined
  let at: string
  const start = async (authenticate: NonNullable<Parameters<typeof serve>[0]>): Promise<void> => {
    await own?.close()
    ;({ runtime: own, url: at } = await serve(authenticate))
  }
  afterAll(() => own?.close())

  test('says who calls, from headers and address; its scopes are expanded like all others', async () => {
    const seen: unknown[] = []
    await start(() => ({
      auth: {
        impliedScopes: { admin: ['read'] },
        authenticate: async ({ header, address }) => {
          seen.push([header('X-User'), address])
          return { issuer: 'https://proxy.example', subject: header('x-user')!, scopes: ['admin'] }
        },
      },
    }))
    const reply = await call(at, { 'x-user': 'ada' })
    expect(principalOf(reply)).toEqual({ issuer: 'https://proxy.example', subject: 'ada', scopes: ['admin', 'read'] })
    expect(seen).toEqual([['ada', '127.0.0.1']])
  })

  test('that knows nobody passes on to the other ways', async () => {
    await start(() => ({ auth: { issuer: issuer.url, authenticate: () => undefined } }))
    expect((await call(at)).status).toBe(401)
    expect((await call(at, bearer(await issuer.token(at)))).status).toBe(200)
  })

  test.each<[string, () => never]>([
    [
      'throws',
      () => {
        throw new Error('the directory is down: password=hunter2')
      },
    ],
    ['rejects', () => Promise.reject(new Error('the directory is down')) as never],
    ['returns half a principal', () => ({ subject: 'ada' }) as never],
    ['returns a text', () => 'ada' as never],
  ])('that %s lets nobody in, and says nothing of why', async (_how, authenticate) => {
    await start(() => ({ auth: { issuer: issuer.url, authenticate } }))
    const reply = await call(at, bearer(await issuer.token(at)))
    expect(reply.status).toBe(503)
    expect(JSON.stringify(reply.message)).not.toMatch(/directory|hunter2|ada/)
  })

  test('that never answers is not waited for longer than five seconds', async () => {
    const clock = new FakeClock()
    await start(() => ({ clock, auth: { authenticate: () => new Promise(() => undefined) } }))
    // What runs besides sleeps on the clock too.
    const before = clock.sleeping
    const pending = call(at)
    await expect.poll(() => clock.sleeping).toBeGreaterThan(before)
    await clock.advance(5000)
    expect((await pending).status).toBe(503)
  })

  test('may refuse in its own words', async () => {
    const { HoldfastError } = await import('../../src/index.ts')
    await start(() => ({
      auth: {
        authenticate: () => {
          throw new HoldfastError('unauthenticated', 'The account is closed.')
        },
      },
    }))
    const reply = await call(at)
    expect([reply.status, reply.challenge]).toEqual([
      401,
      'Bearer error="invalid_token", error_description="The account is closed."',
    ])
  })
})

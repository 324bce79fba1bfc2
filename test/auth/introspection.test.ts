import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Runtime, RuntimeOptions } from '../../src/index.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { Issuer, json, type Answer } from './issuer.ts'
import { bearer, call, principalOf, serve, type Reply } from './serving.ts'

const CLIENT = { clientId: 'resource server', clientSecret: 's/cr+t:%' }

let issuer: Issuer
let clock: FakeClock
let runtime: Runtime | undefined
let url: string
/** Claims by token; a token that is not there is not active. */
let active: Map<string, Record<string, unknown>>
beforeEach(async () => {
  issuer = await new Issuer().start()
  clock = new FakeClock(Date.now())
  active = new Map()
  issuer.answers.set('/introspect', (request, response, body) => {
    const [user, password] = Buffer.from(request.headers.authorization!.slice('Basic '.length), 'base64')
      .toString()
      .split(':')
    const isKnown = user === 'resource+server' && password === 's%2Fcr%2Bt%3A%25'
    if (!isKnown) return json({ error: 'invalid_client' }, 401)(request, response, body)
    const claims = active.get(new URLSearchParams(body).get('token')!)
    json(claims === undefined ? { active: false } : { active: true, ...claims })(request, response, body)
  })
  await start()
})
afterEach(async () => {
  await runtime?.close()
  runtime = undefined
  await issuer.stop()
})
async function start(auth: RuntimeOptions['auth'] = {}): Promise<void> {
  ;({ runtime, url } = await serve(() => ({ clock, auth: { issuer: issuer.url, introspection: CLIENT, ...auth } })))
}
const as = (token: string): Promise<Reply> => call(url, bearer(token))
const good = (): Record<string, unknown> => ({ sub: 'ada', aud: url, scope: 'read write', iss: issuer.url })
const asked = (): number => issuer.asked['/introspect'] ?? 0

test('an opaque token that is active names its caller', async () => {
  active.set('opaque', { ...good(), exp: clock.now() / 1000 + 100 })
  const reply = await as('opaque')
  expect(reply.status).toBe(200)
  expect(principalOf(reply)).toEqual({ issuer: issuer.url, subject: 'ada', scopes: ['read', 'write'] })
})

test('signed tokens are checked here, and nobody is asked about them', async () => {
  const nowSeconds = Math.floor(clock.now() / 1000)
  expect((await as(await issuer.token(url, { nowSeconds }))).status).toBe(200)
  expect(asked()).toBe(0)
})

test.each<[string, () => Record<string, unknown> | undefined]>([
  ['that is not active', () => undefined],
  ['for another audience', () => ({ ...good(), aud: ['https://other.example'] })],
  ['for no audience', () => ({ ...good(), aud: undefined })],
  ['of another issuer', () => ({ ...good(), iss: 'https://evil.example' })],
  ['that has expired by our clock', () => ({ ...good(), exp: clock.now() / 1000 - 1 })],
  ['of nobody', () => ({ ...good(), sub: undefined })],
  ['that is active in a manner of speaking', () => ({ ...good(), active: 'true' })],
])('an opaque token %s is refused', async (_what, claims) => {
  const told = claims()
  if (told !== undefined) active.set('opaque', told)
  const reply = await as('opaque')
  expect(reply.status).toBe(401)
  expect(reply.challenge).toContain('error="invalid_token"')
})

test('the answer is remembered for a moment, and a revoked token ends with it', async () => {
  active.set('opaque', good())
  expect((await as('opaque')).status).toBe(200)
  expect((await as('opaque')).status).toBe(200)
  expect(asked()).toBe(1)
  active.delete('opaque')
  await clock.advance(14_000)
  expect((await as('opaque')).status).toBe(200)
  await clock.advance(2000)
  expect((await as('opaque')).status).toBe(401)
})

test('no answer outlives the token', async () => {
  active.set('opaque', { ...good(), exp: clock.now() / 1000 + 5 })
  expect((await as('opaque')).status).toBe(200)
  await clock.advance(6000)
  expect((await as('opaque')).status).toBe(401)
})

test('a refusal is not remembered: a token may come to life', async () => {
  expect((await as('opaque')).status).toBe(401)
  active.set('opaque', good())
  expect((await as('opaque')).status).toBe(200)
})

test('many requests with one new token ask once', async () => {
  active.set('opaque', good())
  const replies = await Promise.all(Array.from({ length: 20 }, () => as('opaque')))
  expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 200))
  expect(asked()).toBe(1)
})

test('many requests with tokens that are made up ask no more at once than the bound', async () => {
  const held: (() => void)[] = []
  let most = 0
  issuer.answers.set('/introspect', (request, response, body) => {
    most = Math.max(
      most,
      held.push(() => json({ active: false })(request, response, body)),
    )
  })
  const pending = Array.from({ length: 100 }, (_, index) => as(`made-up-${index}`))
  await expect.poll(() => held.length).toBe(64)
  const refused = await Promise.race(pending)
  expect(refused.status).toBe(503)
  expect(refused.headers.get('retry-after')).toBe('2')
  for (const answer of held.splice(0)) answer()
  const statuses = (await Promise.all(pending)).map(({ status }) => status)
  expect([
    statuses.filter((status) => status === 401).length,
    statuses.filter((status) => status === 503).length,
  ]).toEqual([64, 36])
  expect(most).toBe(64)
})

describe('where the authorization server', () => {
  test.each<[string, Answer]>([
    ['refuses this server', json({ error: 'invalid_client' }, 401)],
    ['answers 500', json({}, 500)],
    ['answers something other than JSON', (_request, response) => void response.end('yes')],
    ['answers `true`', json(true)],
    ['breaks off', (_request, response) => void response.destroy()],
  ])('%s, nobody is let in, and is told to try again', async (_how, answer) => {
    issuer.answers.set('/introspect', answer)
    const reply = await as('opaque')
    expect(reply.status).toBe(503)
    expect(reply.headers.get('retry-after')).toBe('2')
    expect(reply.message!.error!.data).toMatchObject({ code: 'auth_unavailable', retryable: true })
  })

  test('names no endpoint, nobody is let in either; the option may name one', async () => {
    issuer.answers.set('/.well-known/oauth-authorization-server', json({ issuer: issuer.url }))
    active.set('opaque', good())
    expect((await as('opaque')).status).toBe(503)
    await runtime!.close()
    await start({ introspection: { ...CLIENT, url: `${issuer.url}/introspect` } })
    active.set('opaque', good())
    expect((await as('opaque')).status).toBe(200)
  })
})

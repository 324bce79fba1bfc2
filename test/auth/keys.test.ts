import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Runtime, RuntimeOptions } from '../../src/index.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { Issuer, json, makeKey, type Answer } from './issuer.ts'
import { bearer, call, serve } from './serving.ts'

let issuer: Issuer
let clock: FakeClock
let runtime: Runtime | undefined
let url: string
beforeEach(async () => {
  issuer = await new Issuer().start()
  clock = new FakeClock(Date.now())
})
afterEach(async () => {
  await runtime?.close()
  runtime = undefined
  await issuer.stop()
})

async function start(auth: RuntimeOptions['auth'] = {}): Promise<void> {
  ;({ runtime, url } = await serve(() => ({ clock, auth: { issuer: issuer.url, ...auth } })))
}
const nowSeconds = (): number => Math.floor(clock.now() / 1000)
let made = 0
/** A token that was not seen before, so that it has to be checked. */
const fresh = (key = issuer.keys[0]!): Promise<string> =>
  issuer.token(url, { key, nowSeconds: nowSeconds(), claims: { jti: String(++made) } })
const status = async (token: string): Promise<number> => (await call(url, bearer(token))).status

describe('the keys of the issuer', () => {
  test('are fetched once, by however many first requests', async () => {
    await start()
    const tokens = await Promise.all(Array.from({ length: 30 }, () => fresh()))
    expect(await Promise.all(tokens.map(status))).toEqual(tokens.map(() => 200))
    expect(issuer.fetches).toBe(1)
    expect(issuer.asked['/.well-known/oauth-authorization-server']).toBe(1)
  })

  test('are found where the option says, without the metadata', async () => {
    issuer.answers.set('/.well-known/oauth-authorization-server', json({}, 404))
    await start({ jwksUrl: `${issuer.url}/jwks` })
    expect(await status(await fresh())).toBe(200)
  })

  test.each(['/realms/acme', '/'])('are found for an issuer whose identifier has the path %s', async (path) => {
    await issuer.stop()
    issuer = await new Issuer(path).start()
    const { origin, pathname } = new URL(issuer.url)
    const document = json({ issuer: issuer.url, jwks_uri: `${origin}/jwks` })
    for (const metadata of ['oauth-authorization-server', 'openid-configuration'])
      issuer.answers.set(`/.well-known/${metadata}${path}`, json({}, 404))
    issuer.answers.set(`${pathname.replace(/\/$/, '')}/.well-known/openid-configuration`, document)
    await start()
    expect(await status(await fresh())).toBe(200)
  })

  test('rotate: a new one is fetched when a token names it, and the old one goes with it', async () => {
    await start()
    const [old] = issuer.keys
    expect(await status(await fresh())).toBe(200)
    issuer.keys = [await makeKey('second')]
    await clock.advance(10_000)
    expect(await status(await fresh())).toBe(200)
    expect(issuer.fetches).toBe(2)
    expect(await status(await fresh(old))).toBe(401)
  })

  test('are not fetched again for each key id that somebody makes up', async () => {
    await start()
    const stranger = await makeKey('made-up')
    expect(await status(await fresh())).toBe(200)
    for (let round = 0; round < 5; round++) expect(await status(await fresh(stranger))).toBe(401)
    expect(issuer.fetches).toBe(1)
    await clock.advance(10_000)
    for (let round = 0; round < 5; round++) expect(await status(await fresh(stranger))).toBe(401)
    expect(issuer.fetches).toBe(2)
  })

  test('are fetched again in the background when they are some minutes old', async () => {
    await start()
    expect(await status(await fresh())).toBe(200)
    await clock.advance(6 * 60_000)
    const { promise: held, resolve: release } = Promise.withResolvers<void>()
    issuer.answers.set('/jwks', (request, response, body) => {
      void held.then(() => json({ keys: issuer.keys.map(({ jwk }) => jwk) })(request, response, body))
    })
    expect(await status(await fresh())).toBe(200) // while the endpoint has not answered
    release()
    await expect.poll(() => issuer.fetches).toBe(2)
  })

  test('may lack ids, while they rotate', async () => {
    await start()
    const [first, second] = [issuer.keys[0]!, await makeKey('second')]
    issuer.keys = [first, second]
    issuer.answers.set('/jwks', json({ keys: [first, second].map(({ jwk }) => ({ ...jwk, kid: undefined })) }))
    for (const key of [first, second]) {
      const token = await issuer.token(url, { key, header: { kid: undefined }, nowSeconds: nowSeconds() })
      expect(await status(token)).toBe(200)
    }
    const token = await issuer.token(url, {
      key: await makeKey('x'),
      header: { kid: undefined },
      nowSeconds: nowSeconds(),
    })
    expect(await status(token)).toBe(401)
  })
})

const silent: Answer = () => undefined
const broken: [string, Answer][] = [
  ['answers 500', json({ error: 'no' }, 500)],
  ['answers something other than JSON', (_request, response) => void response.end('<html>')],
  ['answers JSON that is no key set', json({ keys: 'none' })],
  ['answers an array', json([])],
  ['answers without end', (_request, response) => void response.end(`{"keys":["${'x'.repeat(600_000)}"]}`)],
  ['redirects', (_request, response) => void response.writeHead(302, { location: '/elsewhere' }).end()],
  ['breaks off', (_request, response) => void response.destroy()],
]

describe('while the endpoint of the keys', () => {
  test.each(broken)('%s, nobody is let in who was not before, and is told to try again', async (_how, answer) => {
    issuer.answers.set('/jwks', answer)
    await start()
    const reply = await call(url, bearer(await fresh()))
    expect(reply.status).toBe(503)
    expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(reply.message!.error).toMatchObject({ code: 50300, data: { code: 'auth_unavailable', retryable: true } })
    // It recovers by itself, and not before it was left alone for a moment.
    issuer.answers.clear()
    expect(await status(await fresh())).toBe(503)
    await clock.advance(10_000)
    expect(await status(await fresh())).toBe(200)
  })

  test.each(broken)('%s, tokens of keys that are known go on to be accepted', async (_how, answer) => {
    await start()
    expect(await status(await fresh())).toBe(200)
    issuer.answers.set('/jwks', answer)
    await clock.advance(3 * 3_600_000)
    expect(await status(await fresh())).toBe(200)
    await expect.poll(() => issuer.fetches).toBe(2)
    expect(await status(await fresh())).toBe(200)
    // Of a key that is not known nobody can say whether it is good.
    await clock.advance(10_000)
    expect(await status(await fresh(await makeKey('new')))).toBe(503)
  })

  test('does not answer, a request waits for the time-out and no longer', { timeout: 15_000 }, async () => {
    issuer.answers.set('/jwks', silent)
    await start()
    const startedMs = performance.now()
    expect(await status(await fresh())).toBe(503)
    expect(performance.now() - startedMs).toBeGreaterThan(4000)
    expect(performance.now() - startedMs).toBeLessThan(9000)
    const again = performance.now()
    expect(await status(await fresh())).toBe(503)
    expect(performance.now() - again).toBeLessThan(1000)
  })

  test('and the metadata do not answer, the time-out is one for all of them', { timeout: 15_000 }, async () => {
    await issuer.stop()
    issuer = await new Issuer('/realms/acme').start()
    for (const path of ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration'])
      issuer.answers.set(`${path}/realms/acme`, silent)
    await start()
    const startedMs = performance.now()
    expect(await status(await fresh())).toBe(503)
    expect(performance.now() - startedMs).toBeLessThan(9000)
  })

  test('is gone for more than a day, even its keys are no longer believed', async () => {
    await start()
    expect(await status(await fresh())).toBe(200)
    issuer.answers.set('/jwks', json({}, 500))
    await clock.advance(25 * 3_600_000)
    expect(await status(await fresh())).toBe(503)
  })

  test.each([
    ['is of another issuer', (url: string) => ({ issuer: 'https://evil.example', jwks_uri: `${url}/jwks` })],
    ['names keys over plain http', (url: string) => ({ issuer: url, jwks_uri: 'http://keys.example/jwks' })],
    ['names no keys', (url: string) => ({ issuer: url })],
  ])('is named by metadata that %s, it is not asked', async (_how, document) => {
    issuer.answers.set('/.well-known/oauth-authorization-server', json(document(issuer.url)))
    await start()
    expect(await status(await fresh())).toBe(503)
    expect(issuer.fetches).toBe(0)
  })
})

describe('a token that was checked', () => {
  test('is not checked again for a minute, and then is', async () => {
    await start()
    const [key] = issuer.keys
    const token = await issuer.token(url, { nowSeconds: nowSeconds() })
    expect(await status(token)).toBe(200)
    issuer.keys = [await makeKey('second')]
    await clock.advance(10_000)
    expect(await status(await fresh())).toBe(200) // the server knows that the key is gone
    expect(await status(token)).toBe(200)
    await clock.advance(55_000)
    expect(await status(token)).toBe(401)
    expect(key!.kid).toBe('first')
  })

  test('ends when it expires, remembered or not', async () => {
    await start()
    const token = await issuer.token(url, { nowSeconds: nowSeconds(), claims: { exp: nowSeconds() + 20 } })
    expect(await status(token)).toBe(200)
    await clock.advance(15_000)
    expect(await status(token)).toBe(200)
    await clock.advance(20_000)
    expect(await status(token)).toBe(401)
  })
})

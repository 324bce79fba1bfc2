import { exportSPKI, SignJWT, UnsecuredJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Runtime } from '../../src/index.ts'
import { Issuer, makeKey, type IssuerKey, type TokenChanges } from './issuer.ts'
import { bearer, call, principalOf, serve } from './serving.ts'

let issuer: Issuer
let runtime: Runtime
let url: string
let stranger: IssuerKey
beforeAll(async () => {
  issuer = await new Issuer().start()
  stranger = await makeKey('first')
  ;({ runtime, url } = await serve(() => ({
    auth: { issuer: issuer.url, tenantClaim: 'org', impliedScopes: { admin: ['write'], write: ['read'] } },
  })))
})
afterAll(async () => {
  await runtime.close()
  await issuer.stop()
})

const token = (changes: TokenChanges = {}): Promise<string> =>
  issuer.token(url, { ...changes, claims: { org: 'acme', ...changes.claims } })

describe('a token that is good', () => {
  test('names its caller, tenant and scopes', async () => {
    const reply = await call(url, bearer(await token({ claims: { scope: 'notes:read notes:write' } })))
    expect(reply.status).toBe(200)
    expect(principalOf(reply)).toEqual({
      issuer: issuer.url,
      subject: 'ada',
      tenant: 'acme',
      scopes: ['notes:read', 'notes:write'],
    })
  })

  test('brings what its broader scopes imply, through every step', async () => {
    const reply = await call(url, bearer(await token({ claims: { scope: 'admin' } })))
    expect(principalOf(reply)).toMatchObject({ scopes: ['admin', 'write', 'read'] })
  })

  test.each<[string, TokenChanges]>([
    ['scopes as an array in `scp`', { claims: { scp: ['read'] } }],
    ['several audiences', { claims: { aud: ['https://other.example', 'URL'], scope: 'read' } }],
    ['the type that issuers wrote before RFC 9068', { header: { typ: 'JWT' }, claims: { scope: 'read' } }],
    ['no type', { header: { typ: undefined }, claims: { scope: 'read' } }],
    ['a clock that is a little ahead', { claims: { nbf: Math.floor(Date.now() / 1000) + 5, scope: 'read' } }],
  ])('may have %s', async (_what, changes) => {
    const { aud } = changes.claims!
    const claims = { ...changes.claims, ...(Array.isArray(aud) ? { aud: [aud[0], url] } : {}) }
    const reply = await call(url, bearer(await token({ ...changes, claims })))
    expect(reply.status).toBe(200)
    expect(principalOf(reply)).toMatchObject({ scopes: ['read'] })
  })

  test('without a subject stands for its client', async () => {
    const reply = await call(url, bearer(await token({ claims: { sub: undefined, client_id: 'batch' } })))
    expect(principalOf(reply)).toMatchObject({ subject: 'client:batch' })
  })
})

const seconds = (ago: number): number => Math.floor(Date.now() / 1000) - ago

describe('a token that is not good is refused with 401, and the challenge says where to get another', () => {
  test.each<[string, () => Promise<string> | string, RegExp]>([
    ['for another audience', () => token({ claims: { aud: 'https://other.example/mcp' } }), /audience/],
    ['for no audience', () => token({ claims: { aud: undefined } }), /missing|audience/],
    ['whose audience is a part of the URL', () => token({ claims: { aud: new URL(url).origin } }), /audience/],
    ['of another issuer', () => token({ claims: { iss: 'https://evil.example' } }), /issuer/],
    ['expired', () => token({ nowSeconds: seconds(3600) }), /expired/],
    ['not valid yet', () => token({ claims: { nbf: seconds(-3600) } }), /not valid yet/],
    ['without an expiry', () => token({ claims: { exp: undefined } }), /missing/],
    ['without a tenant', () => token({ claims: { org: undefined } }), /claim/],
    ['without anybody', () => token({ claims: { sub: undefined } }), /subject/],
    ['signed by a key of the same id that is not the issuer’s', () => token({ key: stranger }), /signature/],
    ['signed by a key that nobody has', async () => token({ key: await makeKey('unknown') }), /key/],
    ['that is an ID token by type', () => token({ header: { typ: 'id+jwt' } }), /type/],
    ['that is bound to a key of its sender', () => token({ claims: { cnf: { jkt: 'x' } } }), /bound/],
    [
      'with a critical extension that is not known',
      () => token({ header: { crit: ['unheard'], unheard: 1 } }),
      /malformed/,
    ],
    ['of alg none', () => unsigned(), /malformed|algorithm/],
    ['of HS256 with the public key as its secret', () => confused(), /algorithm/],
    ['with its signature cut off', async () => (await token()).replace(/\.[^.]+$/, '.'), /malformed|signature/],
    ['changed after it was signed', () => changed(), /signature/],
    ['that is no token', () => 'nonsense', /malformed/],
    ['that is opaque', () => 'b3BhcXVl'.repeat(5), /malformed/],
  ])('%s', async (_what, make, reason) => {
    const reply = await call(url, bearer(await make()))
    expect(reply.status).toBe(401)
    const metadata = `${new URL(url).origin}/.well-known/oauth-protected-resource/mcp`
    expect(reply.challenge).toMatch(
      /^Bearer error="invalid_token", error_description="[^"]+", resource_metadata="[^"]+"$/,
    )
    expect(reply.challenge).toContain(`resource_metadata="${metadata}"`)
    expect(reply.message!.error).toMatchObject({
      code: 40100,
      message: reason,
      data: { code: 'unauthenticated', retryable: false },
    })
    expect(reply.message).not.toHaveProperty('id')
  })

  const claims = (): Record<string, unknown> => ({ iss: issuer.url, aud: url, sub: 'ada', org: 'acme' })
  const unsigned = (): string => new UnsecuredJWT(claims()).setExpirationTime('5m').encode()
  const confused = async (): Promise<string> => {
    const secret = Buffer.from(await exportSPKI(issuer.keys[0]!.publicKey))
    return new SignJWT(claims()).setProtectedHeader({ alg: 'HS256', kid: 'first' }).setExpirationTime('5m').sign(secret)
  }
  const changed = async (): Promise<string> => {
    const [header, payload, signature] = (await token()).split('.')
    const told = JSON.parse(Buffer.from(payload!, 'base64url').toString()) as object
    return `${header}.${Buffer.from(JSON.stringify({ ...told, sub: 'root' })).toString('base64url')}.${signature}`
  }
})

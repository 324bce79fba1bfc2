/** A token of an issuer that exists for one run: made here, checked by the server that is measured. */
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto'

/** What the server that checks the token has to know. */
export const tokenIssuer = 'https://issuer.bench'
export const tokenAudience = 'https://holdfast.bench/mcp'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

/** The key set of the issuer, as JSON. */
export const tokenKeys = JSON.stringify({
  keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'bench', alg: 'ES256', use: 'sig' }],
})

/** An access token (RFC 9068) of the size and with the claims that common issuers give out: about 900 bytes. */
export function makeToken(): string {
  const nowSeconds = Math.floor(Date.now() / 1000)
  const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')
  const head = encode({ alg: 'ES256', typ: 'at+jwt', kid: 'bench' })
  const claims = encode({
    iss: tokenIssuer,
    aud: [tokenAudience, 'account'],
    sub: randomUUID(),
    iat: nowSeconds,
    exp: nowSeconds + 24 * 3600,
    jti: randomUUID(),
    sid: randomUUID(),
    client_id: 'bench-client',
    scope: 'openid profile email notes:read notes:write reports:read',
    org_id: randomUUID(),
    roles: ['default-roles', 'offline_access', 'uma_authorization', 'reader', 'writer'],
    name: 'Ada Lovelace',
    preferred_username: 'ada',
    email: 'ada@example.com',
  })
  const signature = sign('sha256', Buffer.from(`${head}.${claims}`), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${head}.${claims}.${signature.toString('base64url')}`
}

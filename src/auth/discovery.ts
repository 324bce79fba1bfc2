import { FetchFailure, fetchJson } from './fetch-json.ts'

/** What is taken from the metadata of an authorization server. */
export interface ServerMetadata {
  readonly jwksUrl: string | undefined
  readonly introspectionUrl: string | undefined
}

/** Where the metadata of an issuer may lie, in the order in which MCP clients look (RFC 8414, 3.1 and 5; OpenID Connect Discovery, 4). */
export function metadataUrls(issuer: string): string[] {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  const urls = [
    `${origin}/.well-known/oauth-authorization-server${path}`,
    `${origin}/.well-known/openid-configuration${path}`,
  ]
  return path === '' ? urls : [...urls, `${origin}${path}/.well-known/openid-configuration`]
}

/**
 * Fetches the metadata of an issuer.
 * @throws {FetchFailure} where no address has it, or it names another issuer (RFC 8414, 3.3: it must not be used then).
 */
export async function discover(issuer: string, signal: AbortSignal): Promise<ServerMetadata> {
  const failures: unknown[] = []
  for (const url of metadataUrls(issuer)) {
    try {
      const metadata = await fetchJson(url, signal)
      if (metadata.issuer !== issuer)
        throw new FetchFailure(`${url} is of another issuer than ${issuer}; write the issuer exactly as it does.`)
      return {
        jwksUrl: secureUrl(metadata.jwks_uri),
        introspectionUrl: secureUrl(metadata.introspection_endpoint),
      }
    } catch (error) {
      failures.push(error)
    }
  }
  throw new FetchFailure(`The metadata of ${issuer} could not be fetched.`, {
    cause: new AggregateError(failures, 'All of its addresses failed.'),
  })
}

/** A URL over which keys and credentials may travel: https, or http on this machine. */
export function secureUrl(value: unknown): string | undefined {
  const url = typeof value === 'string' ? URL.parse(value) : null
  if (url === null || url.username !== '' || url.password !== '' || url.hash !== '') return undefined
  const isLocal = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname)
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLocal) ? (value as string) : undefined
}

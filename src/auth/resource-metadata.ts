/** Where the metadata of a protected resource lies: between its host and its path (RFC 9728, 3.1). */
export const WELL_KNOWN = '/.well-known/oauth-protected-resource'

/** The protected-resource metadata of this server (RFC 9728): which authorization server its tokens come from. */
export class ResourceMetadata {
  /** Where clients find it. */
  readonly url: string
  readonly body: string
  readonly #paths: ReadonlySet<string>

  /**
   * @param resource URL of the endpoint, as clients write it.
   * @param scopes scopes that the server knows.
   */
  constructor(resource: string, name: string, issuer: string, scopes: readonly string[]) {
    const { origin, pathname } = new URL(resource)
    const path = pathname === '/' ? '' : pathname
    this.url = `${origin}${WELL_KNOWN}${path}`
    this.#paths = new Set([WELL_KNOWN, `${WELL_KNOWN}${path}`])
    this.body = JSON.stringify({
      resource,
      authorization_servers: [issuer],
      ...(scopes.length === 0 ? {} : { scopes_supported: scopes }),
      bearer_methods_supported: ['header'],
      resource_name: name,
    })
  }

  /** Whether a path is one of the two under which clients look. */
  isAt(path: string): boolean {
    return this.#paths.has(path)
  }

  /** The answer to a method: public, the same for everybody, and readable by pages of any origin. */
  answer(method: string): { status: number; headers: Record<string, string>; body: string | undefined } {
    const cors = { 'access-control-allow-origin': '*' }
    if (method === 'OPTIONS')
      return {
        status: 204,
        headers: {
          ...cors,
          'access-control-allow-methods': 'GET',
          'access-control-allow-headers': 'mcp-protocol-version, accept',
          'access-control-max-age': '600',
        },
        body: undefined,
      }
    if (method !== 'GET' && method !== 'HEAD')
      return { status: 405, headers: { ...cors, allow: 'GET, HEAD, OPTIONS', 'content-length': '0' }, body: undefined }
    return {
      status: 200,
      headers: {
        ...cors,
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(this.body)),
        'cache-control': 'public, max-age=300',
      },
      body: method === 'HEAD' ? undefined : this.body,
    }
  }
}

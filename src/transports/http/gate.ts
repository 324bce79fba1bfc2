import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { HttpOptions } from './http-options.ts'

const LOOPBACK = /^https?:\/\/(localhost|127(?:\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/

/** Headers that browsers may send beside those that are always allowed. */
const REQUEST_HEADERS =
  /^(accept|authorization|x-api-key|content-type|last-event-id|mcp-(method|name|protocol-version|session-id|param-[!#$%&'*+.^_`|~0-9a-z-]+)|traceparent|tracestate|baggage)$/
const EXPOSED_HEADERS =
  'Mcp-Session-Id, MCP-Protocol-Version, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate'

/** Who may talk to this endpoint at all: the checks that need headers alone. Each stops an attack before anything is read. */
export class Gate {
  readonly #hosts: ReadonlySet<string> | undefined
  readonly #origins: ReadonlySet<string> | undefined
  readonly #allowsLoopback: boolean
  /** The `Host` that was allowed last: most requests name the same. */
  #allowedHost: string | undefined | null = null

  constructor({ allowedHosts, allowedOrigins }: HttpOptions) {
    this.#hosts = allowedHosts.includes('*') ? undefined : new Set(allowedHosts.map((host) => host.toLowerCase()))
    this.#origins = allowedOrigins.includes('*') ? undefined : new Set(allowedOrigins)
    this.#allowsLoopback = allowedOrigins.includes('loopback')
  }

  /**
   * DNS rebinding: a page on a foreign name that resolves to this machine sends that name as `Host` or `Origin`.
   * @throws {HoldfastError} `forbidden_host`, `forbidden_origin`
   */
  check(host: string | undefined, origin: string | undefined): void {
    if (host !== this.#allowedHost && this.#hosts !== undefined && !this.#hosts.has(hostName(host ?? '')))
      throw new HoldfastError(
        'forbidden_host',
        `The host ${JSON.stringify((host ?? '').slice(0, 100))} is not allowed here; add it to allowedHosts (HOLDFAST_ALLOWED_HOSTS).`,
      )
    this.#allowedHost = host
    if (origin !== undefined && !this.allowsOrigin(origin))
      throw new HoldfastError(
        'forbidden_origin',
        `The origin ${JSON.stringify(origin.slice(0, 100))} is not allowed here; add it to allowedOrigins (HOLDFAST_ALLOWED_ORIGINS).`,
      )
  }

  allowsOrigin(origin: string): boolean {
    return this.#origins === undefined || this.#origins.has(origin) || (this.#allowsLoopback && LOOPBACK.test(origin))
  }
}

const HOST = /^(\[[\da-fA-F:.]+\]|[^\s:,@/?#[\]]+)(?::\d{1,5})?$/

/** A host without its port, in lower case: `[::1]:3000` is `[::1]`. Empty where it is no host, or more than one. */
function hostName(host: string): string {
  return HOST.exec(host)?.[1]?.toLowerCase() ?? ''
}

/** What a browser on an allowed origin needs to read the answer. */
export function corsHeaders(origin: string): Record<string, string> {
  return { 'access-control-allow-origin': origin, 'access-control-expose-headers': EXPOSED_HEADERS, vary: 'Origin' }
}

/** The answer to a preflight (Fetch standard, "CORS-preflight fetch"). */
export function preflightHeaders(origin: string, requested: string | undefined): Record<string, string> {
  const names = (requested ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
  return {
    ...corsHeaders(origin),
    'access-control-allow-methods': 'POST, GET, DELETE',
    'access-control-allow-headers': names.filter((name) => REQUEST_HEADERS.test(name)).join(', '),
    'access-control-max-age': '600',
  }
}

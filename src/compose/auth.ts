import { hostname, userInfo } from 'node:os'
import type { Authenticator } from '../auth/authenticator.ts'
import { Challenger } from '../auth/challenge.ts'
import { ResourceMetadata } from '../auth/resource-metadata.ts'
import type { Principal } from '../define/context.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Catalog } from '../kernel/catalog.ts'
import type { Clock } from '../ports/clock.ts'
import type { Telemetry } from '../ports/telemetry.ts'
import { ClientAddress } from '../transports/http/client-address.ts'
import type { HttpParts } from '../transports/http/node-handler.ts'
import type { ResolvedOptions } from './options.ts'

/** What finds out who calls. Its libraries are loaded where somebody has to authenticate. */
export async function createAuth(
  catalog: Catalog,
  { auth, publicUrl, trustedProxies, allowAnonymous }: ResolvedOptions,
  clock: Clock,
  telemetry: Telemetry,
): Promise<Pick<HttpParts, 'authenticator' | 'metadata' | 'addresses'> & { challenges: Challenger | undefined }> {
  const addresses = trustedProxies.length === 0 ? undefined : new ClientAddress(trustedProxies)
  if (auth === undefined) return { authenticator: undefined, metadata: undefined, addresses, challenges: undefined }
  const metadata =
    auth.issuer === undefined
      ? undefined
      : new ResourceMetadata(publicUrl!, catalog.server.name, auth.issuer, [
          ...new Set([...auth.scopes, ...catalog.scopes]),
        ])
  const challenger = new Challenger(metadata?.url, auth.scopes)
  const { Authenticator } = await import('../auth/authenticator.ts')
  const onFailure = (message: string, error: unknown): void => telemetry.failure(undefined, message, error)
  return {
    authenticator: new Authenticator(auth, { clock, challenger, allowAnonymous, onFailure }),
    metadata,
    addresses,
    challenges: challenger,
  }
}

/**
 * Who is on the other end of standard input and output: whom the credential from the environment stands for (MCP 2026-07-28,
 * authorization: stdio takes credentials from there), or else the user that runs the process. That user could change the
 * definition as well, so there is nothing to keep from them.
 *
 * @throws {HoldfastError} `unauthenticated`, `auth_unavailable`, `invalid_option`
 */
export async function stdioPrincipal(
  authenticator: Authenticator | undefined,
  credential: string | undefined,
  scopes: readonly string[],
): Promise<Principal> {
  if (credential === undefined)
    return Object.freeze({
      issuer: 'local',
      subject: `${userName()}@${hostname()}`,
      scopes: Object.freeze([...scopes]),
    })
  if (authenticator === undefined)
    throw new HoldfastError('invalid_option', '`stdioCredential` is set, but `auth`, which would check it, is not.')
  const header = (name: string): string | undefined => (name === 'authorization' ? `Bearer ${credential}` : undefined)
  return authenticator.authenticate({ head: { header }, address: undefined })
}

/** Users of containers need not have a name. */
function userName(): string {
  try {
    return userInfo().username
  } catch {
    return String(process.getuid?.() ?? 'user')
  }
}

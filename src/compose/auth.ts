import { Challenger } from '../auth/challenge.ts'
import { ResourceMetadata } from '../auth/resource-metadata.ts'
import type { ServerDefinition } from '../define/server.ts'
import type { Clock } from '../ports/clock.ts'
import type { Telemetry } from '../ports/telemetry.ts'
import { ClientAddress } from '../transports/http/client-address.ts'
import type { HttpParts } from '../transports/http/node-handler.ts'
import type { ResolvedOptions } from './options.ts'

/** What finds out who calls. Its libraries are loaded where somebody has to authenticate. */
export async function createAuth(
  server: ServerDefinition,
  { auth, publicUrl, trustedProxies, allowAnonymous }: ResolvedOptions,
  clock: Clock,
  telemetry: Telemetry,
): Promise<Pick<HttpParts, 'authenticator' | 'metadata' | 'addresses'> & { challenger: Challenger | undefined }> {
  const addresses = trustedProxies.length === 0 ? undefined : new ClientAddress(trustedProxies)
  if (auth === undefined) return { authenticator: undefined, metadata: undefined, addresses, challenger: undefined }
  const metadata =
    auth.issuer === undefined || publicUrl === undefined
      ? undefined
      : new ResourceMetadata(publicUrl, server.name, auth.issuer, [...auth.scopes])
  const challenger = new Challenger(metadata?.url, auth.scopes)
  const { Authenticator } = await import('../auth/authenticator.ts')
  const onFailure = (message: string, error: unknown): void => telemetry.failure(undefined, message, error)
  return {
    authenticator: new Authenticator(auth, { clock, challenger, allowAnonymous, onFailure }),
    metadata,
    addresses,
    challenger,
  }
}

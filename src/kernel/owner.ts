import { createHash } from 'node:crypto'
import type { Principal } from '../define/context.ts'

// A hash for each request would cost as much as opening a session.
const owners = new WeakMap<Principal, string>()

/** Who something belongs to: equal for every token of the same issuer, subject and tenant. */
export function ownerOf(principal: Principal): string {
  let owner = owners.get(principal)
  if (owner === undefined) {
    const { issuer, subject, tenant } = principal
    const identity = JSON.stringify([issuer, subject, tenant ?? null])
    owner = createHash('sha256').update(identity).digest('base64url').slice(0, 22)
    owners.set(principal, owner)
  }
  return owner
}

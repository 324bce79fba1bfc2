import { ANONYMOUS, type Principal } from '../define/context.ts'

const keys = new WeakMap<Principal, string>()

/**
 * Tells callers apart for whatever is counted by caller: by issuer, subject and tenant, whatever token they come with; the
 * anonymous one by address. Two callers never share a key.
 */
export function callerOf({ principal, address }: { principal: Principal; address: string | undefined }): string {
  if (principal === ANONYMOUS) return `anonymous ${address ?? ''}`
  let key = keys.get(principal)
  if (key === undefined) {
    const { issuer, subject, tenant } = principal
    key = JSON.stringify([issuer, subject, tenant ?? null])
    keys.set(principal, key)
  }
  return key
}

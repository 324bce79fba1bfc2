import type { Exchange } from './exchange.ts'

/** Who a request counts for in limits: the principal, or an anonymous caller's address. */
export function callerOf({ principal, address }: Pick<Exchange, 'principal' | 'address'>): string {
  return principal.issuer === 'anonymous'
    ? `anonymous ${address ?? ''}`
    : JSON.stringify([principal.issuer, principal.subject, principal.tenant])
}

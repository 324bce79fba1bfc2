import { ANONYMOUS } from '../define/context.ts'
import type { Exchange } from './exchange.ts'

/**
 * Who a request counts for in limits: the principal, or an anonymous caller's address or connection. Who has neither counts
 * with all such: better too strict than no limit.
 */
export function callerOf({
  principal,
  address,
  connection,
}: Pick<Exchange, 'principal' | 'address' | 'connection'>): string {
  return principal.issuer === ANONYMOUS.issuer
    ? `anonymous ${address === undefined ? (connection?.scope ?? '') : network(address)}`
    : JSON.stringify([principal.issuer, principal.subject, principal.tenant])
}

/**
 * An address as the name of a caller. One customer has a whole /64 of IPv6 (RFC 6177), and could take a new address for
 * each request.
 */
export function network(address: string): string {
  if (!address.includes(':')) return address
  const mapped = /^::ffff:(\d+(?:\.\d+){3})$/i.exec(address)
  if (mapped !== null) return mapped[1]!
  const [head = '', tail] = address.replace(/%.*$/, '').toLowerCase().split('::')
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const after = tail === '' ? [] : tail.split(':')
    while (groups.length + after.length < 8) groups.push('0')
    groups.push(...after)
  }
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`
}

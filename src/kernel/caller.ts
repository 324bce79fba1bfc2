import { ANONYMOUS, type Principal } from '../define/context.ts'
import type { Exchange } from './exchange.ts'

// Text for each request would cost more than the rest of counting; a principal is one object while its token is remembered.
const names = new WeakMap<Principal, string>()

/**
 * Who a request counts for in limits: issuer, subject and tenant, whatever token they come with; of an anonymous caller the
 * address or connection. Who has neither counts with all such: better too strict than no limit.
 */
export function callerOf({
  principal,
  address,
  connection,
}: Pick<Exchange, 'principal' | 'address' | 'connection'>): string {
  if (principal === ANONYMOUS)
    return `anonymous ${address === undefined ? (connection?.scope ?? '') : network(address)}`
  let name = names.get(principal)
  if (name === undefined) {
    const { issuer, subject, tenant } = principal
    name = JSON.stringify([issuer, subject, tenant ?? null])
    names.set(principal, name)
  }
  return name
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

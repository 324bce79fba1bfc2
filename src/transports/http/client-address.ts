import { BlockList, isIP } from 'node:net'
import { HoldfastError } from '../../errors/holdfast-error.ts'

/**
 * Finds out who a client is behind proxies that the operator has declared.
 *
 * Each proxy appends the address that it was reached from to `X-Forwarded-For`, so the list is read from the right: the first
 * address that is no declared proxy's is the client's, and what stands left of it is the client's own word. `Forwarded`
 * (RFC 7239) is not read: a proxy that writes one of the two passes the other on as it came, so reading both would let a
 * client choose its address.
 */
export class ClientAddress {
  readonly #trusted = new BlockList()

  /**
   * @param proxies addresses and ranges: `10.0.0.0/8`, `::1`, or `loopback`.
   * @throws {HoldfastError} `invalid_option`
   */
  constructor(proxies: readonly string[]) {
    for (const proxy of proxies.flatMap((text) => (text === 'loopback' ? ['127.0.0.0/8', '::1'] : [text]))) {
      const [address = '', bits, ...rest] = proxy.split('/')
      const version = isIP(address)
      const length = version === 4 ? 32 : 128
      const prefix = bits === undefined ? length : /^\d{1,3}$/.test(bits) ? Number(bits) : Infinity
      if (version === 0 || prefix > length || rest.length > 0)
        throw new HoldfastError(
          'invalid_option',
          `\`trustedProxies\` holds ${JSON.stringify(proxy)}; it must be an address, a range such as 10.0.0.0/8, or loopback.`,
        )
      this.#trusted.addSubnet(address, prefix, version === 4 ? 'ipv4' : 'ipv6')
    }
  }

  /** The client's address, given that of the peer; `undefined` where the peer's is unknown. */
  of(peer: string | undefined, forwardedFor: string | undefined): string | undefined {
    let address = peer === undefined ? undefined : plainAddress(peer)
    if (address === undefined || forwardedFor === undefined) return address
    const hops = forwardedFor.split(',')
    while (hops.length > 0 && this.#isTrusted(address)) {
      const next = plainAddress(hops.pop()!.trim())
      // What is no address was not written by a proxy that does its part: the one before it is the last that is known.
      if (next === undefined) break
      address = next
    }
    return address
  }

  #isTrusted(address: string): boolean {
    return this.#trusted.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6')
  }
}

/** An address without port, brackets and the IPv6 form of an IPv4 address; `undefined` where it is none. */
function plainAddress(text: string): string | undefined {
  const bare = /^\[(.+)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text
  const plain = /^::ffff:([\d.]+)$/i.exec(bare)?.[1] ?? bare
  return isIP(plain) === 0 ? undefined : plain
}

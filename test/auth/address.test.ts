import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ClientAddress } from '../../src/transports/http/client-address.ts'
import { createLogFile } from '../telemetry/log-file.ts'
import { modernRequest, serve } from './serving.ts'

describe('the address of a client', () => {
  const of = (proxies: string[], peer: string | undefined, forwarded?: string): string | undefined =>
    new ClientAddress(proxies).of(peer, forwarded)

  test.each<[string, string[], string, string | undefined, string]>([
    ['the peer, where no proxy is declared', [], '203.0.113.9', '198.51.100.1', '203.0.113.9'],
    ['the peer, where it is none of the proxies', ['10.0.0.0/8'], '203.0.113.9', '198.51.100.1', '203.0.113.9'],
    ['what the proxy was reached from', ['10.0.0.0/8'], '10.1.2.3', '198.51.100.1', '198.51.100.1'],
    ['the last that no proxy vouches for', ['10.0.0.0/8'], '10.1.2.3', '1.1.1.1, 198.51.100.1', '198.51.100.1'],
    ['found through several proxies', ['10.0.0.0/8'], '10.1.2.3', '1.1.1.1, 198.51.100.1, 10.9.9.9', '198.51.100.1'],
    ['the first proxy, where all are', ['10.0.0.0/8'], '10.1.2.3', '10.0.0.1, 10.0.0.2', '10.0.0.1'],
    ['the proxy, where it says nothing', ['10.0.0.0/8'], '10.1.2.3', undefined, '10.1.2.3'],
    ['the proxy, where it says nonsense', ['10.0.0.0/8'], '10.1.2.3', 'unknown', '10.1.2.3'],
    ['the last known, before nonsense', ['10.0.0.0/8'], '10.1.2.3', '1.1.1.1, x, 10.0.0.7', '10.0.0.7'],
    ['without its port', ['loopback'], '127.0.0.1', '198.51.100.1:4711', '198.51.100.1'],
    ['without brackets and port', ['loopback'], '::1', '[2001:db8::1]:4711', '2001:db8::1'],
    ['IPv4, whatever the socket calls it', ['127.0.0.1'], '::ffff:127.0.0.1', '::ffff:198.51.100.1', '198.51.100.1'],
    ['found through IPv6 ranges', ['2001:db8::/32'], '2001:db8::5', '2001:db9::1', '2001:db9::1'],
  ])('is %s', (_what, proxies, peer, forwarded, expected) => {
    expect(of(proxies, peer, forwarded)).toBe(expected)
  })

  test('is never the client’s own word, whatever it writes before the proxy does', () => {
    const proxies = new ClientAddress(['10.0.0.0/8'])
    fc.assert(
      fc.property(
        fc.string(),
        fc.ipV4().filter((ip) => !ip.startsWith('10.')),
        (claimed, real) => {
          expect(proxies.of('10.0.0.1', `${claimed}, ${real}`)).toBe(real)
        },
      ),
    )
  })

  test('is an address or nothing', () => {
    const proxies = new ClientAddress(['0.0.0.0/0', '::/0'])
    fc.assert(
      fc.property(fc.string(), (forwarded) => {
        expect(proxies.of('10.0.0.1', forwarded)).toMatch(/^[\da-fA-F.:]+$/)
      }),
    )
  })

  test('stands in the log, and tells anonymous callers apart', async () => {
    const log = createLogFile()
    const { runtime, url } = await serve(() => ({
      logLevel: 'info',
      logFd: log.fd,
      trustedProxies: ['loopback'],
      maxStreamsPerPrincipal: 1,
    }))
    const disconnect = new AbortController()
    const listen = async (from: string): Promise<number> => {
      const init = modernRequest('subscriptions/listen', { notifications: {} }, { 'x-forwarded-for': from })
      return (await fetch(url, { ...init, signal: disconnect.signal })).status
    }
    expect(await listen('198.51.100.1')).toBe(200)
    expect(await listen('6.6.6.6, 198.51.100.1')).toBe(429)
    expect(await listen('198.51.100.2')).toBe(200)
    await log.line(({ address, status }) => address === '198.51.100.1' && status === 429)
    disconnect.abort()
    await log.line(({ address, status }) => address === '198.51.100.2' && status === 200)
    await runtime.close()
  })
})

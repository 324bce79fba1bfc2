import { describe, expect, test } from 'vitest'
import { network } from '../../src/kernel/caller.ts'
import { exchangeOf, limiterOf } from './support.ts'

describe('an anonymous caller is told by its address', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2::9', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::9', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['1::2:3:4:5:6:7', '1:0:2:3::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ])('%s as %s', (address, name) => {
    expect(network(address)).toBe(name)
  })

  test('so neighbours have buckets of their own, and one network of IPv6 has one', () => {
    const { limiter } = limiterOf({ limits: [{ per: 'principal', limit: 1, windowMs: 1000 }] })
    const ask = (address: string) => () => void limiter.chargeRequest(exchangeOf({ address }))
    ask('192.0.2.1')()
    ask('192.0.2.2')()
    expect(ask('192.0.2.1')).toThrow('used up')
    ask('2001:db8::1')()
    expect(ask('2001:db8::2')).toThrow('used up')
    ask('2001:db8:0:1::2')()
  })
})

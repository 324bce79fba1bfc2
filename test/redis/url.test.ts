import { expect, test } from 'vitest'
import { parseRedisUrl } from '../../src/backends/redis/url.ts'

test.each([
  ['redis://h', { topology: 'standalone', hosts: [{ host: 'h', port: 6379 }], db: 0, isTls: false }],
  ['redis://h:1/', { hosts: [{ host: 'h', port: 1 }], db: 0 }],
  ['redis://h/15', { db: 15 }],
  ['rediss://[::1]:7000/2', { hosts: [{ host: '::1', port: 7000 }], isTls: true, db: 2 }],
  ['redis://:p%40ss@h', { username: undefined, password: 'p@ss' }],
  ['redis://me:a:b@h', { username: 'me', password: 'a:b' }],
  [
    'redis+sentinel://:p@a,b:2/my%2Fmaster/3?sentinelPassword=s',
    {
      topology: 'sentinel',
      hosts: [
        { host: 'a', port: 26_379 },
        { host: 'b', port: 2 },
      ],
      masterName: 'my/master',
      db: 3,
      password: 'p',
      options: { sentinelPassword: 's' },
    },
  ],
  [
    'rediss+cluster://a,10.0.0.1:2?ca=%2Fetc%2Fca.pem&commandTimeoutMs=250&prefix=app-1:',
    {
      topology: 'cluster',
      hosts: [
        { host: 'a', port: 6379 },
        { host: '10.0.0.1', port: 2 },
      ],
      options: { ca: '/etc/ca.pem', commandTimeoutMs: 250, connectTimeoutMs: 2000, prefix: 'app-1:' },
    },
  ],
])('%s is understood', (url, expected) => {
  expect(parseRedisUrl(url)).toMatchObject(expected)
})

test.each([
  ['redis:/h', 'malformed'],
  ['redis+sentinal://h/name', 'malformed'],
  ['redis://', 'names the host ""'],
  ['redis://h:0', 'names the host "h:0"'],
  ['redis://h:65536', 'a port from 1 to 65535'],
  ['redis://a,b', 'takes redis+sentinel:// or redis+cluster://'],
  ['redis+cluster://a,,b', 'names the host ""'],
  ['redis://h/x', 'the database is a whole number'],
  ['redis://h/1/2', 'the database is a whole number'],
  ['redis+cluster://h/1', 'a cluster has number 0 alone'],
  ['redis+sentinel://h', 'which master'],
  ['redis+sentinel://h/name/db', 'the database is a whole number'],
  ['redis://user@h', 'a user and no password'],
  ['redis://:%zz@h', 'a password that is not percent-encoded'],
  ['redis://h?timeout=1', 'has the option "timeout"; there are prefix'],
  ['redis://h?prefix=a&prefix=b', 'has the option prefix twice'],
  ['redis://h?prefix=', 'without a value'],
  ['redis://h?prefix={a}', 'it must be 1 to 64 of letters'],
  ['redis://h?commandTimeoutMs=0', 'from 10 to 60000'],
  ['redis://h?ca=/ca.pem', 'write rediss'],
  ['rediss://h?cert=/c.pem', 'needs both'],
  ['redis://h?sentinelPassword=x', 'which is for redis+sentinel://'],
])('%s is refused, with the reason', (url, reason) => {
  expect(() => parseRedisUrl(url)).toThrowError(expect.objectContaining({ code: 'invalid_option' }))
  expect(() => parseRedisUrl(url)).toThrowError(reason)
})

test.each([
  'redis://user:s3cret@h/x',
  'redis://user:s3/cret@h',
  'redis://user:s3@cret@h',
  'redis://:s3cret@h?nothing=1',
  'redis+sentinel://h/name/x?sentinelPassword=s3cret',
])('what is wrong with %s is told without its secrets', (url) => {
  expect(() => parseRedisUrl(url)).toThrowError(
    expect.not.objectContaining({ message: expect.stringMatching(/s3|cret/) }),
  )
})

import { describe, expect, test } from 'vitest'
import { isPostgresUrl, parsePostgresUrl, withSchema } from '../../src/backends/postgres/url.ts'
import { isSqliteUrl, parseSqliteUrl } from '../../src/backends/sqlite/url.ts'

describe('Postgres URLs', () => {
  test('name server, user, database and options', () => {
    const address = parsePostgresUrl(
      'postgresql://al%40ice:se%3Acret@[::1]:6543/my%20db?schema=tasks_2&connections=3&sslmode=verify-full&sslrootcert=%2Fca.pem&channel_binding=require',
    )
    expect(address).toMatchObject({ host: '::1', port: 6543, user: 'al@ice', password: 'se:cret', database: 'my db' })
    expect(address.options).toMatchObject({
      schema: 'tasks_2',
      connections: 3,
      sslMode: 'verify-full',
      sslRootCert: '/ca.pem',
      usesChannelBinding: true,
    })
    expect(parsePostgresUrl('postgres://db/app').options).toMatchObject({
      schema: 'holdfast',
      connections: 10,
      connectTimeoutMs: 5000,
      statementTimeoutMs: 5000,
      sslMode: 'disable',
    })
  })

  test('name the folder of a socket, as a host or as an option', () => {
    expect(parsePostgresUrl('postgres://%2Fvar%2Frun/app').host).toBe('/var/run')
    expect(parsePostgresUrl('postgres:///app?host=/var/run').host).toBe('/var/run')
  })

  test.each([
    ['postgres://host', 'names no database'],
    ['postgres://a,b/app', 'names the host'],
    ['postgres://host:0/app', 'port from 1 to 65535'],
    ['postgres://u:p%zz@host/app', 'percent-encoded'],
    ['postgres://u:p/q@host/app', 'is malformed'],
    ['postgres://host/app?sslmode=prefer', 'must be one of disable, require, verify-ca, verify-full'],
    ['postgres://host/app?sslrootcert=x', 'sslmode=verify-full'],
    ['postgres://host/app?sslmode=require&sslcert=x', 'needs both'],
    ['postgres://host/app?schema=Bad-Name', 'must be up to 63'],
    ['postgres://host/app?schema=pg_catalog', 'pg_'],
    ['postgres://host/app?connections=0', 'from 1 to 1000'],
    ['postgres://host/app?pool=3', 'has the option "pool"; there are schema'],
    ['postgres://host/app?schema=a&schema=b', 'twice'],
    ['postgres://host/app?schema=', 'without a value'],
  ])('%s is refused, and why', (url, problem) => {
    expect(() => parsePostgresUrl(url)).toThrow(problem)
  })

  test('messages hold no password, also of malformed URLs', () => {
    for (const url of [
      'postgres://u:secret@host',
      'postgres://u:secret/x@host/app',
      'postgres://u:secret@host/app?x=1',
    ])
      expect(() => parsePostgresUrl(url)).toThrow(
        expect.not.objectContaining({ message: expect.stringContaining('secret') }),
      )
    expect(parsePostgresUrl('postgres://u:secret@host/app').shown).toBe('postgres://u:***@host/app')
  })

  test('take another schema in place of theirs', () => {
    expect(withSchema('postgres://h/d', 'a')).toBe('postgres://h/d?schema=a')
    expect(withSchema('postgres://h/d?schema=b&connections=2', 'a')).toBe('postgres://h/d?connections=2&schema=a')
  })

  test('are known by their scheme', () => {
    expect(['postgres://a/b', 'postgresql://a/b', 'mysql://a/b', 'postgres:a'].map(isPostgresUrl)).toEqual([
      true,
      true,
      false,
      false,
    ])
  })
})

describe('SQLite URLs', () => {
  test('name a file, or none', () => {
    expect(parseSqliteUrl('sqlite:.holdfast/tasks.db')).toEqual({ file: '.holdfast/tasks.db', busyTimeoutMs: 5000 })
    expect(parseSqliteUrl('sqlite:/a%3Fb/c.db?busyTimeoutMs=100')).toEqual({ file: '/a?b/c.db', busyTimeoutMs: 100 })
    expect(parseSqliteUrl('sqlite::memory:').file).toBe(':memory:')
    expect(['sqlite:a', 'sqlite3:a'].map(isSqliteUrl)).toEqual([true, false])
  })

  test.each([
    ['sqlite:', 'names no file'],
    ['sqlite://host/a', 'names no file'],
    ['sqlite:a?mode=ro', 'there is busyTimeoutMs'],
    ['sqlite:a?busyTimeoutMs=x', 'whole number'],
    ['sqlite:a#b', 'is malformed'],
    ['sqlite:%zz', 'percent-encoded'],
  ])('%s is refused, and why', (url, problem) => {
    expect(() => parseSqliteUrl(url)).toThrow(problem)
  })
})

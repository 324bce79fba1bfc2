import { expect, test } from 'vitest'
import type { TestOutcome } from '../../src/cli/contract-runner.ts'
import { startRedis } from '../servers/redis.ts'
import { needs, sharedServer } from '../servers/shared.ts'
import { startCli } from './cli.ts'

await needs('redis')
const cluster = await sharedServer('valkey-cluster')

test('a server that keeps every promise passes, and is left with nothing that lasts', async () => {
  await using redis = await startRedis()
  await redis.command('SET', 'mine', 'untouched')
  await using cli = startCli(['verify-backend', `${redis.url}?prefix=other:`])
  expect(await cli.ended).toBe(0)
  expect(cli.stdout()).toMatch(/^state store contract: redis:\/\/127/)
  expect(cli.stdout()).toMatch(/\n {2}ok {4}of many who append after the same id at once, one is taken \(\d+ ms\)\n/)
  expect(cli.stdout()).toMatch(/\n(\d{2}) passed, 0 failed\n$/)
  expect(await redis.command('GET', 'mine')).toBe('untouched')
  for (const key of (await redis.command('KEYS', 'holdfast-verify-*')) as string[]) {
    const ttlMs = Number(await redis.command('PTTL', key))
    expect(ttlMs, key).not.toBe(-1)
    expect(ttlMs, key).toBeLessThan(3 * 3_600_000)
  }
  expect(await redis.command('KEYS', 'other:*')).toEqual([])
}, 60_000)

test('--json prints an object for each test, and the counts', async () => {
  await using cli = startCli(['verify-backend', cluster.url, '--json'])
  expect(await cli.ended).toBe(0)
  const lines = cli.stdout().trim().split('\n').map((line) => JSON.parse(line) as unknown) // prettier-ignore
  const outcomes = lines.slice(0, -1) as TestOutcome[]
  expect(outcomes.every(({ ok, suite, durationMs }) => ok && suite.includes('contract') && durationMs >= 0)).toBe(true)
  expect(lines.at(-1)).toEqual({ passed: outcomes.length, failed: 0 })
}, 60_000)

test('a server that breaks a promise fails, with the reason', async () => {
  await using redis = await startRedis({ args: ['--maxmemory', '1', '--maxmemory-policy', 'noeviction'] })
  await using cli = startCli(['verify-backend', redis.url])
  expect(await cli.ended).toBe(1)
  expect(cli.stdout()).toMatch(/ {2}FAIL {2}a value is read back.*\n {8}Redis did not carry out set.*out of memory/)
  expect(cli.stdout()).not.toMatch(/ 0 failed\n$/)
}, 60_000)

test('where nothing answers, or the URL is wrong, it says so', async () => {
  await using nobody = startCli(['verify-backend', 'redis://127.0.0.1:1'])
  expect(await nobody.ended).toBe(1)
  expect(nobody.stderr()).toMatch(/^error: Nothing answers at redis:\/\/127\.0\.0\.1:1: connect ECONNREFUSED/)
  await using wrong = startCli(['verify-backend', 'http://127.0.0.1'])
  expect(await wrong.ended).toBe(1)
  expect(wrong.stderr()).toMatch(/scheme "http:"; there are redis:/)
})

import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test, vi } from 'vitest'
import { openS3Artifacts } from '../../src/backends/s3/artifact-store.ts'
import type { TestOutcome } from '../../src/cli/contract-runner.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { needs } from '../servers/shared.ts'
import { S3_CREDENTIALS, startVersitygw } from '../servers/versitygw.ts'
import { runCli } from './cli.ts'

await needs('versitygw')
const dir = mkdtempSync(join(tmpdir(), 'holdfast-verify-'))
afterAll(() => rmSync(dir, { recursive: true }))
const CREDENTIALS = {
  AWS_ACCESS_KEY_ID: S3_CREDENTIALS.accessKeyId,
  AWS_SECRET_ACCESS_KEY: S3_CREDENTIALS.secretAccessKey,
}
const everythingIn = (folder: string): string[] => readdirSync(folder, { recursive: true, encoding: 'utf8' }).toSorted()

test('a folder that keeps every promise passes, and what was in it is left as it was', async () => {
  const folder = join(dir, 'a?b%')
  mkdirSync(join(folder, 'call/ann'), { recursive: true })
  writeFileSync(join(folder, 'call/ann/x.object'), '{}\n')
  const before = everythingIn(dir)
  const { code, stdout } = await runCli(['verify-backend', `file:${dir}/a%3Fb%25`])
  expect(stdout).toMatch(/\n(\d{2}) passed, 0 failed\n$/)
  expect(code).toBe(0)
  expect(stdout).toMatch(/^artifact store contract: file:/)
  expect(stdout).toContain('\nartifact store contract under faults: file:')
  expect(everythingIn(dir)).toEqual(before)
}, 120_000)

test('a folder that was not there is not there afterwards, and one that can’t be made is an error', async () => {
  const { code } = await runCli(['verify-backend', `file:${dir}/not/yet`, '--json'])
  expect(code).toBe(0)
  expect(existsSync(join(dir, 'not'))).toBe(false)
  writeFileSync(join(dir, 'file'), '')
  const within = await runCli(['verify-backend', `file:${dir}/file/artifacts`])
  expect([within.code, within.stdout]).toEqual([1, ''])
  expect(within.stderr).toMatch(/^error: .*\/file\/artifacts\/\.verify-\w+ can't be made: ENOTDIR/)
}, 120_000)

test('a bucket that keeps every promise passes, and what was in it is left as it was', async () => {
  await using server = await startVersitygw()
  const url = server.url.replace('?', '/pre/fix?')
  for (const [name, value] of Object.entries(CREDENTIALS)) vi.stubEnv(name, value)
  const store = await openS3Artifacts(url, systemClock)
  await store.put('call/ann/x', [Buffer.from('mine')], { maxBytes: 10 })
  const inBucket = () => everythingIn(join(server.data, server.bucket)).filter((name) => name !== '.sgwtmp/multipart')
  const before = inBucket()
  const { code, stdout } = await runCli(['verify-backend', url, '--json'], CREDENTIALS)
  const lines = stdout.trim().split('\n').map((line) => JSON.parse(line) as unknown) // prettier-ignore
  const outcomes = lines.slice(0, -1) as TestOutcome[]
  expect(outcomes.filter(({ ok }) => !ok)).toEqual([])
  expect(lines.at(-1)).toEqual({ passed: outcomes.length, failed: 0 })
  expect(code).toBe(0)
  expect(new Set(outcomes.map(({ suite }) => suite.replace(/:.*/, '')))).toEqual(
    new Set(['artifact store contract', 'artifact store contract under faults']),
  )
  // An unfinished upload would lie below .sgwtmp/multipart.
  expect(inBucket()).toEqual(before)
  expect((await store.head('call/ann/x'))?.size).toBe(4)
  await store.close()

  const wrong = await runCli(['verify-backend', url], { ...CREDENTIALS, AWS_SECRET_ACCESS_KEY: 'wrong' })
  expect([wrong.code, wrong.stdout]).toEqual([1, ''])
  expect(wrong.stderr).toMatch(/can't be verified: .*The secret is wrong \(AWS_SECRET_ACCESS_KEY\), or the region\./)
}, 240_000)

test('where nothing answers it says so', async () => {
  const endpoint = encodeURIComponent('http://127.0.0.1:1')
  const { code, stdout, stderr } = await runCli(
    ['verify-backend', `s3://bucket?region=us-east-1&endpoint=${endpoint}`],
    CREDENTIALS,
  )
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toMatch(/^error: s3:\/\/bucket\?.* can't be verified: .*ECONNREFUSED/)
}, 60_000)

import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { query } from '../servers/postgres.ts'
import { startRabbitmq } from '../servers/rabbitmq.ts'
import { needs, sharedServer } from '../servers/shared.ts'
import { runCli } from './cli.ts'

await needs('postgres', 'rabbitmq')
const { url } = await sharedServer('postgres')
const folder = mkdtempSync(join(tmpdir(), 'holdfast-verify-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('a disk that keeps every promise of SQLite passes, and nothing is left on it', async () => {
  const { code, stdout } = await runCli(['verify-backend', `sqlite:${folder}/a%3Fb.db`])
  expect(stdout).toMatch(/\n(\d{2,}) passed, 0 failed\n$/)
  expect(code).toBe(0)
  expect(stdout).toMatch(/^task store contract: sqlite:/)
  expect(stdout).toContain('\ntask store contract under faults: sqlite:')
  expect(readdirSync(folder)).toEqual([])
}, 120_000)

test('a Postgres that does passes, with its notifications, and its schema is gone', async () => {
  const { code, stdout } = await runCli(['verify-backend', url, '--json'])
  const lines = stdout.trim().split('\n').map((line) => JSON.parse(line) as { suite?: string; failed?: number }) // prettier-ignore
  expect(lines.at(-1)).toMatchObject({ failed: 0 })
  expect(code).toBe(0)
  const suites = new Set(lines.slice(0, -1).map(({ suite }) => suite!.replace(/:.*/, '')))
  expect([...suites]).toEqual(['task store contract', 'task store contract under faults', 'task queue contract'])
  expect(await query(url, "select from pg_namespace where nspname like 'holdfast_verify_%'")).toEqual([])
}, 180_000)

test('a RabbitMQ that does passes', async () => {
  await using server = await startRabbitmq()
  const { code, stdout } = await runCli(['verify-backend', server.url])
  expect(stdout).toMatch(/\n(\d{2}) passed, 0 failed\n$/)
  expect(code).toBe(0)
}, 240_000)

test('where nothing answers it says so', async () => {
  for (const [at, problem] of [
    ['postgres://u:secret@127.0.0.1:1/db', 'Postgres did not carry out'],
    ['amqp://u:secret@127.0.0.1:1', 'There is no connection to amqp://u:***@127.0.0.1:1'],
  ] as const) {
    const { code, stdout, stderr } = await runCli(['verify-backend', at])
    expect([code, stdout, stderr]).toEqual([1, '', expect.stringContaining(problem)])
    expect(stderr).not.toContain('secret')
  }
})

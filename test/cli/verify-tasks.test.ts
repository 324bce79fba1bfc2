import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test, vi } from 'vitest'
import { runContracts, type TestOutcome } from '../../src/cli/contract-runner.ts'
import { verificationOf, type Verification } from '../../src/cli/verify-tasks.ts'
import { query } from '../servers/postgres.ts'
import { startRabbitmq } from '../servers/rabbitmq.ts'
import { needs, sharedServer } from '../servers/shared.ts'
import { runCli } from './cli.ts'

await needs('postgres', 'rabbitmq')
const { url } = await sharedServer('postgres')
const folder = mkdtempSync(join(tmpdir(), 'holdfast-verify-'))
afterAll(() => rmSync(folder, { recursive: true }))

const NOBODY = `?region=us-east-1&endpoint=${encodeURIComponent('http://127.0.0.1:1')}`

/** Runs the first and the last test of each suite: that each passes is what the contracts' own tests are for. */
async function some(verification: Verification): Promise<readonly TestOutcome[]> {
  const outcomes: TestOutcome[] = []
  await runContracts(
    (runner) =>
      verification.declare({
        ...runner,
        describe: (name, body) =>
          runner.describe(name.replace(/:.*/, ''), () => {
            const tests: [string, () => Promise<void>][] = []
            declaring = (...test) => void tests.push(test)
            body()
            expect(tests.length).toBeGreaterThan(8)
            for (const test of [tests[0]!, tests.at(-1)!]) runner.test(...test)
          }),
        test: (name, body) => declaring(name, body),
      }),
    (outcome) => void outcomes.push(outcome),
  )
  expect(outcomes.filter(({ ok }) => !ok)).toEqual([])
  return outcomes
}
let declaring: (name: string, body: () => Promise<void>) => void

test('a disk that keeps every promise of SQLite passes, and nothing is left on it', async () => {
  const { code, stdout } = await runCli(['verify-backend', `sqlite:${folder}/a%3Fb.db`])
  expect(stdout).toMatch(/\n(\d{2,}) passed, 0 failed\n$/)
  expect(code).toBe(0)
  expect(stdout).toMatch(/^task store contract: sqlite:/)
  expect(stdout).toContain('\ntask store contract under faults: sqlite:')
  expect(readdirSync(folder)).toEqual([])
}, 120_000)

test('a folder that was not there is not there afterwards, and one that can’t be made is an error', async () => {
  {
    await using verification = (await verificationOf(`sqlite:${folder}/not/yet/tasks.db`))!
    expect(await some(verification)).toHaveLength(4)
    expect(existsSync(`${folder}/not/yet`)).toBe(true)
  }
  expect(existsSync(`${folder}/not`)).toBe(false)
  writeFileSync(`${folder}/file`, '')
  const { code, stdout, stderr } = await runCli(['verify-backend', `sqlite:${folder}/file/tasks.db`])
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toMatch(/^error: .*\/file\/tasks\.db-verify-\w+ can't be made: ENOTDIR/)
  rmSync(`${folder}/file`)
}, 60_000)

test.each([
  ['dynamodb', ['task store contract', 'task store contract under faults']],
  ['kafka', ['task queue contract']],
  ['sqs', ['task queue contract']],
] as const)(
  'a server of %s is asked all that it must keep',
  async (name, suites) => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', process.env['AWS_ACCESS_KEY_ID'] ?? 'test')
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', process.env['AWS_SECRET_ACCESS_KEY'] ?? 'test')
    await using verification = (await verificationOf((await sharedServer(name)).url))!
    const outcomes = await some(verification)
    expect(outcomes.map(({ suite }) => suite)).toEqual(suites.flatMap((suite) => [suite, suite]))
  },
  120_000,
)

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
    ['postgres://u:secret@127.0.0.1:1/db', '(connect ECONNREFUSED 127.0.0.1:1)'],
    ['kafka://u:secret@127.0.0.1:1', 'Connection to 127.0.0.1:1 failed'],
    [`sqs://${NOBODY}`, 'SQS did not carry out the declaration of its queues: connect ECONNREFUSED'],
    [`dynamodb://${NOBODY}`, 'connect ECONNREFUSED'],
    ['amqp://u:secret@127.0.0.1:1', 'There is no connection to amqp://u:***@127.0.0.1:1'],
  ] as const) {
    const { code, stdout, stderr } = await runCli(['verify-backend', at], {
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'secret',
    })
    expect([code, stdout, stderr]).toEqual([1, '', expect.stringContaining(problem)])
    expect(stderr).not.toContain('secret')
  }
}, 60_000)

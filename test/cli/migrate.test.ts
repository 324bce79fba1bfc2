import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test, vi } from 'vitest'
import { startDynamodb } from '../servers/dynamodb.ts'
import { needs, sharedServer } from '../servers/shared.ts'
import { emptySchema } from '../support/empty-schema.ts'
import { runCli } from './cli.ts'

vi.setConfig({ testTimeout: 60_000 }) // a server is started, and each command is a process
await needs('postgres', 'dynamodb')
const { url } = await sharedServer('postgres')
const folder = mkdtempSync(join(tmpdir(), 'holdfast-migrate-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('a schema of Postgres is checked, made, and left as it is; by several at once too', async () => {
  const env = { HOLDFAST_TASKS_URL: emptySchema(url).url }
  const missing = await runCli(['migrate', '--check'], env)
  expect(missing.code).toBe(1)
  expect(missing.stdout).toMatch(/ is at version 0, and lacks:\n {2}0001-tasks\nRun `holdfast migrate`/)
  expect(JSON.parse((await runCli(['migrate', '--check', '--json'], env)).stdout)).toMatchObject({
    from: 0,
    to: 0,
    pending: ['0001-tasks'],
  })
  const both = await Promise.all([runCli(['migrate'], env), runCli(['migrate'], env)])
  expect(both.map(({ code }) => code)).toEqual([0, 0])
  expect(both.map(({ stdout }) => stdout).join()).toContain('has come from version 0 to 1:\n  0001-tasks\n')
  const again = await runCli(['migrate', '--check'], env)
  expect([again.code, again.stdout]).toEqual([0, expect.stringContaining(' is up to date, at version 1.')])
})

test('a table of DynamoDB is checked and made', async () => {
  await using server = await startDynamodb()
  const env = {
    HOLDFAST_TASKS_URL: server.url.replace('dynamodb://', 'dynamodb://cli-tasks'),
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
  }
  expect((await runCli(['migrate', '--check'], env)).code).toBe(1)
  expect((await runCli(['migrate', '--json'], env)).stdout).toContain('"from":0,"to":1')
  expect((await runCli(['migrate', '--check'], env)).code).toBe(0)
})

test('a file of SQLite is made, and looked at without a change', async () => {
  const file = join(folder, 'tasks.db')
  const checked = await runCli(['migrate', '--check'], { HOLDFAST_DATA_DIR: folder })
  expect([checked.code, checked.stderr]).toEqual([1, expect.stringContaining('There is no file')])
  expect(existsSync(file)).toBe(false)
  writeFileSync(file, '')
  const empty = await runCli(['migrate', '--check'], { HOLDFAST_DATA_DIR: folder })
  expect([empty.code, empty.stdout]).toEqual([1, expect.stringContaining('lacks:\n  0001-tasks')])
  const made = await runCli(['migrate'], { HOLDFAST_DATA_DIR: folder })
  expect([made.code, made.stdout]).toEqual([0, expect.stringContaining('has come from version 0 to 1')])
})

test('a definition may say where tasks lie; its secrets are not printed', async () => {
  const definition = join(folder, 'server.mjs')
  const schema = emptySchema(url)
  const at = new URL(schema.url)
  at.password = 'very-secret'
  writeFileSync(
    definition,
    `export default { kind: 'server' }\nexport const options = { tasks: ${JSON.stringify(at.href)} }\n`,
  )
  const { code, stdout } = await runCli(['migrate', '--definition', definition])
  expect(code).toBe(0)
  expect(stdout).toContain(schema.name)
  expect(stdout).not.toContain('very-secret')
})

test('a server that is not there is an error', async () => {
  const { code, stderr } = await runCli(['migrate'], { HOLDFAST_TASKS_URL: 'postgres://nobody@127.0.0.1:1/none' })
  const reason = 'connect ECONNREFUSED 127.0.0.1:1'
  const said = `error: The tasks URL postgres://***@127.0.0.1:1/none can't be reached: ${reason}. Start this again when it can.\n`
  expect([code, stderr]).toEqual([1, said])
})

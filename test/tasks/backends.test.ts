import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, expect, test, vi } from 'vitest'
import { resolveOptions } from '../../src/compose/options.ts'
import { openTaskQueue } from '../../src/compose/task-queue.ts'
import { openTaskStore } from '../../src/compose/task-store.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { ReferenceTaskStore } from '../../src/testing/reference-task-store.ts'
import { startDynamodb } from '../servers/dynamodb.ts'
import { needs, sharedServer } from '../servers/shared.ts'
import { until } from '../servers/tools.ts'
import { emptySchema } from '../support/empty-schema.ts'

vi.setConfig({ testTimeout: 60_000 }) // a server is started
await needs('postgres', 'dynamodb')
const { url } = await sharedServer('postgres')
const folder = mkdtempSync(join(tmpdir(), 'holdfast-backends-'))
afterAll(() => rmSync(folder, { recursive: true }))
afterEach(() => vi.restoreAllMocks())

const tasksOf = (code: object, env: Record<string, string>): unknown => resolveOptions(code, env).tasks

test('tasks lie where HOLDFAST_TASKS_URL says, else DATABASE_URL, else code; a store of one’s own is not replaced', () => {
  const code = { tasks: 'sqlite:code.db' }
  expect(tasksOf({}, {})).toBe('')
  expect(tasksOf(code, {})).toBe('sqlite:code.db')
  expect(tasksOf(code, { DATABASE_URL: 'postgresql://generic/db' })).toBe('postgresql://generic/db')
  const both = { DATABASE_URL: 'postgres://generic/db', HOLDFAST_TASKS_URL: 'dynamodb://ours' }
  expect(tasksOf(code, both)).toBe('dynamodb://ours')
  const own = new ReferenceTaskStore(new FakeClock())
  expect(tasksOf({ tasks: own }, both)).toBe(own)
})

test('a DATABASE_URL of another scheme is passed over with a warning that does not hold its password', () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  expect(tasksOf({}, { DATABASE_URL: 'mysql://user:secret@db/app' })).toBe('')
  expect(warn.mock.calls.map(([text]) => text)).toEqual([expect.stringMatching(/^DATABASE_URL is ignored.*"mysql:"/)])
  expect(String(warn.mock.calls[0]![0])).not.toContain('secret')
})

test.each([
  ['HOLDFAST_TASKS_URL', 'mysql://user:secret@db/app', 'sqlite:, postgres:// and dynamodb://'],
  ['HOLDFAST_QUEUE_URL', 'nats://user:secret@bus', 'amqp://, amqps://, kafka://, kafkas:// and sqs://'],
])('%s of an unknown scheme is an error that says which there are, without its password', (name, value, schemes) => {
  const refused = (): unknown => resolveOptions({}, { [name]: value })
  expect(refused).toThrow(schemes)
  expect(refused).toThrow(expect.objectContaining({ code: 'invalid_option' }))
  expect(refused).toThrow(expect.not.objectContaining({ message: expect.stringContaining('secret') }))
})

test.each([
  ['postgres://user:secret@127.0.0.1:1/app', 'postgres://user:***@127.0.0.1:1/app'],
  ['postgres://user:secret@localhost:1/app', 'postgres://user:***@localhost:1/app'],
  ['dynamodb://tasks?region=r&endpoint=http%3A%2F%2F127.0.0.1%3A1', 'dynamodb://tasks'],
])(
  'a store that is away when %s is opened ends the start, with an error that says which, why, and what to do',
  async (away, shown) => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', 'test')
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test')
    const opened = openTaskStore(away, systemClock)
    await expect(opened).rejects.toMatchObject({
      code: 'backend_failed',
      message: expect.stringMatching(
        /^The tasks URL .* can't be reached: connect ECONNREFUSED .*:1\. Start this again when it can\.$/,
      ),
    })
    await expect(opened).rejects.toMatchObject({ message: expect.stringContaining(shown) })
    await expect(opened).rejects.toMatchObject({ message: expect.not.stringContaining('secret') })
  },
)

test('a schema that is not there is refused by what needs no right to make it, and the message says what to do', async () => {
  const { url: own } = emptySchema(url)
  await expect(openTaskStore(own, systemClock)).rejects.toMatchObject({
    code: 'backend_mismatch',
    message: expect.stringContaining('holdfast migrate'),
  })
  const store = await openTaskStore(own, systemClock, { forMigration: true })
  await store.migrate()
  await store.close()
  await (await openTaskStore(own, systemClock)).close()
})

test('the same of a table of DynamoDB', async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test')
  await using server = await startDynamodb()
  const at = server.url.replace('dynamodb://', `dynamodb://t${randomUUID()}`)
  await expect(openTaskStore(at, systemClock)).rejects.toMatchObject({
    code: 'backend_mismatch',
    message: expect.stringContaining('holdfast migrate'),
  })
  const store = await openTaskStore(at, systemClock, { forMigration: true })
  await store.migrate()
  await store.close()
  await (await openTaskStore(at, systemClock)).close()
})

test('a file of SQLite is made, and has its schema, when it is opened', async () => {
  const store = await openTaskStore(`sqlite:${folder}/deep/tasks.db`, systemClock)
  expect(await store.migrate({ check: true })).toMatchObject({ pending: [] })
  await store.close()
})

test.each([
  ['Postgres, which rings in every process', url, false],
  ['SQLite, which rings within its process', `sqlite:${folder}/bell.db`, true],
])('`store:` is the bell of %s', async (_what, tasksUrl, isOne) => {
  const events = { onUp() {}, onDown() {}, onRefused() {} }
  const here = await openTaskQueue('store:', tasksUrl, events)
  const there = isOne ? here : await openTaskQueue('store:', tasksUrl, events)
  const queue = randomUUID()
  const heard: string[] = []
  await there.listen([queue], async ({ taskIds }) => void heard.push(...taskIds), { credits: 1 })
  await here.ring(queue, ['a'])
  await until('The bell', 5000, async () => heard.includes('a'))
  await here.close()
  await there.close()
})

test('a queue of an unknown scheme can not be opened', async () => {
  const events = { onUp() {}, onDown() {}, onRefused() {} }
  await expect(openTaskQueue('nats://bus', undefined, events)).rejects.toMatchObject({ code: 'invalid_option' })
})

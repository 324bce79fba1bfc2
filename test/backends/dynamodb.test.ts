import * as library from '@aws-sdk/client-dynamodb'
import { randomUUID } from 'node:crypto'
import { afterAll, expect, test, vi } from 'vitest'
import { DynamodbTable, S } from '../../src/backends/dynamodb/table.ts'
import { tableInput } from '../../src/backends/dynamodb/schema.ts'
import { openDynamodbTasks, type DynamodbTaskStore } from '../../src/backends/dynamodb/task-store.ts'
import { parseDynamodbUrl } from '../../src/backends/dynamodb/url.ts'
import { systemClock } from '../../src/ports/clock.ts'
import type { NewTask, SweepOptions } from '../../src/ports/task-store.ts'
import { startDynamodb } from '../servers/dynamodb.ts'
import { needs } from '../servers/shared.ts'
import { newTask as anyTask } from '../support/new-task.ts'

vi.stubEnv('AWS_ACCESS_KEY_ID', 'test')
vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test')
await needs('dynamodb')
const server = await startDynamodb()
afterAll(() => server[Symbol.asyncDispose]())

const bytes = (text: string): Uint8Array => Buffer.from(text)
const urlOf = (table: string): string =>
  `${server.url.replace('dynamodb://', `dynamodb://${table}`)}&commandTimeoutMs=2000`
const SWEEP: SweepOptions = {
  limit: 100,
  expiredError: bytes('{}'),
  lostError: bytes('{}'),
  expiredAnswer: bytes('null'),
  crashBackoffMs: 1,
  overdueMs: 3_600_000,
}
const newTask = (more: Partial<NewTask> = {}): NewTask =>
  anyTask({ owner: 'owner', queue: 'queue', maxCrashes: 2, ...more })

async function open(table = `t${randomUUID()}`): Promise<DynamodbTaskStore & AsyncDisposable> {
  const store = await openDynamodbTasks(urlOf(table), systemClock)
  await store.migrate()
  return Object.assign(store, { [Symbol.asyncDispose]: () => store.close() })
}
/** One command to the server itself. */
async function raw<T>(act: (client: library.DynamoDBClient) => Promise<T>): Promise<T> {
  const client = new library.DynamoDBClient({ region: 'us-east-1', endpoint: server.endpoint })
  try {
    return await act(client)
  } finally {
    client.destroy()
  }
}

test('two processes may create the table at once; a check changes nothing', async () => {
  const table = `t${randomUUID()}`
  const stores = await Promise.all([1, 2].map(() => openDynamodbTasks(urlOf(table), systemClock)))
  const [one, two] = stores as [DynamodbTaskStore, DynamodbTaskStore]
  expect(await one.migrate({ check: true })).toMatchObject({
    from: 0,
    to: 0,
    pending: [expect.stringContaining('table')],
  })
  const done = await Promise.all([one.migrate(), two.migrate()])
  expect(done.map(({ to }) => to)).toEqual([1, 1])
  expect(await one.migrate({ check: true })).toEqual({ from: 1, to: 1, pending: [] })
  await Promise.all(stores.map((store) => store.close()))
})

test('a table that differs is refused, with what differs', async () => {
  const table = `t${randomUUID()}`
  const input = tableInput(table)
  const [work, ...rest] = input.GlobalSecondaryIndexes!
  const without = rest.filter(({ IndexName }) => IndexName !== 'open')
  await raw((client) =>
    client.send(
      new library.CreateTableCommand({
        ...input,
        AttributeDefinitions: input.AttributeDefinitions!.filter(
          ({ AttributeName }) => !AttributeName!.startsWith('open'),
        ),
        GlobalSecondaryIndexes: [{ ...work!, Projection: { ProjectionType: 'KEYS_ONLY' } }, ...without],
      }),
    ),
  )
  const store = await openDynamodbTasks(urlOf(table), systemClock)
  await expect(store.migrate()).rejects.toMatchObject({ code: 'backend_mismatch' })
  await expect(store.migrate()).rejects.toThrow(
    /the projection of the index work is KEYS_ONLY, and INCLUDE is needed; the key of the index open is not there/,
  )
  await store.close()
})

test('what was written outlives the server, and a server that is away is an error within its time', async () => {
  await using own = await startDynamodb()
  const url = `${own.url.replace('dynamodb://', 'dynamodb://tasks')}&commandTimeoutMs=3000`
  const store = await openDynamodbTasks(url, systemClock)
  await store.migrate()
  const task = newTask()
  await store.create(task)
  await own.process.kill()
  await expect(store.get(task.id, 'owner')).rejects.toMatchObject({ code: 'backend_failed' })
  await own.process.start()
  expect((await store.get(task.id, 'owner'))?.state).toBe('ready')
  own.process.pause()
  const startedMs = performance.now()
  await expect(store.get(task.id, 'owner')).rejects.toMatchObject({ code: 'backend_failed' })
  expect(performance.now() - startedMs).toBeLessThan(6000)
  own.process.resume()
  await store.close()
}, 60_000)

test('a sweeper that has just started takes no lease before it has watched it for its length', async () => {
  const table = `t${randomUUID()}`
  await using store = await open(table)
  await store.create(newTask())
  const request = { worker: 'w', token: randomUUID(), queue: 'queue', tools: ['work'], handlerRevisions: [], limit: 1 }
  await store.claim({ ...request, leaseMs: 50 })
  await new Promise((resolve) => setTimeout(resolve, 100))
  await using late = await open(table)
  expect((await late.sweep(SWEEP)).lost).toBe(0)
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect((await late.sweep(SWEEP)).lost).toBe(1)
})

test('an idempotency key whose task was purged without it serves a new task', async () => {
  const table = `t${randomUUID()}`
  await using store = await open(table)
  const task = newTask({ idempotencyKey: 'key' })
  await store.create(task)
  await raw((client) =>
    client.send(new library.DeleteItemCommand({ TableName: table, Key: { pk: S(`t#${task.id}`), sk: S('t') } })),
  )
  const next = newTask({ idempotencyKey: 'key' })
  expect(await store.create(next)).toMatchObject({ created: true, task: { id: next.id } })
})

test('a doorbell’s hint finds a task that the index does not have yet; of another queue or tool it finds none', async () => {
  const table = `t${randomUUID()}`
  await using store = await open(table)
  const task = newTask()
  await store.create(task)
  const Key = { pk: S(`t#${task.id}`), sk: S('t') }
  await raw((client) =>
    client.send(new library.UpdateItemCommand({ TableName: table, Key, UpdateExpression: 'REMOVE workKey' })),
  )
  const request = { worker: 'w', queue: 'queue', tools: ['work'], handlerRevisions: [], limit: 1, leaseMs: 60_000 }
  const claim = (more: object) => store.claim({ ...request, token: randomUUID(), ...more })
  expect(await claim({})).toEqual([])
  expect(await claim({ ids: [task.id], tools: ['other'] })).toEqual([])
  expect(await claim({ ids: [task.id], queue: 'other' })).toEqual([])
  expect(await claim({ ids: [randomUUID(), task.id] })).toMatchObject([{ id: task.id, fence: 1 }])
})

/** A table whose client answers as it is told. */
function scripted(answers: (() => unknown)[]): { table: DynamodbTable; asked(): number } {
  let asked = 0
  class DynamoDBClient {
    async send(): Promise<unknown> {
      return answers[Math.min(asked++, answers.length - 1)]!()
    }
    destroy(): void {}
  }
  const address = parseDynamodbUrl('dynamodb://table?region=us-east-1')
  const table = new DynamodbTable({ ...library, DynamoDBClient } as unknown as typeof library, address)
  return { table, asked: () => asked }
}
const throttled = (): never => {
  throw Object.assign(new Error('slow down'), { name: 'ThrottlingException' })
}

test('what was throttled is sent again; for ever throttled it is an error', async () => {
  const some = scripted([throttled, throttled, () => ({ Item: { pk: S('a') } })])
  expect(await some.table.get('a', 'b')).toEqual({ pk: S('a') })
  expect(some.asked()).toBe(3)
  const all = scripted([throttled])
  await expect(all.table.get('a', 'b')).rejects.toMatchObject({ code: 'backend_failed' })
  expect(all.asked()).toBe(8)
})

test('what may have been carried out is not sent again by itself', async () => {
  const reset = scripted([
    () => {
      throw Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
    },
  ])
  const change = { set: { a: S('b') }, condition: 'attribute_exists(pk)' }
  await expect(reset.table.update('a', 'b', change)).rejects.toMatchObject({ code: 'backend_failed' })
  expect(reset.asked()).toBe(1)
})

test('keys and items that were left out of a batch are asked for again', async () => {
  const left = { table: { Keys: [{ pk: S('2'), sk: S('t') }] } }
  const { table } = scripted([
    () => ({ Responses: { table: [{ pk: S('1') }] }, UnprocessedKeys: left }),
    () => ({ Responses: { table: [{ pk: S('2') }] } }),
  ])
  expect(await table.getMany(['1', '2'].map((pk) => ({ pk, sk: 't' })))).toEqual([{ pk: S('1') }, { pk: S('2') }])
})

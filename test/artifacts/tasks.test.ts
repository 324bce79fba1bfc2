import { afterEach, beforeEach, expect, test } from 'vitest'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as z from 'zod'
import { readKey } from '../../src/artifacts/keys.ts'
import { createKeyRing, generateKeys } from '../../src/kernel/key-ring.ts'
import { openSqlite } from '../../src/backends/sqlite/task-store.ts'
import { MemoryArtifactStore } from '../../src/backends/memory/artifact-store.ts'
import { defineServer, defineTool } from '../../src/index.ts'
import { systemClock } from '../../src/ports/clock.ts'
import type { TaskAdmin, TaskStore } from '../../src/ports/task-store.ts'
import { connect } from '../../src/testing/index.ts'

let dir: string
let tasks: TaskStore & TaskAdmin
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'holdfast-artifacts-'))
  tasks = await openSqlite(`sqlite:${dir}/tasks.db`)
})
afterEach(async () => {
  await tasks.close()
  rmSync(dir, { recursive: true })
})

const ring = generateKeys()
const factsOf = (key: string) => readKey(key, createKeyRing(ring))!

let runs = 0
const report = defineTool({
  name: 'report',
  description: 'Writes a report in two parts, and fails between them the first time',
  task: { maxAttempts: 3, maxBackoffMs: 1, retryable: () => true },
  async run(_args, ctx) {
    const first = await ctx.step('first', () => ctx.artifacts.put('one', { name: 'one.txt' }))
    await ctx.artifacts.put('dropped', { name: 'dropped.txt' })
    if (runs++ === 0) throw new Error('Not yet.')
    return [first, await ctx.artifacts.put('two', { name: 'two.txt' })]
  },
})
const big = defineTool({
  name: 'big',
  description: 'Answers with more than fits',
  task: true,
  run: () => 'x'.repeat(300 * 1024),
})
const review = defineTool({
  name: 'review',
  description: 'Asks about a draft that nothing else names',
  task: true,
  async run(_args, ctx) {
    const { uri } = await ctx.artifacts.put('draft', { name: 'draft.txt' })
    const { action } = await ctx.elicit('keep', { message: `Read ${uri}. Keep it?`, schema: z.object({}) })
    return action
  },
})
const server = defineServer({ name: 'reports', version: '1.0.0', tools: [report, big, review] })
type Link = { uri: string; name: string; size: number }

test('the artifacts of a task are named on its record, whichever attempt wrote them, and read by its owner alone', async () => {
  runs = 0
  const store = new MemoryArtifactStore(systemClock)
  await using client = await connect(server, {
    principal: { subject: 'ann' },
    runtime: { artifacts: store, tasks, keys: ring },
  })
  const [one, two] = (await client.callTool('report')).content as unknown as [Link, Link]
  expect([one.name, two.name]).toEqual(['one.txt', 'two.txt'])
  expect(await client.readResource(one.uri)).toMatchObject([{ text: 'one' }])
  expect(await client.readResource(two.uri)).toMatchObject([{ text: 'two' }])
  const keys = (await store.list('')).objects.map(({ key }) => key)
  const written = await Promise.all(
    keys.map(async (key) => ({ key, ...factsOf(key), name: (await store.head(key))!.name })),
  )
  expect(written.map(({ name }) => name).toSorted()).toEqual(['dropped.txt', 'dropped.txt', 'one.txt', 'two.txt'])
  const [id] = [...new Set(written.map(({ taskId }) => taskId!))] as [string]
  expect(`${one.uri} ${two.uri} ${keys.join(' ')}`).not.toContain(id)
  const named = written.filter(({ name }) => name !== 'dropped.txt')
  expect([...new Set(await tasks.namedArtifacts([id]))].toSorted()).toEqual(named.map(({ key }) => key).toSorted())
  const [fenceOfOne, fenceOfTwo] = ['one.txt', 'two.txt'].map((name) => named.find((one) => one.name === name)!.fence!)
  expect(fenceOfOne).toBeLessThan(fenceOfTwo!)
  await using other = await connect(server, {
    principal: { subject: 'bob' },
    runtime: { artifacts: store, worker: false, keys: ring },
  })
  await expect(other.readResource(one.uri)).rejects.toMatchObject({ data: { code: 'resource_not_found' } })
})

test('an artifact that a question alone names is named by the record of its task, while it waits and after', async () => {
  const store = new MemoryArtifactStore(systemClock)
  await using client = await connect(server, {
    capabilities: { extensions: { 'io.modelcontextprotocol/tasks': {} }, elicitation: { form: {} } },
    runtime: { artifacts: store, tasks },
  })
  const { taskId } = await client.request('tools/call', { name: 'review', arguments: {} })
  const status = async () => (await client.request('tasks/get', { taskId })).status
  await expect.poll(status, { timeout: 5_000 }).toBe('input_required')
  const { key } = (await store.list('task/')).objects[0]!
  expect(await tasks.namedArtifacts([taskId as string])).toEqual([key])
  await client.request('tasks/update', {
    taskId,
    inputResponses: { keep: { action: 'accept', content: {} } },
  })
  await expect.poll(status, { timeout: 5_000 }).toBe('completed')
  expect(await tasks.namedArtifacts([taskId as string])).toEqual([key])
})

test('a big result of a task is offloaded under its task, and named by its record', async () => {
  const store = new MemoryArtifactStore(systemClock)
  await using client = await connect(server, { runtime: { artifacts: store, tasks, keys: ring } })
  const [, link] = (await client.callTool('big')).content as unknown as [unknown, Link]
  expect(link.size).toBe(300 * 1024)
  const { key } = (await store.list('task/')).objects[0]!
  expect(await tasks.namedArtifacts([factsOf(key).taskId!])).toEqual([key])
  expect(((await client.readResource(link.uri))[0] as { text: string }).text).toHaveLength(300 * 1024)
})

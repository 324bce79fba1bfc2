import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test, vi } from 'vitest'
import * as z from 'zod'
import { generateKeys, type RuntimeOptions } from '../../src/compose/options.ts'
import { createRuntime } from '../../src/compose/runtime.ts'
import type { Runtime } from '../../src/compose/runtime-types.ts'
import { defineServer } from '../../src/define/server.ts'
import { defineTool } from '../../src/define/tool.ts'
import { ownerOf } from '../../src/kernel/owner.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { ReferenceTaskStore } from '../../src/testing/reference-task-store.ts'
import { toolError } from '../../src/errors/holdfast-error.ts'
import { connect } from '../../src/testing/index.ts'
import type { TaskEvent } from '../../src/tasks/task-events.ts'
import { sharedServer } from '../servers/shared.ts'

const redis = await sharedServer('redis')
const counts = { splits: 0 }

const word = defineTool({
  name: 'word',
  description: 'Repeats a word',
  input: z.object({ text: z.string() }),
  task: true,
  run: ({ text }) => text,
})
const nap = defineTool({
  name: 'nap',
  description: 'Takes longer than it may',
  task: { ttlMs: 400 },
  run: async (_args, ctx) => {
    await ctx.sleep('nap', 60_000)
    return 'awake'
  },
})
const split = defineTool({
  name: 'split',
  description: 'Has each word repeated, by a task of its own, and fails once before it ends',
  input: z.object({ text: z.string() }),
  task: { retryable: () => true, maxBackoffMs: 1 },
  async run({ text }, ctx) {
    const ids: string[] = []
    for (const [index, part] of text.split(' ').entries())
      ids.push((await ctx.tasks.create(`word ${index}`, 'word', { text: part })).id)
    if (++counts.splits === 1) throw toolError('not yet')
    return ids.join(' ')
  },
})
const wrong = defineTool({
  name: 'wrong',
  description: 'Starts what it can not',
  input: z.object({ tool: z.string() }),
  task: true,
  run: async ({ tool }, ctx) => {
    await ctx.tasks.create('wrong', tool, { text: 1 }).catch((error: Error) => {
      throw toolError(error.message)
    })
    return 'started'
  },
})
const plain = defineTool({
  name: 'plain',
  description: 'Starts a task from a call that is none',
  input: z.object({ text: z.string() }),
  run: async ({ text }, ctx) => (await ctx.tasks.create('word', 'word', { text })).id,
})
const server = defineServer({ name: 'words', version: '1.0.0', tools: [word, nap, split, wrong, plain] })

const closing: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

const kinds: Record<string, () => Promise<{ here: Runtime; there: Runtime }>> = {
  'one runtime': async () => {
    const runtime = await open({ worker: { pollMs: 100 } })
    return { here: runtime, there: runtime }
  },
  'a node and a worker, over Redis': async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-events-'))
    closing.push(() => rmSync(folder, { recursive: true, force: true }))
    const shared = { state: redis.url, tasks: `sqlite:${join(folder, 'tasks.db')}`, keys: generateKeys() }
    const there = await open({ ...shared, worker: { pollMs: 100 } })
    const here = await open({ ...shared, worker: false })
    await vi.waitUntil(() => here.isReady && there.isReady, 10_000)
    return { here, there }
  },
}
async function open(options: RuntimeOptions): Promise<Runtime> {
  const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent', ...options })
  closing.push(() => runtime.close())
  return runtime
}

describe.each(Object.entries(kinds))('%s', (_kind, start) => {
  /** Follows the tasks of one runtime while another works. */
  async function follow(): Promise<{ here: Runtime; events: TaskEvent[]; last(id: string): TaskEvent | undefined }> {
    const { here } = await start()
    const events: TaskEvent[] = []
    let gaps = 0
    await here.tasks.subscribe(
      (event) => events.push(event),
      () => gaps++,
    )
    await vi.waitUntil(() => gaps > 0, 10_000) // it is in force
    return { here, events, last: (id) => events.findLast(({ task }) => task.id === id) }
  }

  test('who subscribes hears of each task to its end, with its result and whom it belongs to', async () => {
    const { here, events, last } = await follow()
    const principal = { issuer: 'https://issuer.example', subject: 'ann', scopes: ['words'] }
    const mine = await here.tasks.create('word', { text: 'mine' })
    const anns = await here.tasks.create('word', { text: 'anns' }, { principal })
    const cancelled = await here.tasks.create('word', { text: 'never' }, { delayMs: 60_000 })
    await here.tasks.cancel(cancelled.id)
    const tooLong = await here.tasks.create('nap', {})
    await vi.waitUntil(
      () => [mine, anns, cancelled, tooLong].every(({ id }) => last(id)?.task.status.endsWith('ed') === true),
      { timeout: 15_000 },
    )
    expect(last(mine.id)).toMatchObject({
      task: { status: 'completed', tool: 'word', result: { content: [{ text: 'mine' }] } },
      principal: { issuer: 'local', subject: 'server' },
    })
    expect(last(anns.id)).toMatchObject({ task: { status: 'completed' }, principal })
    expect(last(cancelled.id)).toMatchObject({ task: { status: 'cancelled' } })
    expect(last(tooLong.id)).toMatchObject({ task: { status: 'failed', error: { code: -32603 } } })
    for (const id of new Set(events.map(({ task }) => task.id))) {
      const versions = events.flatMap(({ task }) => (task.id === id ? [task.version] : []))
      expect(versions).toEqual(versions.toSorted((a, b) => a - b))
    }
  })

  test('a tool starts tasks once, however often it runs again; they belong to its caller', async () => {
    counts.splits = 0
    const { here, last } = await follow()
    const principal = { issuer: 'https://issuer.example', subject: 'bob', scopes: [] }
    const { id } = await here.tasks.create('split', { text: 'a b' }, { principal })
    await vi.waitUntil(() => last(id)?.task.status === 'completed', { timeout: 15_000 })
    expect(counts.splits).toBe(2)
    const [{ text = '' } = {}] = last(id)!.task.result!['content'] as { text?: string }[]
    const ids = text.split(' ')
    expect(ids).toHaveLength(2)
    await vi.waitUntil(() => ids.every((each) => last(each)?.task.status === 'completed'), { timeout: 15_000 })
    expect(last(ids[1]!)).toMatchObject({ task: { result: { content: [{ text: 'b' }] } }, principal })
    expect(await here.tasks.get(ids[0]!)).toBeUndefined()
    expect(await here.tasks.get(ids[0]!, principal)).toMatchObject({ status: 'completed' })
  })
})

test('who has unsubscribed hears nothing more, and another one still does', async () => {
  const runtime = await open({ worker: { pollMs: 100 } })
  const heard: string[] = []
  const unsubscribe = await runtime.tasks.subscribe(() => heard.push('one'))
  await runtime.tasks.subscribe(({ task }) => heard.push(task.status))
  await unsubscribe()
  await unsubscribe()
  await runtime.tasks.create('word', { text: 'x' })
  await vi.waitUntil(() => heard.includes('completed'), 10_000)
  expect(heard).not.toContain('one')
})

test('watch tells of one task, until its end', async () => {
  const runtime = await open({ worker: false })
  const { id } = await runtime.tasks.create('word', { text: 'x' })
  let changes = 0
  const stop = runtime.tasks.watch(id, { onChange: () => void changes++ })
  await vi.waitUntil(() => changes > 0, 10_000)
  await runtime.startWorker({ pollMs: 100 })
  await vi.waitUntil(async () => (await runtime.tasks.get(id))?.status === 'completed', 10_000)
  await vi.waitUntil(() => changes > 1, 10_000)
  stop()
  const before = changes
  await runtime.tasks.cancel(id)
  await sleep(100)
  expect(changes).toBe(before)
})

test.each([
  ['nothing', 'no tool "nothing" that runs as a task'],
  ['plain', 'no tool "plain" that runs as a task'],
  ['word', 'do not fit: text'],
])('a tool that starts %j is told why it can not', async (tool, reason) => {
  const runtime = await open({ worker: { pollMs: 100 } })
  const { id } = await runtime.tasks.create('wrong', { tool })
  await vi.waitUntil(async () => (await runtime.tasks.get(id))?.status === 'completed', 10_000)
  const { result } = (await runtime.tasks.get(id))!
  expect(result).toEqual({ content: [{ type: 'text', text: expect.stringContaining(reason) }], isError: true })
})

test.each(['2026-07-28', '2025-06-18'] as const)(
  'a call of %s that is no task starts one, which is its caller’s, runs, and is another for each call',
  async (revision) => {
    const store = new ReferenceTaskStore(systemClock)
    await using client = await connect(server, {
      revision,
      principal: { subject: 'ann' },
      runtime: { tasks: store, worker: { pollMs: 100 } },
    })
    const ids = [await client.callTool('plain', { text: 'one' }), await client.callTool('plain', { text: 'two' })].map(
      ({ text }) => text,
    )
    expect(new Set(ids).size).toBe(2)
    const rows = () => Promise.all(ids.map((id) => store.find(id)))
    await vi.waitUntil(async () => (await rows()).every((row) => row?.state === 'completed'), 10_000)
    const owner = ownerOf({ issuer: 'https://issuer.test', subject: 'ann', scopes: [] })
    expect((await rows()).map((row) => [row!.tool, row!.owner])).toEqual([
      ['word', owner],
      ['word', owner],
    ])
  },
)

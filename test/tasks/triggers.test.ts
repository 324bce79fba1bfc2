import fc from 'fast-check'
import { afterEach, expect, test, vi } from 'vitest'
import * as z from 'zod'
import { defineTool } from '../../src/define/tool.ts'
import { defineTrigger, resolveTrigger, type TriggerDefinition } from '../../src/define/trigger.ts'
import { HoldfastError } from '../../src/errors/holdfast-error.ts'
import type { JsonObject } from '../../src/kernel/protocol.ts'
import type { Clock } from '../../src/ports/clock.ts'
import { systemClock } from '../../src/ports/clock.ts'
import type { StartTask } from '../../src/tasks/trigger-call.ts'
import { Triggers } from '../../src/tasks/triggers.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { TestSource } from './message-source.ts'

const ingest = defineTool({
  name: 'ingest',
  description: 'Takes a document in',
  input: z.object({ title: z.string() }),
  task: true,
  run: () => 'done',
})
const bounds = { maxJsonDepth: 10, maxJsonElements: 100, maxStringBytes: 1000 }

/** Tasks by key, as a store keeps them. */
class Tasks {
  readonly byKey = new Map<string, { args: JsonObject; subject: string; starts: number }>()
  fault: (key: string) => 'before' | 'after' | Error | undefined = () => undefined

  readonly start: StartTask = async (_tool, args, { idempotencyKey, principal }) => {
    const fault = this.fault(idempotencyKey)
    if (fault === 'before') throw new HoldfastError('backend_failed', 'The store is away.')
    if (fault instanceof Error) throw fault
    const known = this.byKey.get(idempotencyKey)
    if (known !== undefined && JSON.stringify(known.args) !== JSON.stringify(args))
      throw new HoldfastError('idempotency_key_reused')
    if (known === undefined) this.byKey.set(idempotencyKey, { args, subject: principal.subject, starts: 1 })
    else known.starts++
    if (fault === 'after') throw new HoldfastError('backend_failed', 'The reply was lost.')
  }
}

const running: Triggers[] = []
afterEach(async () => {
  for (const triggers of running.splice(0)) await triggers.close(0)
})

interface Run {
  triggers: Triggers
  sources: Map<string, TestSource>
  counts: Record<string, number>
  failures: string[]
}
async function run(definitions: readonly TriggerDefinition[], tasks: Tasks, clock: Clock = systemClock): Promise<Run> {
  const sources = new Map<string, TestSource>()
  const counts: Record<string, number> = {}
  const failures: string[] = []
  const triggers = new Triggers({
    triggers: definitions.map((definition) => resolveTrigger(definition, [ingest])),
    startTask: tasks.start,
    openSource: async (url, _trigger, events) => {
      const source = new TestSource(events)
      sources.set(url, source)
      return source
    },
    clock,
    telemetry: {
      count: (counter, label) => (counts[`${counter} ${label}`] = (counts[`${counter} ${label}`] ?? 0) + 1),
      failure: (_operation, message, error) => failures.push(`${message} ${(error as Error).message}`),
      sourceChanged: () => undefined,
    },
    bounds,
  })
  running.push(triggers)
  await triggers.start()
  if (clock instanceof FakeClock) await clock.advance(0) // it sleeps until the first time
  return { triggers, sources, counts, failures }
}
const orders = defineTrigger({ name: 'orders', tool: 'ingest', from: 'sqs://orders' })
const sourceOf = ({ sources }: Run, url = 'sqs://orders'): TestSource => sources.get(url)!

test('a message becomes a task with its id as the key, and is acknowledged then', async () => {
  const tasks = new Tasks()
  const started = await run([orders], tasks)
  sourceOf(started).send('{"title":"a"}', 'm1')
  await vi.waitUntil(() => sourceOf(started).acknowledged.length === 1)
  expect([...tasks.byKey]).toEqual([['trigger/orders/m1', { args: { title: 'a' }, subject: 'orders', starts: 1 }]])
  expect(started.counts).toEqual({ 'trigger_tasks orders': 1 })
})

test('of a message that comes many times, with whatever failures of store and broker, one task is made', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ id: fc.integer({ min: 0, max: 5 }), extra: fc.nat(2) }), { minLength: 1, maxLength: 12 }),
      fc.array(fc.constantFrom('before' as const, 'after' as const, undefined), { maxLength: 20 }),
      async (sent, faults) => {
        const tasks = new Tasks()
        const left = [...faults]
        tasks.fault = () => left.shift()
        const clock = new FakeClock()
        const one = await run([orders], tasks, clock)
        const two = await run([orders], tasks, clock)
        for (const { id, extra } of sent)
          for (let copy = 0; copy <= extra; copy++)
            sourceOf(copy % 2 === 0 ? one : two).send(JSON.stringify({ title: `t${id}` }), `m${id}`)
        const all = sent.reduce((sum, { extra }) => sum + extra + 1, 0)
        const acknowledged = () => sourceOf(one).acknowledged.length + sourceOf(two).acknowledged.length
        for (let turn = 0; acknowledged() < all && turn < 500; turn++) await clock.advance(1000)
        expect(acknowledged()).toBe(all)
        const ids = [...new Set(sent.map(({ id }) => id))].toSorted()
        expect([...tasks.byKey.keys()].toSorted()).toEqual(ids.map((id) => `trigger/orders/m${id}`))
      },
    ),
    { numRuns: 60 },
  )
})

test('while the store is away nothing is acknowledged, and no more is taken than may be under way', async () => {
  const tasks = new Tasks()
  let isAway = true
  tasks.fault = () => (isAway ? 'before' : undefined)
  const clock = new FakeClock()
  const narrow = defineTrigger({ name: 'narrow', tool: 'ingest', from: 'sqs://orders', concurrency: 2 })
  const started = await run([narrow], tasks, clock)
  const source = sourceOf(started)
  for (let index = 0; index < 5; index++) source.send('{"title":"a"}', `m${index}`)
  await clock.advance(0)
  await clock.advance(60_000)
  expect([source.underWay, source.acknowledged.length, source.waiting.length]).toEqual([2, 0, 3])
  expect(started.counts['trigger_retries narrow']).toBeGreaterThan(2)
  expect(started.failures).toHaveLength(1) // told once
  isAway = false
  await clock.advance(60_000)
  expect(source.acknowledged).toHaveLength(5)
  expect(tasks.byKey.size).toBe(5)
})

test('a backlog that is full slows the messages down, as a store that is away does', async () => {
  const tasks = new Tasks()
  let isFull = true
  tasks.fault = () => (isFull ? new HoldfastError('overloaded') : undefined)
  const clock = new FakeClock()
  const started = await run([orders], tasks, clock)
  sourceOf(started).send('{"title":"a"}', 'm1')
  await clock.advance(20_000)
  expect(sourceOf(started).aside).toEqual([])
  isFull = false
  await clock.advance(20_000)
  expect(sourceOf(started).acknowledged).toHaveLength(1)
})

test.each([
  ['not JSON', 'm1', 'not JSON'],
  ['', 'm1', 'empty'],
  ['[]', 'm1', 'the arguments are no object'],
  ['null', 'm1', 'the arguments are no object'],
  ['{"title":1}', 'm1', 'the arguments do not fit: title'],
  [`{"title":"${'x'.repeat(2000)}"}`, 'm1', 'longer than 1000 bytes'],
  [`${'['.repeat(20)}${']'.repeat(20)}`, 'm1', 'deeper than 10'],
  ['{"title":"a"}', undefined, 'it has no id'],
  ['{"title":"a"}', '', 'it has no id'],
])('a bad message (%j, id %j) is put aside with the reason, and the next one goes on', async (body, id, reason) => {
  const tasks = new Tasks()
  const started = await run([orders], tasks)
  const source = sourceOf(started)
  source.send(body, id)
  source.send('{"title":"good"}', 'm2')
  await vi.waitUntil(() => source.acknowledged.length === 1)
  expect(source.aside).toEqual([{ message: expect.anything(), reason: expect.stringContaining(reason) }])
  expect([...tasks.byKey.keys()]).toEqual(['trigger/orders/m2'])
  expect(started.counts).toEqual({ 'trigger_tasks orders': 1, 'trigger_refusals orders': 1 })
  expect(started.failures).toEqual([expect.stringContaining('of the trigger orders')])
})

test('a message that the engine refuses for good is put aside', async () => {
  const tasks = new Tasks()
  tasks.fault = (key) => (key.endsWith('m1') ? new HoldfastError('invalid_params', 'It is too big.') : undefined)
  const started = await run([orders], tasks)
  sourceOf(started).send('{"title":"a"}', 'm1')
  sourceOf(started).send('{"title":"a"}', 'm2')
  await vi.waitUntil(() => sourceOf(started).acknowledged.length === 1)
  expect(sourceOf(started).aside.map(({ reason }) => reason)).toEqual(['It is too big.'])
})

test('a message whose id has a task with other arguments is acknowledged: it has its task', async () => {
  const tasks = new Tasks()
  const started = await run([orders], tasks)
  sourceOf(started).send('{"title":"first"}', 'm1')
  sourceOf(started).send('{"title":"second"}', 'm1')
  await vi.waitUntil(() => sourceOf(started).acknowledged.length === 2)
  expect([...tasks.byKey.values()].map(({ args }) => args)).toEqual([{ title: 'first' }])
})

test('id and toArguments of a trigger make of a message what the tool takes; the principal is who the task belongs to', async () => {
  const tasks = new Tasks()
  const principal = { issuer: 'https://issuer.example', subject: 'ann', scopes: [] }
  const mapped = defineTrigger({
    name: 'mapped',
    tool: 'ingest',
    from: () => 'amqp://broker/documents',
    principal,
    id: ({ headers }) => headers['document']!,
    toArguments: async ({ body, headers }) => ({
      title: `${Buffer.from(body).toString()} ${headers['kind']}`,
      no: undefined,
    }),
  })
  const started = await run([mapped], tasks)
  const source = sourceOf(started, 'amqp://broker/documents')
  source.send('text', undefined, { document: 'ä'.repeat(3), kind: 'b' })
  source.send('text', 'ignored', { kind: 'b' })
  await vi.waitUntil(() => source.acknowledged.length === 1 && source.aside.length === 1)
  const [[key, task] = []] = [...tasks.byKey]
  expect(key).toMatch(/^trigger\/mapped\/sha256:[0-9a-f]{64}$/)
  expect(task).toMatchObject({ args: { title: 'text b' }, subject: 'ann' })
  expect(source.aside[0]!.reason).toContain('it has no id')
})

test.each([
  [
    () => {
      throw new Error('no such field')
    },
    'no such field',
  ],
  [() => undefined, 'the arguments are no object'],
])('what toArguments throws, or fails to give, makes a bad message: %s', async (toArguments, reason) => {
  const started = await run(
    [defineTrigger({ name: 'x', tool: 'ingest', from: 'sqs://orders', toArguments })],
    new Tasks(),
  )
  sourceOf(started).send('{}', 'm1')
  await vi.waitUntil(() => sourceOf(started).aside.length === 1)
  expect(sourceOf(started).aside[0]!.reason).toContain(reason)
})

test('at the end no more is taken, what is being written is acknowledged, and what waits for the store goes back', async () => {
  const tasks = new Tasks()
  tasks.fault = (key) => (key.endsWith('waits') ? 'before' : undefined)
  let commit: () => void = () => undefined
  const committing = new Promise<void>((resolve) => (commit = resolve))
  const { start } = tasks
  const slow: StartTask = async (...call) => {
    if (call[2].idempotencyKey.endsWith('slow')) await committing
    return start(...call)
  }
  const started = await run([orders], Object.assign(tasks, { start: slow }))
  const source = sourceOf(started)
  source.send('{"title":"a"}', 'slow')
  source.send('{"title":"a"}', 'waits')
  await vi.waitUntil(() => (started.counts['trigger_retries orders'] ?? 0) > 0)
  const closed = started.triggers.close(10_000)
  source.send('{"title":"a"}', 'late')
  commit()
  await closed
  expect(source.isClosed).toBe(true)
  expect(source.acknowledged.map(({ id }) => id)).toEqual(['slow'])
  expect(source.waiting.map(({ id }) => id).toSorted()).toEqual(['late', 'waits'])
})

test('a URL that is missing is told at the start, and what was opened before is closed', async () => {
  const opened: TestSource[] = []
  const missing = defineTrigger({ name: 'missing', tool: 'ingest', from: () => undefined })
  const triggers = new Triggers({
    triggers: [orders, missing].map((definition) => resolveTrigger(definition, [ingest])),
    startTask: new Tasks().start,
    openSource: async (_url, _trigger, events) => {
      opened.push(new TestSource(events))
      return opened.at(-1)!
    },
    clock: systemClock,
    telemetry: { count: () => undefined, failure: () => undefined, sourceChanged: () => undefined },
    bounds,
  })
  await expect(triggers.start()).rejects.toMatchObject({
    code: 'invalid_option',
    message: expect.stringContaining('"missing" gave no URL'),
  })
  expect(opened.map(({ isClosed }) => isClosed)).toEqual([true])
})

// Schedules

const DAY_MS = 86_400_000
const hourly = defineTrigger({
  name: 'hourly',
  tool: 'ingest',
  from: { cron: '0 * * * *', catchUpMs: 0 },
  toArguments: ({ scheduledMs }) => ({ title: new Date(scheduledMs).toISOString() }),
})
const times = (tasks: Tasks): string[] => [...tasks.byKey.keys()].map((key) => key.replace(/^trigger\/\w+\//, ''))

test('of each scheduled time one task is made, whatever number of workers run', async () => {
  const tasks = new Tasks()
  const clock = new FakeClock(Date.UTC(2026, 0, 1, 0, 30))
  const runs = [await run([hourly], tasks, clock), await run([hourly], tasks, clock), await run([hourly], tasks, clock)]
  await clock.advance(3 * 3_600_000)
  expect(times(tasks)).toEqual(['2026-01-01T01:00:00.000Z', '2026-01-01T02:00:00.000Z', '2026-01-01T03:00:00.000Z'])
  expect([...tasks.byKey.values()].map(({ starts }) => starts)).toEqual([3, 3, 3])
  expect(tasks.byKey.get('trigger/hourly/2026-01-01T01:00:00.000Z')!.args).toEqual({
    title: '2026-01-01T01:00:00.000Z',
  })
  expect(runs[0]!.counts).toEqual({ 'trigger_tasks hourly': 3 })
})

test('what was missed while no worker ran is made up for, as far back as catchUpMs says, and once', async () => {
  const tasks = new Tasks()
  const clock = new FakeClock(Date.UTC(2026, 0, 1, 12, 30))
  const late = defineTrigger({
    name: 'late',
    tool: 'ingest',
    from: { cron: '0 * * * *', catchUpMs: 3 * 3_600_000 },
    toArguments: () => ({ title: 'x' }),
  })
  await run([late], tasks, clock)
  await clock.advance(1000)
  expect(times(tasks)).toEqual(['2026-01-01T10:00:00.000Z', '2026-01-01T11:00:00.000Z', '2026-01-01T12:00:00.000Z'])
  await run([late], tasks, clock)
  await clock.advance(1000)
  expect(tasks.byKey.size).toBe(3)
})

test('a time that comes while the store is away gets its task afterwards, within catchUpMs; later it is missed, and counted', async () => {
  const tasks = new Tasks()
  let isAway = true
  tasks.fault = () => (isAway ? 'before' : undefined)
  const clock = new FakeClock(Date.UTC(2026, 0, 1, 0, 59))
  const one = defineTrigger({
    name: 'one',
    tool: 'ingest',
    from: { cron: '0 * * * *', catchUpMs: 600_000 },
    toArguments: () => ({ title: 'x' }),
  })
  const started = await run([one], tasks, clock)
  await clock.advance(5 * 60_000)
  isAway = false
  await clock.advance(10_000)
  expect(times(tasks)).toEqual(['2026-01-01T01:00:00.000Z'])
  isAway = true
  await clock.advance(75 * 60_000)
  isAway = false
  await clock.advance(60 * 60_000)
  expect(times(tasks)).toEqual(['2026-01-01T01:00:00.000Z', '2026-01-01T03:00:00.000Z'])
  expect(started.counts['trigger_missed one']).toBe(1)
})

test('a machine that slept through many times goes on without going through them', async () => {
  const tasks = new Tasks()
  const clock = new FakeClock(Date.UTC(2026, 0, 1))
  let setByMs = 0
  const jumping: Clock = {
    now: () => clock.now() + setByMs,
    monotonic: () => clock.monotonic(),
    sleep: (ms, signal) => clock.sleep(ms, signal),
  }
  const everySecond = defineTrigger({
    name: 'second',
    tool: 'ingest',
    from: { cron: '* * * * * *', catchUpMs: 2000 },
    toArguments: () => ({ title: 'x' }),
  })
  const started = await run([everySecond], tasks, jumping)
  await clock.advance(0)
  await clock.advance(2_500)
  const before = tasks.byKey.size
  setByMs = 10 * DAY_MS
  await clock.advance(1_000)
  expect(tasks.byKey.size - before).toBeLessThan(6)
  expect(started.counts['trigger_missed second']).toBe(1)
  expect(times(tasks).at(-1)).toMatch(/^2026-01-11T00:00:0\d/)
})

test('a time whose arguments do not fit is told, and the next one comes', async () => {
  const tasks = new Tasks()
  const clock = new FakeClock(Date.UTC(2026, 0, 1))
  const bare = defineTrigger({ name: 'bare', tool: 'ingest', from: { cron: '0 * * * *' } })
  const started = await run([bare], tasks, clock)
  await clock.advance(2 * 3_600_000)
  expect(started.counts).toEqual({ 'trigger_refusals bare': 3 })
  expect(started.failures[0]).toContain('the arguments do not fit: title')
})

import { setTimeout as sleep } from 'node:timers/promises'
import { defineServer, defineTool, toolError } from 'holdfast'
import { connect, type TestClient } from 'holdfast/testing'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'

// Tools that run as tasks, called by clients that know nothing of tasks, and by ones that do.

const counts = { runs: 0, steps: 0, fails: 0, aborted: 0 }
beforeEach(() => Object.assign(counts, { runs: 0, steps: 0, fails: 0, aborted: 0 }))

const trip = defineTool({
  name: 'trip',
  description: 'Plans a trip',
  input: z.object({ to: z.string() }),
  task: true,
  async run({ to }, ctx) {
    counts.runs++
    const offer = await ctx.step('offer', () => ++counts.steps)
    ctx.progress(1, 2, 'asking')
    const when = await ctx.elicit('when', { message: `When to ${to}?`, schema: z.object({ month: z.string() }) })
    if (when.action !== 'accept') return `No trip (${when.action}).`
    return `Offer ${offer}: ${to} in ${when.content.month}.`
  },
})
const booking = defineTool({
  name: 'booking',
  description: 'Asks first, and goes on as a task',
  input: z.object({}),
  task: { start: 'detach' },
  async run(_args, ctx) {
    counts.runs++
    const name = await ctx.elicit('name', { message: 'Who?', schema: z.object({ name: z.string() }) })
    const before = ctx.idempotencyKey
    await ctx.detach()
    await ctx.sleep('nap', 5)
    return `${name.content?.name} ${before === ctx.idempotencyKey}`
  },
})
const flaky = defineTool({
  name: 'flaky',
  description: 'Fails twice',
  input: z.object({ times: z.number() }),
  task: { retryable: () => true, maxBackoffMs: 1 },
  run({ times }) {
    if (++counts.fails <= times) throw toolError(`fails ${counts.fails}`)
    return 'done'
  },
})
const endless = defineTool({
  name: 'endless',
  description: 'Runs until it is stopped',
  task: true,
  async run(_args, ctx) {
    counts.runs++
    await new Promise((_resolve, reject) =>
      ctx.signal.addEventListener('abort', () => {
        counts.aborted++
        reject(ctx.signal.reason)
      }),
    )
  },
})
let gate = Promise.withResolvers<void>()
const gated = defineTool({
  name: 'gated',
  description: 'Runs until its gate is opened',
  task: true,
  async run(_args, ctx) {
    counts.runs++
    ctx.signal.addEventListener('abort', () => counts.aborted++)
    await gate.promise
    return `run ${counts.runs}`
  },
})
const server = defineServer({ name: 'trips', version: '1.0.0', tools: [trip, booking, flaky, endless, gated] })

const TASKS = { extensions: { 'io.modelcontextprotocol/tasks': {} }, elicitation: {} }
let client: TestClient
afterEach(() => client?.close())

describe.each(['2026-07-28', '2025-11-25', '2025-06-18'] as const)(
  'a client of %s without the extension',
  (revision) => {
    beforeEach(async () => {
      client = await connect(server, { revision, answers: { when: { month: 'May' }, name: { name: 'Ann' } } })
    })

    test('gets the result of the task, which asks it like any handler; steps are taken once', async () => {
      const result = await client.callTool('trip', { to: 'Oslo' })
      expect(result.text).toBe('Offer 1: Oslo in May.')
      expect(counts).toMatchObject({ runs: 2, steps: 1 })
    })

    test('hears of progress', async () => {
      const heard: unknown[] = []
      await client.callTool('trip', { to: 'Oslo' }, { onProgress: (progress) => heard.push(progress) })
      expect(heard).toMatchObject([{ progress: 1, total: 2, message: 'asking' }])
    })

    test('gets the result of a call that becomes a task on its way', async () => {
      expect((await client.callTool('booking')).text).toBe('Ann true')
    })

    test('is told by the result when no attempt is left', async () => {
      expect(await client.callTool('flaky', { times: 2 })).toMatchObject({ text: 'done', isError: false })
      expect(counts.fails).toBe(3)
      counts.fails = 0
      expect(await client.callTool('flaky', { times: 9 })).toMatchObject({ text: 'fails 3', isError: true })
      expect(counts.fails).toBe(3)
    })

    test('has the task stopped by cancelling the call', async () => {
      const controller = new AbortController()
      const call = client.callTool('endless', {}, { signal: controller.signal })
      call.catch(() => undefined)
      while (counts.runs === 0) await sleep(5)
      controller.abort()
      await expect(call).rejects.toThrow()
      while (counts.aborted === 0) await sleep(5)
    })

    test('that goes away may come back by an idempotency key: its task goes on, and the repeat waits for it', async () => {
      gate = Promise.withResolvers()
      const meta = { 'dev.holdfast/idempotencyKey': 'a key of sixteen or more' }
      const controller = new AbortController()
      const first = client.callTool('gated', {}, { signal: controller.signal, meta })
      first.catch(() => undefined)
      while (counts.runs === 0) await sleep(5)
      controller.abort()
      await expect(first).rejects.toThrow()
      const repeated = client.callTool('gated', {}, { meta })
      // A cancel would have reached the handler by now, on the way that the test above waits for.
      const cancelled = new AbortController()
      const other = client.callTool('endless', {}, { signal: cancelled.signal })
      other.catch(() => undefined)
      while (counts.runs === 1) await sleep(5)
      cancelled.abort()
      while (counts.aborted === 0) await sleep(5)
      gate.resolve()
      expect((await repeated).content).toEqual([{ type: 'text', text: 'run 2' }])
      expect(counts).toMatchObject({ runs: 2, aborted: 1 }) // one each
    })
  },
)

describe('a client with the extension', () => {
  beforeEach(async () => {
    client = await connect(server, { capabilities: TASKS })
  })
  const until = async (taskId: unknown, status: string): Promise<Record<string, unknown>> => {
    for (;;) {
      const task = await client.request('tasks/get', { taskId })
      if (task.status === status) return task
      if (['completed', 'failed', 'cancelled'].includes(task.status as string)) throw new Error(JSON.stringify(task))
      await sleep(5)
    }
  }

  test('gets a handle, answers what the task asks, and reads the result', async () => {
    const created = await client.request('tools/call', { name: 'trip', arguments: { to: 'Oslo' } })
    expect(created).toMatchObject({ resultType: 'task', status: 'working', content: [] })
    const { taskId } = created
    const asking = await until(taskId, 'input_required')
    expect(asking.inputRequests).toMatchObject({ when: { method: 'elicitation/create' } })
    await client.request('tasks/update', {
      taskId,
      inputResponses: { when: { action: 'accept', content: { month: 7 } }, other: 1 },
    })
    expect((await client.request('tasks/get', { taskId })).status).toBe('input_required')
    await client.request('tasks/update', {
      taskId,
      inputResponses: { when: { action: 'accept', content: { month: 'May' } } },
    })
    const done = await until(taskId, 'completed')
    expect(done.result).toMatchObject({ content: [{ type: 'text', text: 'Offer 1: Oslo in May.' }] })
    expect(counts.steps).toBe(1)
  })

  test('is asked within the call before it is given the handle of a call that detaches', async () => {
    const params = { name: 'booking', arguments: {} }
    const asked = await client.request('tools/call', params)
    expect(asked.resultType).toBe('input_required')
    const created = await client.request('tools/call', {
      ...params,
      requestState: asked.requestState,
      inputResponses: { name: { action: 'accept', content: { name: 'Ann' } } },
    })
    expect(created.resultType).toBe('task')
    const done = await until(created.taskId, 'completed')
    expect(done.result).toMatchObject({ content: [{ type: 'text', text: 'Ann true' }] })
  })

  test('has a task cancelled that runs', async () => {
    const { taskId } = await client.request('tools/call', { name: 'endless', arguments: {} })
    while (counts.runs === 0) await sleep(5)
    await client.request('tasks/cancel', { taskId })
    await until(taskId, 'cancelled')
    expect(counts.aborted).toBe(1)
  })

  test('gets one task for one idempotency key', async () => {
    const params = { name: 'trip', arguments: { to: 'Oslo' } }
    const options = { meta: { 'dev.holdfast/idempotencyKey': 'a key of sixteen or more' } }
    const one = await client.request('tools/call', params, options)
    const two = await client.request('tools/call', params, options)
    expect(two.taskId).toBe(one.taskId)
    await expect(client.request('tools/call', { ...params, arguments: { to: 'Rome' } }, options)).rejects.toMatchObject(
      {
        data: { code: 'idempotency_key_reused' },
      },
    )
  })
})

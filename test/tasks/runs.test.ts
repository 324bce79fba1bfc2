import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import {
  defineServer,
  defineTool,
  protocolError,
  type Context,
  type TaskOptions,
  type ToolReturn,
} from '../../src/index.ts'
import { MemoryTaskQueue } from '../../src/backends/memory/task-queue.ts'
import { generateKeys } from '../../src/kernel/key-ring.ts'
import type { Task } from '../../src/ports/task-store.ts'
import { connect, FakeClock, type TestClient } from '../../src/testing/index.ts'
import { ReferenceTaskStore } from '../../src/testing/reference-task-store.ts'

// What becomes of an attempt, on a clock that moves only when a test says so.

const CAPABILITIES = {
  extensions: { 'io.modelcontextprotocol/tasks': {} },
  elicitation: { form: {}, url: {} },
  sampling: {},
}
const ENDED = ['completed', 'failed', 'cancelled']

let clock: FakeClock
let store: ReferenceTaskStore
const clients: TestClient[] = []
beforeEach(() => {
  clock = new FakeClock()
  store = new ReferenceTaskStore(clock)
})
afterEach(async () => {
  await settled(Promise.all(clients.splice(0).map((client) => client.close())))
})

async function pass(isOver: () => boolean | Promise<boolean>, stepMs = 100): Promise<void> {
  for (let step = 0; step < 20_000; step++) {
    if (await isOver()) return
    await clock.advance(stepMs)
  }
  expect.unreachable('what was waited for did not come')
}
async function settled<T>(promise: Promise<T>): Promise<T> {
  let isOver = false
  const mark = (): void => void (isOver = true)
  promise.then(mark, mark)
  await pass(() => isOver)
  return promise
}

interface Running {
  readonly client: TestClient
  readonly id: string
  task(): Promise<Record<string, unknown>>
  /** The task, once it has this status. */
  until(status: string): Promise<Record<string, unknown>>
  row(): Promise<Task>
}

async function start(
  run: (args: Record<string, never>, ctx: Context) => ToolReturn | Promise<ToolReturn>,
  task: TaskOptions = {},
  keys = generateKeys(),
): Promise<Running> {
  const tool = defineTool({ name: 'work', description: 'Works', task, run })
  const client = await connect(defineServer({ name: 'runs', version: '1', tools: [tool] }), {
    capabilities: CAPABILITIES,
    runtime: { clock, tasks: store, queue: new MemoryTaskQueue(() => undefined), keys },
  })
  clients.push(client)
  const created = await client.request('tools/call', { name: 'work', arguments: {} })
  const id = created.taskId as string
  const get = (): Promise<Record<string, unknown>> => client.request('tasks/get', { taskId: id })
  return {
    client,
    id,
    task: get,
    row: async () => (await store.list({ limit: 10 })).tasks.find((one) => one.id === id)!,
    async until(status) {
      let found: Record<string, unknown> = {}
      await pass(async () => {
        found = await get()
        if (found.status !== status && ENDED.includes(found.status as string)) expect(found).toBe(status)
        return found.status === status
      })
      return found
    },
  }
}
const textOf = (task: Record<string, unknown>): string =>
  (task.result as { content: { text: string }[] }).content[0]!.text

describe('time', () => {
  test('an attempt that takes too long is aborted and tried again; the last one is the result', async () => {
    const reasons: unknown[] = []
    const { until } = await start(
      (_args, { signal }) =>
        new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => {
            reasons.push((signal.reason as { code: string }).code)
            reject(signal.reason as Error)
          }),
        ),
      { timeoutMs: 5_000, maxAttempts: 2 },
    )
    const done = await until('completed')
    expect(reasons).toEqual(['task_timeout', 'task_timeout'])
    expect(done.result).toMatchObject({ isError: true })
    expect(textOf(done)).toContain('took too long')
  })

  test('a handler that ignores its abort does not hold up the cancellation', async () => {
    let began = false
    const { client, id, until } = await start(() => {
      began = true
      return new Promise(() => undefined)
    })
    await pass(() => began)
    await client.request('tasks/cancel', { taskId: id })
    await until('cancelled')
  })

  test('a sleep holds no worker, lasts from when it was first come to, and steps before it are not taken again', async () => {
    const seen: string[] = []
    const { until, row } = await start(async (_args, ctx) => {
      await ctx.step('first', () => seen.push('first'))
      await ctx.sleep('nap', 600_000)
      seen.push('woken')
      return 'rested'
    })
    const before = clock.now()
    await pass(async () => (await row()).state === 'parked')
    expect((await row()).asks).toEqual([])
    expect(textOf(await until('completed'))).toBe('rested')
    expect(clock.now() - before).toBeGreaterThanOrEqual(600_000)
    expect(clock.now() - before).toBeLessThan(605_000)
    expect(seen).toEqual(['first', 'woken'])
  })

  test('what was told of progress just before the end is what a task shows that has ended', async () => {
    const { until } = await start((_args, ctx) => {
      ctx.progress(3, 3, 'all of it')
      return 'done'
    })
    expect(await until('completed')).toMatchObject({ statusMessage: 'all of it' })
  })

  test('what was told of progress just before a sleep or a question is what the task shows meanwhile', async () => {
    const { until, task, row, client, id } = await start(async (_args, ctx) => {
      ctx.progress(1, 3, 'waiting for the night')
      await ctx.sleep('nap', 600_000)
      ctx.progress(2, 3, 'waiting for you')
      await ctx.elicit('go', { message: 'Go on?', schema: z.object({}) })
      return 'done'
    })
    await pass(async () => (await row()).state === 'parked')
    expect(await task()).toMatchObject({ status: 'working', statusMessage: 'waiting for the night' })
    expect(await until('input_required')).toMatchObject({ statusMessage: 'waiting for you' })
    await client.request('tasks/update', { taskId: id, inputResponses: { go: { action: 'accept', content: {} } } })
    await until('completed')
  })

  test.each([[-1], [Number.NaN], [Infinity], ['1' as never]])('a sleep of %s is refused', async (duration) => {
    const { until } = await start((_args, ctx) => ctx.sleep('nap', duration))
    expect((await until('completed')).result).toMatchObject({ isError: true })
  })
})

describe('questions', () => {
  const form = { message: 'When?', schema: z.object({ month: z.string() }) }

  test('a form that nobody answers is cancelled in time; a question to a model has no answer', async () => {
    const { until } = await start(async (_args, ctx) => {
      const when = await ctx.elicit('when', form)
      try {
        await ctx.sample('slogan', { messages: 'Hi', maxTokens: 5 })
      } catch (error) {
        return `${when.action}, ${(error as Error).message}`
      }
      return 'never'
    })
    await until('input_required')
    expect(textOf(await until('completed'))).toBe('cancel, The client did not answer "slogan" in time.')
  })

  test('questions asked together are answered in any order, one by one', async () => {
    const { client, id, until } = await start(async (_args, ctx) => {
      const [one, two] = await Promise.all([ctx.elicit('one', form), ctx.elicit('two', form)])
      return `${one.content?.month} ${two.content?.month}`
    })
    const asking = await until('input_required')
    expect(Object.keys(asking.inputRequests as object)).toEqual(['one', 'two'])
    const answer = (name: string, month: string): Promise<unknown> =>
      client.request('tasks/update', {
        taskId: id,
        inputResponses: { [name]: { action: 'accept', content: { month } } },
      })
    await answer('two', 'June')
    expect(Object.keys((await until('input_required')).inputRequests as object)).toEqual(['one'])
    await answer('two', 'July') // answered already
    await answer('one', 'May')
    expect(textOf(await until('completed'))).toBe('May June')
  })

  test('an answer that the form allows and the schema does not is asked for again, under another key', async () => {
    const strict = { message: 'When?', schema: z.object({ month: z.string().refine((month) => month !== 'May') }) }
    const { client, id, until } = await start(async (_args, ctx) => (await ctx.elicit('when', strict)).content?.month)
    await until('input_required')
    const inputResponses = (name: string, month: string): object => ({
      [name]: { action: 'accept', content: { month } },
    })
    await client.request('tasks/update', { taskId: id, inputResponses: inputResponses('when', 'May') })
    const again = await until('input_required')
    expect(Object.keys(again.inputRequests as object)).toEqual(['when~2'])
    await client.request('tasks/update', { taskId: id, inputResponses: inputResponses('when~2', 'June') })
    expect(textOf(await until('completed'))).toBe('June')
  })

  test('a page is done with when its check says so, and no worker is held meanwhile', async () => {
    let isComplete = false
    const { client, id, until, row } = await start((_args, ctx) =>
      ctx
        .elicitUrl('login', { message: 'Log in', url: 'https://example.com/login', isComplete: () => isComplete })
        .then(({ action }) => action),
    )
    await until('input_required')
    await client.request('tasks/update', { taskId: id, inputResponses: { login: { action: 'accept' } } })
    await pass(async () => (await row()).state === 'parked')
    expect((await until('working')).inputRequests).toBeUndefined()
    isComplete = true
    expect(textOf(await until('completed'))).toBe('accept')
  })

  test('a page that is never done with ends as cancelled', async () => {
    const { client, id, until } = await start((_args, ctx) =>
      ctx
        .elicitUrl('login', { message: 'Log in', url: 'https://example.com/login', isComplete: () => false })
        .then(({ action }) => action),
    )
    await until('input_required')
    await client.request('tasks/update', { taskId: id, inputResponses: { login: { action: 'accept' } } })
    expect(textOf(await until('completed'))).toBe('cancel')
  })

  test('a handler that asks for something else than before, with an answer at hand, fails and says why', async () => {
    let runs = 0
    const { client, id, until } = await start((_args, ctx) => ctx.elicit(`when-${runs++}`, form))
    await until('input_required')
    await client.request('tasks/update', {
      taskId: id,
      inputResponses: { 'when-0': { action: 'accept', content: { month: 'May' } } },
    })
    const failed = await until('failed')
    expect(failed.error).toMatchObject({ code: -32603 })
  })
})

describe('errors', () => {
  test('an error that is worth another attempt is retried; steps on record are not taken again', async () => {
    let fails = 0
    let steps = 0
    const { until, row } = await start(
      async (_args, ctx) => {
        await ctx.step('once', () => ++steps)
        if (++fails < 3) throw new Error('busy')
        return 'done'
      },
      { retryable: (error) => (error as Error).message === 'busy' },
    )
    expect(textOf(await until('completed'))).toBe('done')
    expect([fails, steps, (await row()).attempts]).toEqual([3, 1, 2])
  })

  test('an error that is not is the result, and no dead letter', async () => {
    const { until, row } = await start(() => Promise.reject(new Error('secret')))
    const done = await until('completed')
    expect(done.result).toMatchObject({ isError: true })
    expect(JSON.stringify(done)).not.toContain('secret')
    expect((await row()).dead).toBeUndefined()
  })

  test('attempts used up leave the error as the result, and a dead letter', async () => {
    const { until, row } = await start(() => Promise.reject(new Error('busy')), {
      retryable: () => true,
      maxAttempts: 2,
    })
    expect((await until('completed')).result).toMatchObject({ isError: true })
    expect((await row()).dead).toBe('attempts')
  })

  test('a protocol error is the error of the task', async () => {
    const { until } = await start(() => {
      throw protocolError('Out of stock', { code: 4711, data: { item: 7 } })
    })
    expect((await until('failed')).error).toMatchObject({ code: 4711, message: 'Out of stock', data: { item: 7 } })
  })

  test('a task whose caller no key opens runs as nobody: never', async () => {
    let runs = 0
    const tool = defineTool({ name: 'work', description: 'Works', task: { maxAttempts: 2 }, run: () => ++runs })
    const server = defineServer({ name: 'runs', version: '1', tools: [tool] })
    const at = (keys: string, worker: boolean): Promise<TestClient> =>
      connect(server, {
        capabilities: CAPABILITIES,
        runtime: { clock, tasks: store, queue: new MemoryTaskQueue(() => undefined), keys, worker },
      })
    const node = await at(generateKeys(), false)
    clients.push(node, await at(generateKeys(), true))
    const { taskId } = await node.request('tools/call', { name: 'work', arguments: {} })
    let task: Record<string, unknown> = {}
    await pass(async () => (task = await node.request('tasks/get', { taskId })).status === 'failed')
    expect(runs).toBe(0)
    expect(task.error).toMatchObject({ code: -32603 })
  })
})

describe('who runs it', () => {
  test('the idempotency key is the same on every attempt, and is not the id', async () => {
    const keys = new Set<string>()
    const { id, until } = await start(
      (_args, ctx) => {
        keys.add(ctx.idempotencyKey)
        throw new Error('busy')
      },
      { retryable: () => true },
    )
    await until('completed')
    expect(keys.size).toBe(1)
    expect(keys.has(id)).toBe(false)
  })

  test('a worker that stops gives back what heeds its abort, uncharged, and another goes on from the steps', async () => {
    let steps = 0
    let runs = 0
    const keys = generateKeys()
    const handler = async (_args: unknown, ctx: Context): Promise<string> => {
      runs++
      await ctx.step('once', () => ++steps)
      if (runs === 1)
        await new Promise((_resolve, reject) =>
          ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason as Error)),
        )
      return `run ${runs}`
    }
    const first = await start(handler, {}, keys)
    await pass(() => runs === 1)
    clients.splice(0)
    await settled(first.client.close())
    expect(await first.row()).toMatchObject({ state: 'ready', attempts: 0, crashes: 0 })
    const tool = defineTool({ name: 'work', description: 'Works', task: true, run: handler })
    const client = await connect(defineServer({ name: 'runs', version: '1', tools: [tool] }), {
      capabilities: CAPABILITIES,
      runtime: { clock, tasks: store, queue: new MemoryTaskQueue(() => undefined), keys },
    })
    clients.push(client)
    await pass(async () => (await first.row()).state === 'completed')
    expect([runs, steps]).toEqual([2, 1])
  })
})

describe('the journal', () => {
  test('keeps big values of steps among the artifacts, from where the next attempt has them', async () => {
    const big = 'x'.repeat(200_000)
    let fails = 0
    let steps = 0
    const { until, row } = await start(
      async (_args, ctx) => {
        const value = await ctx.step('big', () => (steps++, big))
        const small = await ctx.step('small', () => 1)
        if (++fails === 1) throw new Error('busy')
        return `${value === big} ${small}`
      },
      { retryable: () => true },
    )
    expect(textOf(await until('completed'))).toBe('true 1')
    expect([fails, steps]).toEqual([2, 1])
    const { journal } = (await store.find((await row()).id))!
    expect(journal[0]!.value!.length).toBeLessThan(300)
  })

  test('has a bound, and says what to do instead', async () => {
    const { until } = await start(async (_args, ctx) => {
      const big = 'x'.repeat(30 * 1024 * 1024)
      try {
        for (let index = 0; index < 5; index++) await ctx.step(`big-${index}`, () => big)
      } catch (error) {
        return (error as { code: string }).code + (error as Error).message.replace(/\d+/g, '')
      }
      return 'never'
    })
    expect(textOf(await until('completed'))).toMatch(/^journal_too_large.*ctx\.artifacts/)
  })
})

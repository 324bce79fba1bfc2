import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { defineServer, defineTool, toolError } from '../../src/index.ts'
import { createLogFile } from '../telemetry/log-file.ts'
import { accept, callModern, Nodes, textOf, type Json, type Node } from './nodes.ts'

// Revision 2026-07-28: every leg of a call may reach another node.

let runs: string[]
let gate: PromiseWithResolvers<void>
let entered: PromiseWithResolvers<void>
let aborted: PromiseWithResolvers<void>

const NAME = z.object({ name: z.string().min(2) })

const server = defineServer({
  name: 'legs',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'greet',
      description: 'Takes a step, asks, takes another, asks, and greets',
      async run(_args, ctx) {
        runs.push('run')
        const first = await ctx.step('first', () => runs.push('first'))
        const who = await ctx.elicit('who', { message: 'Who?', schema: NAME })
        const second = await ctx.step('second', () => runs.push('second'))
        const where = await ctx.elicit('where', { message: 'Where?', schema: NAME })
        if (who.action !== 'accept' || where.action !== 'accept') return 'nobody'
        return `${who.content.name} in ${where.content.name} (${first > 0 && second > 0})`
      },
    }),
    defineTool({
      name: 'plain',
      description: 'Asks, without a step',
      async run(_args, ctx) {
        runs.push('run')
        const who = await ctx.elicit('who', { message: 'Who?', schema: NAME })
        return `Hello ${who.content?.name ?? 'nobody'}`
      },
    }),
    defineTool({
      name: 'slow',
      description: 'Asks, waits, and takes a step',
      input: z.object({ then: z.enum(['return', 'ask', 'throw']) }),
      async run({ then }, ctx) {
        runs.push('run')
        const who = await ctx.elicit('who', { message: 'Who?', schema: NAME })
        ctx.signal.addEventListener('abort', () => aborted.resolve())
        entered.resolve()
        await gate.promise
        await ctx.step('effect', () => runs.push('effect'))
        if (then === 'throw') throw toolError('No.')
        if (then === 'ask') await ctx.elicit('sure', { message: 'Sure?', schema: NAME })
        return `Hello ${who.content?.name ?? 'nobody'}`
      },
    }),
    defineTool({
      name: 'slow-first',
      description: 'Waits, and asks',
      concurrency: 1,
      async run(_args, ctx) {
        runs.push('run')
        ctx.signal.addEventListener('abort', () => aborted.resolve())
        entered.resolve()
        await gate.promise
        await ctx.elicit('who', { message: 'Who?', schema: NAME })
        return 'asked'
      },
    }),
    defineTool({
      name: 'big',
      description: 'Records much, and asks',
      input: z.object({ bytes: z.int() }),
      async run({ bytes }, ctx) {
        const text = await ctx.step('much', () => {
          runs.push('much')
          return 'x'.repeat(bytes)
        })
        await ctx.elicit('who', { message: 'Who?', schema: NAME })
        return `${text.length}`
      },
    }),
    defineTool({
      name: 'nothing',
      description: 'A step that gives nothing',
      async run(_args, ctx) {
        const before = await ctx.step('nothing', () => undefined)
        await ctx.elicit('who', { message: 'Who?', schema: NAME })
        return String(before)
      },
    }),
    defineTool({
      name: 'beside',
      description: 'Does something beside a question',
      async run(_args, ctx) {
        const late = async (): Promise<void> => {
          await gate.promise
          entered.resolve()
          await ctx.step('late', () => runs.push('late'))
          await ctx.elicit('later', { message: 'And?', schema: NAME })
          runs.push('went on')
        }
        await Promise.all([ctx.elicit('who', { message: 'Who?', schema: NAME }), late()])
        return 'done'
      },
    }),
    defineTool({
      name: 'nested',
      description: 'Asks within a step',
      async run(_args, ctx) {
        try {
          await ctx.step('outer', () => ctx.elicit('who', { message: 'Who?', schema: NAME }))
        } catch (error) {
          return (error as Error).message
        }
        return 'asked'
      },
    }),
  ],
})

let nodes: Nodes
let one: Node
let two: Node
beforeEach(async () => {
  runs = []
  gate = Promise.withResolvers()
  entered = Promise.withResolvers()
  aborted = Promise.withResolvers()
  nodes = new Nodes(server)
  one = await nodes.start()
  two = await nodes.start()
})
afterEach(async () => {
  gate.resolve()
  await nodes.close()
})

/** What the next leg brings. */
const leg = (answer: { result?: Json }, inputResponses: Json): Json => ({
  requestState: answer.result!.requestState,
  inputResponses,
})

test('goes on at another node with each leg, and takes each step once', async () => {
  const first = await callModern(one, 'greet')
  expect(first.result).toMatchObject({ resultType: 'input_required', inputRequests: { who: {} } })
  const second = await callModern(two, 'greet', {}, leg(first, { who: accept({ name: 'Ann' }) }))
  expect(Object.keys(second.result!.inputRequests!)).toEqual(['where'])
  const third = await callModern(one, 'greet', {}, leg(second, { where: accept({ name: 'Oslo' }) }))
  expect(textOf(third)).toBe('Ann in Oslo (true)')
  expect(runs).toEqual(['run', 'first', 'run', 'second', 'run'])
})

describe('a repeated leg', () => {
  test('gets the first outcome from any node, and the handler runs once', async () => {
    const first = await callModern(one, 'slow', { then: 'return' })
    gate.resolve()
    const next = leg(first, { who: accept({ name: 'Ann' }) })
    for (const node of [one, two, one])
      expect(textOf(await callModern(node, 'slow', { then: 'return' }, next))).toBe('Hello Ann')
    expect(runs).toEqual(['run', 'run', 'effect'])
  })

  test('gets the same next question with the same state', async () => {
    const first = await callModern(one, 'greet')
    const next = leg(first, { who: accept({ name: 'Ann' }) })
    const second = await callModern(two, 'greet', {}, next)
    expect((await callModern(one, 'greet', {}, next)).result).toEqual(second.result)
  })

  test('waits for the first one where that still runs, on whichever node', async () => {
    const first = await callModern(one, 'slow', { then: 'return' })
    const next = leg(first, { who: accept({ name: 'Ann' }) })
    const both = [callModern(one, 'slow', { then: 'return' }, next), callModern(two, 'slow', { then: 'return' }, next)]
    await entered.promise
    gate.resolve()
    expect((await nodes.settled(Promise.all(both))).map(textOf)).toEqual(['Hello Ann', 'Hello Ann'])
    expect(runs).toEqual(['run', 'run', 'effect'])
  })

  test.each(['losesMessages', 'cannotSubscribe'] as const)(
    'finds the outcome by looking where the bus %s',
    async (fault) => {
      const first = await callModern(one, 'slow', { then: 'return' })
      const next = leg(first, { who: accept({ name: 'Ann' }) })
      const running = callModern(one, 'slow', { then: 'return' }, next)
      await entered.promise
      one.faults[fault] = two.faults[fault] = true
      const repeat = callModern(two, 'slow', { then: 'return' }, next)
      gate.resolve()
      await running
      expect(textOf(await nodes.settled(repeat))).toBe('Hello Ann')
      expect(runs).toEqual(['run', 'run', 'effect'])
    },
  )

  test('with other answers is refused, before and after the first one has ended', async () => {
    const first = await callModern(one, 'slow', { then: 'return' })
    const running = callModern(one, 'slow', { then: 'return' }, leg(first, { who: accept({ name: 'Ann' }) }))
    await entered.promise
    const other = leg(first, { who: accept({ name: 'Bob' }) })
    const refused = { error: { code: -32602, data: { code: 'request_state_used', retryable: false } } }
    expect(await callModern(two, 'slow', { then: 'return' }, other)).toMatchObject(refused)
    gate.resolve()
    await running
    expect(await callModern(two, 'slow', { then: 'return' }, other)).toMatchObject(refused)
    expect(runs).toEqual(['run', 'run', 'effect'])
  })

  test('gets the outcome too where the client went away while the first one ran', async () => {
    for (const then of ['return', 'ask'] as const) {
      runs = []
      gate = Promise.withResolvers()
      entered = Promise.withResolvers()
      aborted = Promise.withResolvers()
      const first = await callModern(one, 'slow', { then })
      const next = leg(first, { who: accept({ name: 'Ann' }) })
      const gone = new AbortController()
      const lost = callModern(one, 'slow', { then }, next, { signal: gone.signal })
      await entered.promise
      gone.abort()
      await expect(lost).rejects.toThrow()
      await aborted.promise
      const repeat = callModern(two, 'slow', { then }, next)
      gate.resolve()
      const answer = await nodes.settled(repeat)
      if (then === 'return') expect(textOf(answer)).toBe('Hello Ann')
      else expect(Object.keys(answer.result!.inputRequests!)).toEqual(['sure'])
      expect(runs).toEqual(['run', 'run', 'effect'])
    }
  })

  test('runs again once the claim of a node that died has run out', async () => {
    const first = await callModern(one, 'slow', { then: 'return' })
    const next = leg(first, { who: accept({ name: 'Ann' }) })
    const dead = callModern(one, 'slow', { then: 'return' }, next)
    await entered.promise
    one.faults.isStoreDown = true // nothing of the node reaches the others any more
    const sinceMs = nodes.clock.monotonic()
    const repeat = callModern(two, 'slow', { then: 'return' }, next)
    await nodes.pass(() => runs.length === 3, 1000)
    expect(nodes.clock.monotonic() - sinceMs).toBeGreaterThan(19_000)
    expect(nodes.clock.monotonic() - sinceMs).toBeLessThan(45_000)
    gate.resolve()
    expect(textOf(await nodes.settled(repeat))).toBe('Hello Ann')
    await dead
  })

  test('a node that stood still past its claim gives the outcome that another has stored meanwhile', async () => {
    const first = await callModern(one, 'slow', { then: 'ask' })
    const next = leg(first, { who: accept({ name: 'Ann' }) })
    const late = callModern(one, 'slow', { then: 'ask' }, next)
    await entered.promise
    one.faults.isStoreDown = true
    const repeat = callModern(two, 'slow', { then: 'ask' }, next)
    await nodes.pass(() => runs.length === 3, 1000)
    one.faults.isStoreDown = false
    gate.resolve()
    const [a, b] = await nodes.settled(Promise.all([late, repeat]))
    expect(a.result!.requestState).toBe(b.result!.requestState)
    expect((await callModern(two, 'slow', { then: 'ask' }, next)).result!.requestState).toBe(b.result!.requestState)
  })

  test('of a leg that ended in an error result gets that result', async () => {
    const first = await callModern(one, 'slow', { then: 'throw' })
    gate.resolve()
    const next = leg(first, { who: accept({ name: 'Ann' }) })
    for (const node of [one, two])
      expect((await callModern(node, 'slow', { then: 'throw' }, next)).result).toMatchObject({
        isError: true,
        content: [{ text: 'No.' }],
      })
    expect(runs).toEqual(['run', 'run', 'effect'])
  })
})

test('a client that goes away before the question leaves no slot taken', async () => {
  const gone = new AbortController()
  const lost = callModern(one, 'slow-first', {}, {}, { signal: gone.signal })
  await entered.promise
  gone.abort()
  await expect(lost).rejects.toThrow()
  await aborted.promise
  gate.resolve()
  const next = await nodes.settled(callModern(one, 'slow-first'))
  expect(next.result).toMatchObject({ resultType: 'input_required' })
})

test('nothing runs after a handler was put aside: neither steps nor questions that it comes to beside', async () => {
  const first = await callModern(one, 'beside')
  expect(Object.keys(first.result!.inputRequests!)).toEqual(['who'])
  gate.resolve()
  await entered.promise
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  expect(runs).toEqual([])
})

describe('what a call has recorded', () => {
  test('lies in the store where it is too much to travel', async () => {
    const first = await callModern(one, 'big', { bytes: 100_000 })
    expect(first.result!.requestState!.length).toBeLessThan(1000)
    const next = leg(first, { who: accept({ name: 'Ann' }) })
    expect(textOf(await callModern(two, 'big', { bytes: 100_000 }, next))).toBe('100000')
    expect(runs).toEqual(['much'])
  })

  test('travels where it is little', async () => {
    const first = await callModern(one, 'big', { bytes: 4000 })
    expect(first.result!.requestState!.length).toBeGreaterThan(4000)
    expect(textOf(await callModern(two, 'big', { bytes: 4000 }, leg(first, { who: accept({ name: 'Ann' }) })))).toBe(
      '4000',
    )
  })

  test('is refused above 1 MiB', async () => {
    const log = createLogFile()
    const logged = await nodes.start({ logLevel: 'warn', logFd: log.fd })
    const refused = await callModern(logged, 'big', { bytes: 1_100_000 })
    expect(refused.error).toMatchObject({ code: -32603, data: { code: 'internal_error', retryable: false } })
    await log.line((line) => /1100\d+ bytes of steps and answers; 1048576 are allowed/.test(JSON.stringify(line)))
  })

  test('is gone when the store has lost it, and the client is told to begin again', async () => {
    const first = await callModern(one, 'big', { bytes: 100_000 })
    const next = leg(first, { who: accept({ name: 'Ann' }) })
    nodes.forgetEverything()
    expect((await callModern(two, 'big', { bytes: 100_000 }, next)).error).toMatchObject({
      code: -32602,
      data: { code: 'request_state_expired' },
    })
  })

  test('is the same in the second run, where a step gave nothing', async () => {
    const first = await callModern(one, 'nothing')
    expect(textOf(await callModern(two, 'nothing', {}, leg(first, { who: accept({ name: 'Ann' }) })))).toBe('undefined')
  })
})

test('a question within a step is a clear error, not a call that never ends', async () => {
  const answer = await nodes.settled(callModern(one, 'nested'), 1000)
  expect(textOf(answer)).toMatch(/within ctx\.step\("outer"\)/)
})

describe('with the store down', () => {
  test('a leg that has taken a step is refused for now, and then goes on', async () => {
    const first = await callModern(one, 'greet')
    const next = leg(first, { who: accept({ name: 'Ann' }) })
    two.faults.isStoreDown = true
    expect(await callModern(two, 'greet', {}, next)).toMatchObject({
      status: 503,
      error: { data: { code: 'state_unavailable', retryable: true } },
    })
    expect(runs).toEqual(['run', 'first'])
    two.faults.isStoreDown = false
    expect(Object.keys((await callModern(two, 'greet', {}, next)).result!.inputRequests!)).toEqual(['where'])
  })

  test('a leg goes on that takes no step, and is counted', async () => {
    const first = await callModern(one, 'plain')
    two.faults.isStoreDown = true
    expect(textOf(await callModern(two, 'plain', {}, leg(first, { who: accept({ name: 'Ann' }) })))).toBe('Hello Ann')
    expect((await two.runtime.metrics()).body).toContain('holdfast_degraded_total{feature="request_state"} 1')
  })

  test('a leg that comes to its first step is refused before the step is taken', async () => {
    const first = await callModern(one, 'slow', { then: 'return' })
    gate.resolve()
    two.faults.isStoreDown = true
    const next = leg(first, { who: accept({ name: 'Ann' }) })
    expect(await callModern(two, 'slow', { then: 'return' }, next)).toMatchObject({
      status: 503,
      error: { data: { code: 'state_unavailable', retryable: true } },
    })
    expect(runs).toEqual(['run', 'run'])
    two.faults.isStoreDown = false
    expect(textOf(await callModern(two, 'slow', { then: 'return' }, next))).toBe('Hello Ann')
    expect(runs).toEqual(['run', 'run', 'run', 'effect'])
  })

  test('a record that is too big to travel is refused for now', async () => {
    one.faults.isStoreDown = true
    expect(await callModern(one, 'big', { bytes: 100_000 })).toMatchObject({
      status: 503,
      error: { data: { code: 'state_unavailable' } },
    })
  })
})

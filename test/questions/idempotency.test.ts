import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { defineServer, defineTool } from '../../src/index.ts'
import { accept, callModern, LegacyClient, Nodes, textOf, type Answered, type Json, type Node } from './nodes.ts'

// Idempotency keys of calls that ask: the key covers the whole call, each leg of it.

let effects: string[]
let gate: PromiseWithResolvers<void> | undefined
let aborted: PromiseWithResolvers<void>
let entered: PromiseWithResolvers<void>

const NAME = z.object({ name: z.string() })
const server = defineServer({
  name: 'idempotency',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'order',
      description: 'Reserves, asks twice, and orders',
      async run(_args, ctx) {
        await ctx.step('reserve', () => effects.push('reserve'))
        const { content: who } = await ctx.elicit('who', { message: 'Who?', schema: NAME })
        const { content: where } = await ctx.elicit('where', { message: 'Where?', schema: NAME })
        effects.push('order')
        return `${who?.name} in ${where?.name}`
      },
    }),
    defineTool({
      name: 'work',
      description: 'Works without looking at its signal',
      async run(_args, ctx) {
        ctx.signal.addEventListener('abort', () => aborted.resolve())
        effects.push('work')
        entered.resolve()
        await gate?.promise
        return 'worked'
      },
    }),
  ],
})

const TTL_MS = 900_000
let nodes: Nodes
let one: Node
let two: Node
let key: string
let keys = 0
beforeEach(async () => {
  effects = []
  gate = undefined
  aborted = Promise.withResolvers()
  entered = Promise.withResolvers()
  key = `a-key-that-is-hard-to-guess-${++keys}`
  nodes = new Nodes(server, { questionTtlMs: TTL_MS })
  one = await nodes.start()
  two = await nodes.start()
})
afterEach(async () => {
  gate?.resolve()
  await nodes.close()
})

const keyed = (node: Node, leg: Json = {}, name = 'order', signal?: AbortSignal): Promise<Answered> =>
  callModern(node, name, {}, leg, {
    meta: { 'dev.holdfast/idempotencyKey': key },
    ...(signal === undefined ? {} : { signal }),
  })
const goOn = (node: Node, answer: Answered, inputResponses: Json): Promise<Answered> =>
  callModern(node, 'order', {}, { requestState: answer.result!.requestState, inputResponses })
const asked = (answer: Answered): string[] => Object.keys(answer.result!.inputRequests!)

describe('a call whose claim was stored, though the node was not told so', () => {
  test('is refused, and a repeat of it need not wait until the claim runs out', async () => {
    one.faults.losesAnswers = true
    const refused = await keyed(one, {}, 'work')
    expect(refused).toMatchObject({ status: 503, error: { data: { code: 'state_unavailable', retryable: true } } })
    one.faults.losesAnswers = false
    const sinceMs = nodes.clock.monotonic()
    expect(textOf(await nodes.settled(keyed(two, {}, 'work')))).toBe('worked')
    expect(nodes.clock.monotonic() - sinceMs).toBeLessThan(3000)
    expect(effects).toEqual(['work'])
  })

  test('leaves the claim that a repeat has made meanwhile alone', async () => {
    gate = Promise.withResolvers()
    one.faults.isStoreDown = true // nothing was stored
    expect(await keyed(one, {}, 'work')).toMatchObject({ status: 503 })
    one.faults.isStoreDown = false
    const repeat = keyed(two, {}, 'work')
    await entered.promise
    await nodes.clock.advance(20_000)
    const another = keyed(one, {}, 'work')
    await nodes.clock.advance(20_000)
    gate.resolve()
    expect(textOf(await nodes.settled(repeat))).toBe('worked')
    expect(textOf(await nodes.settled(another))).toBe('worked')
    expect(effects).toEqual(['work'])
  })
})

describe('a repeat of the first call', () => {
  test('gets the same question with the same state, from any node', async () => {
    const first = await keyed(one)
    expect((await keyed(two)).result).toEqual(first.result)
    expect(effects).toEqual(['reserve'])
  })

  test('gets the question that the call has come to meanwhile', async () => {
    const second = await goOn(two, await keyed(one), { who: accept({ name: 'Ann' }) })
    const repeat = await keyed(one)
    expect(asked(repeat)).toEqual(['where'])
    expect(repeat.result).toEqual(second.result)
    expect(textOf(await goOn(two, repeat, { where: accept({ name: 'Oslo' }) }))).toBe('Ann in Oslo')
    expect(effects).toEqual(['reserve', 'order'])
  })

  test('gets the result once the call has one, for as long as outcomes are kept', async () => {
    const second = await goOn(two, await keyed(one), { who: accept({ name: 'Ann' }) })
    const third = await goOn(one, second, { where: accept({ name: 'Oslo' }) })
    expect((await keyed(two)).result).toEqual(third.result)
    await nodes.settled(nodes.clock.advance(TTL_MS * 10))
    expect((await keyed(one)).result).toEqual(third.result)
    expect(effects).toEqual(['reserve', 'order'])
  })

  test('begins anew where nobody answered in time: an expired question helps nobody', async () => {
    const first = await keyed(one)
    await nodes.settled(nodes.clock.advance(TTL_MS + 1))
    const again = await keyed(two)
    expect(asked(again)).toEqual(['who'])
    expect(again.result!.requestState).not.toBe(first.result!.requestState)
    expect(asked(await goOn(one, again, { who: accept({ name: 'Ann' }) }))).toEqual(['where'])
  })
})

test('answers count as part of a call: the same key with other ones is refused', async () => {
  const answers = { inputResponses: { who: accept({ name: 'Ann' }) } }
  const first = await keyed(one, answers)
  expect(asked(first)).toEqual(['where'])
  expect((await keyed(two, answers)).result).toEqual(first.result)
  const other = await keyed(two, { inputResponses: { who: accept({ name: 'Bob' }) } })
  expect(other.error).toMatchObject({ code: -32602, data: { code: 'idempotency_key_reused' } })
})

test('a client whose connection broke gets the outcome of the handler that went on', async () => {
  gate = Promise.withResolvers()
  const gone = new AbortController()
  const lost = keyed(one, {}, 'work', gone.signal)
  await entered.promise
  gone.abort()
  await expect(lost).rejects.toThrow()
  await aborted.promise
  const repeat = keyed(two, {}, 'work')
  gate.resolve()
  expect(textOf(await nodes.settled(repeat))).toBe('worked')
  expect(effects).toEqual(['work'])
})

test('a claim outlives a renewal that the store did not take', async () => {
  gate = Promise.withResolvers()
  const first = keyed(one, {}, 'work')
  await entered.promise
  one.faults.isStoreDown = true
  await nodes.clock.advance(11_000) // the first renewal fails
  one.faults.isStoreDown = false
  const repeat = keyed(two, {}, 'work')
  for (let second = 0; second < 60; second++) await nodes.clock.advance(1000)
  expect(effects).toEqual(['work'])
  gate.resolve()
  expect((await nodes.settled(Promise.all([first, repeat]))).map(textOf)).toEqual(['worked', 'worked'])
})

test('in a 2025 session the question is asked once, and a repeat elsewhere gets what became of it', async () => {
  const client = await LegacyClient.open(one)
  const meta = { 'dev.holdfast/idempotencyKey': key }
  const stream = await client.call(one, 'order', {}, undefined, meta)
  const first = await stream.question()
  const repeat = client.request(two, 'tools/call', { name: 'order', arguments: {}, _meta: meta })
  await client.answer(two, first.id, { result: accept({ name: 'Ann' }) })
  await client.answer(two, (await stream.question()).id, { result: accept({ name: 'Oslo' }) })
  expect((await stream.answer()).result!.content![0]!.text).toBe('Ann in Oslo')
  const response = await nodes.settled(repeat)
  expect(await response.text()).toContain('Ann in Oslo')
  expect(effects).toEqual(['reserve', 'order'])
})

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { createRuntime, defineServer, defineTool, type RuntimeOptions } from '../../src/index.ts'
import { generateKeys } from '../../src/kernel/key-ring.ts'
import { withOptions } from '../contracts/redis.ts'
import { sharedServer } from '../servers/shared.ts'
import { accept, callModern, LegacyClient, textOf, type Json, type Node } from './nodes.ts'

// What the other files of this folder show with a store in memory, once through on a real one, by the real clock.

const url = withOptions(await sharedServer('redis'), `questions-${process.pid}`)

let effects = 0
const NAME = z.object({ name: z.string().min(2) })
const server = defineServer({
  name: 'questions-redis',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'greet',
      description: 'Records something, asks, takes a step',
      input: z.object({ bytes: z.int().default(10) }),
      async run({ bytes }, ctx) {
        const text = await ctx.step('much', () => 'x'.repeat(bytes))
        const { action, content } = await ctx.elicit('who', { message: 'Who?', schema: NAME })
        if (action !== 'accept') return action
        const count = await ctx.step('effect', async () => {
          await new Promise((resolve) => setTimeout(resolve, 50))
          return ++effects
        })
        return `Hello ${content.name} ${count} ${text.length}`
      },
    }),
  ],
})

const nodes: Node[] = []
const keys = generateKeys()
const start = async (options: RuntimeOptions = {}): Promise<Node> => {
  const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent', keys, state: url, ...options })
  const faults = { isStoreDown: false, losesAnswers: false, losesMessages: false, cannotSubscribe: false }
  const node = { runtime, faults, url: (await runtime.listen({ port: 0 })).url }
  nodes.push(node)
  return node
}
let one: Node
let two: Node
beforeAll(async () => {
  one = await start()
  two = await start()
})
afterAll(() => Promise.all(nodes.map(({ runtime }) => runtime.close())))
beforeEach(() => {
  effects = 0
})

const leg = (answer: { result?: Json }, inputResponses: Json = { who: accept({ name: 'Ann' }) }): Json => ({
  requestState: answer.result!.requestState,
  inputResponses,
})

describe('at 2026-07-28', () => {
  test.each([10, 100_000])(
    'a call that recorded %i bytes goes on at another node, once, however often it is sent',
    async (bytes) => {
      const first = await callModern(one, 'greet', { bytes })
      const next = leg(first)
      const answers = await Promise.all([one, two, one, two].map((node) => callModern(node, 'greet', { bytes }, next)))
      for (const answer of answers) expect(textOf(answer)).toBe(`Hello Ann 1 ${bytes}`)
      expect(textOf(await callModern(two, 'greet', { bytes }, next))).toBe(`Hello Ann 1 ${bytes}`)
      const other = await callModern(one, 'greet', { bytes }, leg(first, { who: accept({ name: 'Bob' }) }))
      expect(other.error).toMatchObject({ data: { code: 'request_state_used' } })
    },
  )

  test('a repeat of a call with an idempotency key gets the question, and then the result', async () => {
    const more = { meta: { 'dev.holdfast/idempotencyKey': `a-key-that-is-hard-to-guess-${process.pid}` } }
    const first = await callModern(one, 'greet', {}, {}, more)
    expect((await callModern(two, 'greet', {}, {}, more)).result).toEqual(first.result)
    expect(textOf(await callModern(two, 'greet', {}, leg(first)))).toBe('Hello Ann 1 10')
    expect(textOf(await callModern(one, 'greet', {}, {}, more))).toBe('Hello Ann 1 10')
  })

  test('what was recorded is gone when its time is over', async () => {
    const hasty = await start({ questionTtlMs: 300 })
    const first = await callModern(hasty, 'greet', { bytes: 100_000 })
    await expect
      .poll(async () => (await callModern(two, 'greet', { bytes: 100_000 }, leg(first, {}))).error?.data.code, {
        timeout: 5000,
      })
      .toBe('request_state_expired')
  })
})

describe('in a 2025 session', () => {
  test('an answer at another node finds the handler that waits, and is taken once', async () => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    const { id } = await stream.question()
    const answers = ['Ann', 'Bob', 'Cid'].map((name) => client.answer(two, id, { result: accept({ name }) }))
    expect(await Promise.all(answers)).toEqual([202, 202, 202])
    expect((await stream.answer()).result!.content![0]!.text).toMatch(/^Hello (Ann|Bob|Cid) 1 10$/)
    expect(effects).toBe(1)
  })

  test('one that does not fit is asked again', async () => {
    const client = await LegacyClient.open(one)
    const stream = await client.call(one, 'greet')
    await client.answer(two, (await stream.question()).id, { result: accept({ name: 'A' }) })
    await client.answer(two, (await stream.question()).id, { result: { action: 'decline' } })
    expect((await stream.answer()).result!.content![0]!.text).toBe('decline')
  })
})

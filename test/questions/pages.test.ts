import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { defineServer, defineTool } from '../../src/index.ts'
import { callModern, LegacyClient, Nodes, textOf, type Json, type Node } from './nodes.ts'

// Pages that the user is asked to open: only `isComplete` says that they are done with.

let isDone: boolean
let looks: number
const server = defineServer({
  name: 'pages',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'pay',
      description: 'Has the user pay on a page',
      needs: ['elicitation.url'],
      async run(_args, ctx) {
        const { action } = await ctx.elicitUrl('pay', {
          message: 'Please pay',
          url: 'https://pay.example/7',
          isComplete: () => {
            looks++
            return isDone
          },
        })
        return `${action}, ${isDone ? 'paid' : 'not paid'}`
      },
    }),
    defineTool({
      name: 'broken',
      description: 'Can not tell whether the page is done with',
      async run(_args, ctx) {
        try {
          await ctx.elicitUrl('pay', {
            message: 'Please pay',
            url: 'https://pay.example/7',
            isComplete: () => Promise.reject(new Error('no answer from the bank')),
          })
        } catch (error) {
          return (error as Error).message
        }
        return 'done'
      },
    }),
  ],
})

let nodes: Nodes
let one: Node
let two: Node
beforeEach(async () => {
  isDone = false
  looks = 0
  nodes = new Nodes(server, { questionTtlMs: 120_000 })
  one = await nodes.start()
  two = await nodes.start()
})
afterEach(() => nodes.close())

const ACCEPTED = { pay: { action: 'accept' } }

describe('at 2026-07-28', () => {
  const leg = (answer: { result?: Json }, inputResponses: Json): Json => ({
    requestState: answer.result!.requestState,
    inputResponses,
  })

  test('a page that is done with already is not asked for', async () => {
    isDone = true
    expect(textOf(await callModern(one, 'pay'))).toBe('accept, paid')
  })

  test('a page that is done with when the client says so is enough', async () => {
    const first = await callModern(one, 'pay')
    expect(first.result!.inputRequests!.pay).toEqual({
      method: 'elicitation/create',
      params: { mode: 'url', message: 'Please pay', url: 'https://pay.example/7' },
    })
    isDone = true
    expect(textOf(await callModern(two, 'pay', {}, leg(first, ACCEPTED)))).toBe('accept, paid')
  })

  test('agreement is no completion: after a while the page is asked for again', async () => {
    const first = await callModern(one, 'pay')
    const sinceMs = nodes.clock.monotonic()
    const second = await nodes.settled(callModern(two, 'pay', {}, leg(first, ACCEPTED)))
    expect(nodes.clock.monotonic() - sinceMs).toBeGreaterThanOrEqual(20_000)
    expect(Object.keys(second.result!.inputRequests!)).toEqual(['pay'])
    isDone = true
    expect(textOf(await callModern(one, 'pay', {}, leg(second, ACCEPTED)))).toBe('accept, paid')
  })

  test('a page that is done with while the call waits ends the wait', async () => {
    const first = await callModern(one, 'pay')
    const answer = callModern(two, 'pay', {}, leg(first, ACCEPTED))
    await nodes.pass(() => looks > 5)
    isDone = true
    expect(textOf(await nodes.settled(answer))).toBe('accept, paid')
    expect(nodes.clock.monotonic()).toBeLessThan(20_000)
  })

  test.each(['decline', 'cancel'])('%s is what the handler hears', async (action) => {
    const first = await callModern(one, 'pay')
    expect(textOf(await callModern(two, 'pay', {}, leg(first, { pay: { action } })))).toBe(`${action}, not paid`)
  })

  test.each([{}, { pay: { action: 'perhaps' } }, { pay: 7 }])('an answer of %j is asked again', async (answers) => {
    const first = await callModern(one, 'pay')
    const second = await callModern(two, 'pay', {}, leg(first, answers))
    expect(Object.keys(second.result!.inputRequests!)).toEqual(['pay'])
  })

  test('a client without pages is not asked', async () => {
    const refused = await callModern(one, 'pay', {}, {}, { capabilities: { elicitation: {} } })
    expect(refused).toMatchObject({
      status: 400,
      error: { code: -32021, data: { requiredCapabilities: { elicitation: { url: {} } } } },
    })
    expect(looks).toBe(0)
  })

  test('what the check of the page throws reaches the handler', async () => {
    expect(textOf(await callModern(one, 'broken'))).toBe('no answer from the bank')
  })
})

describe('in a 2025 session', () => {
  const textIn = (message: { result?: { content?: { text: string }[] } }): string => message.result!.content![0]!.text

  test('the call waits until the page is done with, and the client is told', async () => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'pay')
    const { id, params } = await stream.question()
    expect(params).toMatchObject({ mode: 'url', url: 'https://pay.example/7', elicitationId: id })
    await client.answer(two, id, { result: { action: 'accept' } })
    await nodes.pass(() => looks > 5)
    isDone = true
    await nodes.pass(() => stream.messages.length > 0)
    const answer = nodes.settled(stream.answer())
    expect(textIn(await answer)).toBe('accept, paid')
    expect(stream.messages).toContainEqual(
      expect.objectContaining({ method: 'notifications/elicitation/complete', params: { elicitationId: id } }),
    )
  })

  test('a page that is never done with counts as cancelled', async () => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'pay')
    await client.answer(two, (await stream.question()).id, { result: { action: 'accept' } })
    expect(textIn(await nodes.settled(stream.answer(), 1000))).toBe('cancel, not paid')
    expect(nodes.clock.monotonic()).toBeGreaterThanOrEqual(120_000)
    expect(stream.messages.map(({ method }) => method)).not.toContain('notifications/elicitation/complete')
  })

  test.each(['decline', 'cancel'])('%s is what the handler hears', async (action) => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'pay')
    await client.answer(two, (await stream.question()).id, { result: { action } })
    expect(textIn(await stream.answer())).toBe(`${action}, not paid`)
  })

  test('2025-06-18 has no pages', async () => {
    const client = await LegacyClient.open(two, '2025-06-18')
    const answer = await (await client.call(one, 'pay')).answer()
    expect(answer.result!.isError).toBe(true)
    expect(textIn(answer)).toMatch(/needs a client with `elicitation.url`; yours, at revision 2025-06-18/)
  })

  test('a call that is cancelled stops waiting for its page', async () => {
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'pay', {}, 7)
    await client.answer(two, (await stream.question()).id, { result: { action: 'accept' } })
    await nodes.pass(() => looks > 2)
    await client.send(one, { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 7 } })
    await nodes.clock.advance(2000)
    const seen = looks
    await nodes.clock.advance(10_000)
    expect(looks).toBe(seen)
  })
})

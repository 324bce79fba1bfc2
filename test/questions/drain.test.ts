import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { defineServer, defineTool, type RuntimeOptions } from '../../src/index.ts'
import { accept, LegacyClient, Nodes, type Message, type Node } from './nodes.ts'

// A node that stops while its handlers ask.

let outcomes: string[]

const server = defineServer({
  name: 'drain',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'greet',
      description: 'Asks for a name',
      async run(_args, ctx) {
        try {
          const { content } = await ctx.elicit('who', { message: 'Who?', schema: z.object({ name: z.string() }) })
          return `Hello ${content?.name}`
        } catch (error) {
          outcomes.push((error as { code: string }).code)
          throw error
        }
      },
    }),
    defineTool({
      name: 'folders',
      description: 'Asks for folders',
      run: async (_args, ctx) => (await ctx.roots('folders')).map(({ uri }) => uri).join(),
    }),
  ],
})

let nodes: Nodes
let one: Node
let two: Node
const start = async (options: RuntimeOptions = {}): Promise<void> => {
  nodes = new Nodes(server, options)
  one = await nodes.start()
  two = await nodes.start()
}
beforeEach(() => {
  outcomes = []
})
afterEach(() => nodes.close())

const ANN = { result: accept({ name: 'Ann' }) }
const textIn = (message: Message): string => message.result!.content![0]!.text

describe('while a node stops', () => {
  test.each(['one', 'two'] as const)(
    'answers are still taken, by node %s, and calls end in peace',
    async (answering) => {
      await start({ drainDeadlineMs: 60_000 })
      const client = await LegacyClient.open(two)
      const stream = await client.call(one, 'greet')
      const { id } = await stream.question()
      const closing = one.runtime.close()
      expect(await client.answer(answering === 'one' ? one : two, id, ANN)).toBe(202)
      expect(textIn(await stream.answer())).toBe('Hello Ann')
      await nodes.settled(closing)
    },
  )

  test('a batch of nothing but answers is taken too', async () => {
    await start({ drainDeadlineMs: 60_000 })
    const client = await LegacyClient.open(two, '2025-03-26')
    const stream = await client.call(one, 'folders')
    const { id } = await stream.question()
    const closing = one.runtime.close()
    expect((await client.send(one, [{ jsonrpc: '2.0', id, result: { roots: [] } }])).status).toBe(202)
    expect(textIn(await stream.answer())).toBe('')
    await nodes.settled(closing)
  })

  test('who has not answered by the deadline is told to call again', async () => {
    await start({ drainDeadlineMs: 5000 })
    const client = await LegacyClient.open(two)
    const stream = await client.call(one, 'greet')
    await stream.question()
    const closing = one.runtime.close()
    const answer = await nodes.settled(stream.answer())
    expect(answer.error).toMatchObject({ data: { code: 'draining', retryable: true } })
    expect(outcomes).toEqual(['draining'])
    await nodes.settled(closing)
  })
})

import { afterEach, beforeEach, expect, test } from 'vitest'
import * as z from 'zod'
import { defineServer, defineTool } from '../../src/index.ts'
import { accept, callModern, Nodes, textOf, type Answered, type Json, type Node } from './nodes.ts'

// The limits of a tool count calls, not their legs; a client that answers nothing calls anew.

let runs = 0
const NAME = z.object({ name: z.string().min(2) })
const server = defineServer({
  name: 'limits',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'dear',
      description: 'Asks three times',
      limits: [{ per: 'principal', limit: 3, windowMs: 3_600_000 }],
      async run(_args, ctx) {
        runs++
        const names: (string | undefined)[] = []
        for (const place of ['a', 'b', 'c'])
          names.push((await ctx.elicit(place, { message: place, schema: NAME })).content?.name)
        return names.join()
      },
    }),
  ],
})

let nodes: Nodes
let node: Node
beforeEach(async () => {
  runs = 0
  nodes = new Nodes(server)
  node = await nodes.start()
})
afterEach(() => nodes.close())

const goOn = (answer: Answered, inputResponses: Json): Promise<Answered> =>
  callModern(node, 'dear', {}, { requestState: answer.result!.requestState, inputResponses })

test('a call with its legs counts once', async () => {
  for (let call = 0; call < 3; call++) {
    let answer: Answered = await callModern(node, 'dear')
    for (const place of ['a', 'b', 'c']) answer = await goOn(answer, { [place]: accept({ name: `at ${place}` }) })
    expect(textOf(answer)).toBe('at a,at b,at c')
  }
  expect((await callModern(node, 'dear')).error).toMatchObject({ code: 42900 })
})

test.each([
  ['nothing', {}],
  ['what does not fit', { a: accept({ name: 'A' }) }],
])('legs that answer %s do not run for nothing, again and again', async (_what, answers) => {
  let answer: Answered = await callModern(node, 'dear')
  let legs = 0
  for (; answer.error === undefined && legs < 20; legs++) {
    const before = answer
    answer = await goOn(before, answers)
    if (answer.error !== undefined) {
      expect(answer.error).toMatchObject({ code: 42900, data: { retryable: true } })
      // What was refused has not been used: later it goes on.
      await nodes.clock.advance(3_600_000)
    }
  }
  expect(legs).toBeLessThan(5)
  expect(runs).toBeLessThan(5)
})

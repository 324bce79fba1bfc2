/** A tool that asks the user, and says how long it waited: over which nodes the answer went is up to the client. */
import { performance } from 'node:perf_hooks'
import { defineServer, defineTool } from 'holdfast'
import * as z from 'zod'

const add = defineTool({
  name: 'add',
  description: 'Adds two numbers',
  input: z.object({ a: z.number(), b: z.number() }),
  run: ({ a, b }) => String(a + b),
})

const ask = defineTool({
  name: 'ask',
  description: 'Asks ten times, one question after the other',
  needs: ['elicitation'],
  async run(_args, ctx) {
    const schema = z.object({ ok: z.boolean() })
    const waits: number[] = []
    for (let turn = 0; turn < 10; turn++) {
      const startedAt = performance.now()
      await ctx.elicit(`turn-${turn}`, { message: 'Go on?', schema })
      waits.push(performance.now() - startedAt)
    }
    return JSON.stringify(waits)
  },
})

export default defineServer({ name: 'asking', version: '1.0.0', tools: [add, ask] })

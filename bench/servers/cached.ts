/** The measured server once more, with its tool's results cached. */
import { defineServer, defineTool } from 'holdfast'
import * as z from 'zod'

const add = defineTool({
  name: 'add',
  description: 'Adds two numbers',
  input: z.object({ a: z.number(), b: z.number() }),
  cache: { ttlMs: 600_000, scope: 'public' },
  run: ({ a, b }) => String(a + b),
})

export default defineServer({ name: 'bench', version: '1.0.0', tools: [add] })

/** The measured server: one tool, text content alone, and everything that Holdfast does for a server switched on. */
import { defineServer, defineTool } from 'holdfast'
import * as z from 'zod'

const add = defineTool({
  name: 'add',
  description: 'Adds two numbers',
  input: z.object({ a: z.number(), b: z.number() }),
  run: ({ a, b }) => String(a + b),
})

export default defineServer({ name: 'bench', version: '1.0.0', tools: [add] })

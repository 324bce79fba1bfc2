/** A server with a thousand tools of an ordinary size, for `tools/list`. */
import { defineServer, defineTool } from 'holdfast'
import * as z from 'zod'

const input = z.object({
  query: z.string().describe('What to look for'),
  limit: z.number().int().min(1).max(100).describe('How many results at most'),
  tags: z.array(z.string()).optional().describe('Only results that carry all of these tags'),
})

const tools = Array.from({ length: 1000 }, (_, index) =>
  defineTool({
    name: `tool_${index}`,
    description: `Searches collection ${index} and returns the best matches first`,
    input,
    run: ({ query }) => query,
  }),
)

export default defineServer({ name: 'bench', version: '1.0.0', tools })

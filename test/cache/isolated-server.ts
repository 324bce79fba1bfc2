// The server of isolation.test.ts, loaded by the test, and again by each thread and process.
import { appendFileSync } from 'node:fs'
import { defineServer, defineTool } from 'holdfast'
import * as z from 'zod'

const input = z.object({ file: z.string() })
const tool = (name: string, isolation?: 'thread' | 'process') =>
  defineTool({
    name,
    description: 'Computes where nobody has',
    input,
    ...(isolation && { task: { isolation, timeoutMs: 30_000 } }),
    run: ({ file }, ctx) =>
      ctx.cache(
        'shared',
        file,
        () => {
          appendFileSync(file, `${name}\n`)
          return `by ${name}`
        },
        { ttlMs: 60_000, scope: 'public', tags: ['all'] },
      ),
  })

export default defineServer({
  name: 'isolated-cache',
  version: '1.0.0',
  tools: [tool('in-place'), tool('in-thread', 'thread'), tool('in-process', 'process')],
})

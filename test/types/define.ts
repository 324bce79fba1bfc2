import * as z from 'zod'
import { type } from 'arktype'
import { defineTool, defineResource, definePrompt } from '../../src/index.ts'
defineTool({
  name: 'a',
  description: 'x',
  input: z.object({ a: z.number(), b: z.number().default(1) }),
  output: z.object({ sum: z.number() }),
  run: ({ a, b }) => ({ sum: a + b }),
})
defineTool({
  name: 'a',
  description: 'x',
  input: type({ a: 'number' }),
  async run({ a }, { signal }) {
    signal.throwIfAborted()
    return a.toFixed()
  },
})
defineTool({
  name: 'a',
  description: 'x',
  input: { type: 'object', properties: {} },
  async run(args) {
    return String(args.x)
  },
})
// @ts-expect-error wrong output
defineTool({ name: 'a', description: 'x', output: z.object({ sum: z.number() }), run: () => ({ sum: 'x' }) })
defineResource({
  uriTemplate: 'doc://{id}/{+rest}',
  name: 'x',
  complete: { id: () => ['a'] },
  read: ({ id, rest }) => id + rest,
})
defineResource({ uri: 'doc://x', name: 'x', read: (uri) => uri })
definePrompt({
  name: 'x',
  arguments: z.object({ diff: z.string() }),
  complete: { diff: (v) => [v] },
  get: ({ diff }) => diff,
})

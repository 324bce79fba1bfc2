/** A server with one tool that needs a language model, and two that do not. `CASCADE_GUARDED=0`: the model is called with a bare `fetch`. */
import { setTimeout as wait } from 'node:timers/promises'
import { defineDependency, defineServer, defineTool } from 'holdfast'
import * as z from 'zod'
import { lookupMs, modelTimeoutMs, probeMs } from '../cascade/settings.ts'

const url = process.env['CASCADE_MODEL_URL']!
const isGuarded = process.env['CASCADE_GUARDED'] !== '0'

const model = defineDependency({
  name: 'model',
  timeoutMs: modelTimeoutMs,
  breaker: { openMs: probeMs },
})

const answer = defineTool({
  name: 'answer',
  description: 'Asks the language model',
  run: async (_args, { signal }) => {
    const call = isGuarded ? model.fetch : fetch
    const response = await call(url, { method: 'POST', body: '{"prompt":"?"}', signal })
    const { text } = (await response.json()) as { text: string }
    return text
  },
})

const add = defineTool({
  name: 'add',
  description: 'Adds two numbers',
  input: z.object({ a: z.number(), b: z.number() }),
  run: ({ a, b }) => String(a + b),
})

const lookup = defineTool({
  name: 'lookup',
  description: 'Waits as long as a database would take',
  run: async (_args, { signal }) => {
    await wait(lookupMs, undefined, { signal })
    return 'found'
  },
})

export default defineServer({ name: 'cascade', version: '1.0.0', tools: [answer, add, lookup] })

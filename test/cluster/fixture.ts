// What the cluster serves in tests: tools that need no state, tools that take time, and tools that tell others.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { defineResource, defineServer, defineTool } from 'holdfast'
import * as z from 'zod'

const add = defineTool({
  name: 'add',
  description: 'Adds two numbers; needs no state',
  input: z.object({ a: z.number(), b: z.number() }),
  run: ({ a, b }) => String(a + b),
})

const node = defineTool({
  name: 'node',
  description: 'Says which process answered',
  run: () => String(process.pid),
})

const token = defineTool({
  name: 'token',
  description: 'Returns something new each time it runs',
  run: () => randomUUID(),
})

const work = defineTool({
  name: 'work',
  description: 'Takes a while',
  input: z.object({ ms: z.number() }),
  async run({ ms }, { signal }) {
    await sleep(ms, undefined, { signal })
    return 'done'
  },
})

const count = defineTool({
  name: 'count',
  description: 'Reports progress from 1 to `to`, one step every `everyMs`',
  input: z.object({ to: z.number(), everyMs: z.number() }),
  async run({ to, everyMs }, { progress, signal }) {
    for (let step = 1; step <= to; step++) {
      progress(step, to)
      await sleep(everyMs, undefined, { signal })
    }
    return 'counted'
  },
})

const ask = defineTool({
  name: 'ask',
  description: 'Asks for a color; says what it knew before, the color, and something new each time it ends',
  needs: ['elicitation'],
  async run(_args, { elicit, step }) {
    const before = await step('before', () => randomUUID())
    const schema = z.object({ color: z.string() })
    const answer = await elicit('color', { message: before, schema })
    return `${before} ${answer.action === 'accept' ? answer.content.color : answer.action} ${randomUUID()}`
  },
})

const touch = defineTool({
  name: 'touch',
  description: 'Announces a change of the board',
  run(_args, { notify }) {
    notify.resourceUpdated('board://one')
    return 'announced'
  },
})

const board = defineResource({ uri: 'board://one', name: 'board', read: () => 'notes' })

export default defineServer({
  name: 'cluster',
  version: '1.0.0',
  tools: [add, node, token, work, count, ask, touch],
  resources: [board],
})

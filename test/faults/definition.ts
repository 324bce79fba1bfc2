// What nodes serve while a backend of theirs is broken: one tool for each feature that a backend carries.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { defineResource, defineServer, defineTool } from '../../src/index.ts'

const add = defineTool({
  name: 'add',
  description: 'Adds two numbers; needs no state',
  input: z.object({ a: z.number(), b: z.number() }),
  run: ({ a, b }) => String(a + b),
})

const token = defineTool({
  name: 'token',
  description: 'Returns something new each time it runs',
  run: () => randomUUID(),
})

const count = defineTool({
  name: 'count',
  description: 'Reports progress three times',
  async run(_args, { progress, signal }) {
    for (let step = 1; step <= 3; step++) {
      progress(step, 3)
      await sleep(20, undefined, { signal })
    }
    return 'counted'
  },
})

const ask = defineTool({
  name: 'ask',
  description: 'Asks for a color',
  needs: ['elicitation'],
  async run(_args, { elicit }) {
    const answer = await elicit('color', { message: 'Which?', schema: z.object({ color: z.string() }) })
    return answer.action === 'accept' ? answer.content.color : answer.action
  },
})

const askAfterStep = defineTool({
  name: 'ask-after-step',
  description: 'Takes a step, asks for a color, and takes another step',
  needs: ['elicitation'],
  async run(_args, { elicit, step }) {
    const before = await step('before', () => randomUUID())
    const answer = await elicit('color', { message: before, schema: z.object({ color: z.string() }) })
    return step('after', () => (answer.action === 'accept' ? answer.content.color : answer.action))
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

const ENOUGH = { per: 'principal', limit: 1_000_000, windowMs: 60_000 } as const
const limited = defineTool({
  name: 'limited',
  description: 'Has a limit that each node keeps by itself where it must',
  limits: [{ ...ENOUGH, onStateLost: 'local' }],
  run: () => 'let in',
})
const guarded = defineTool({
  name: 'guarded',
  description: 'Has a limit that lets nothing pass which is not counted',
  limits: [{ ...ENOUGH, onStateLost: 'closed' }],
  run: () => 'let in',
})

const work = defineTool({
  name: 'work',
  description: 'Takes two steps and a moment, as a task',
  task: true,
  async run(_args, { step, signal }) {
    const one = await step('one', () => 1)
    await sleep(800, undefined, { signal })
    const two = await step('two', () => one + 1)
    return `came to ${two}`
  },
})

const write = defineTool({
  name: 'write',
  description: 'Writes an artifact of 100 KiB',
  run: (_args, { artifacts }) => artifacts.put('x'.repeat(100 * 1024), { name: 'x.txt' }),
})
const big = defineTool({
  name: 'big',
  description: 'Answers with what is too big for a message',
  run: () => 'x'.repeat(300 * 1024),
})
const KEPT = { ttlMs: 3_600_000, scope: 'public' } as const
const cached = defineTool({
  name: 'cached',
  description: 'Gives what was computed once',
  run: (_args, { cache }) => cache('once', [], () => randomUUID(), KEPT),
})
const cachedByTag = defineTool({
  name: 'cached-by-tag',
  description: 'Gives what was computed, unless its tag was invalidated',
  run: (_args, { cache }) => cache('tagged', [], () => 'computed', { ...KEPT, tags: ['kept'] }),
})
const invalidate = defineTool({
  name: 'invalidate',
  description: 'Invalidates a tag',
  async run(_args, ctx) {
    await ctx.invalidate(['dropped'])
    return 'invalidated'
  },
})

/** The same as a task: its result goes to the artifacts, where it is too big for the store of tasks. */
const bigWork = defineTool({
  name: 'big-work',
  description: 'Takes a step of 300 KiB, as a task',
  task: true,
  async run(_args, { step, signal }) {
    await sleep(800, undefined, { signal })
    const text = await step('text', () => 'x'.repeat(300 * 1024))
    return `made ${text.length}`
  },
})

const board = defineResource({ uri: 'board://one', name: 'board', read: () => 'notes' })

export default defineServer({
  name: 'faults',
  version: '1.0.0',
  tools: [
    add,
    token,
    count,
    ask,
    askAfterStep,
    touch,
    limited,
    guarded,
    cached,
    cachedByTag,
    invalidate,
    work,
    bigWork,
    write,
    big,
  ],
  resources: [board],
})

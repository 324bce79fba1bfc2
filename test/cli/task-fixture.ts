import { existsSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { defineServer, defineTool } from 'holdfast'

// What the tests of `holdfast worker` run: a task that says on which process it ran, one that waits for a file.

const where = defineTool({
  name: 'where',
  description: 'Says where it ran',
  task: true,
  run: () => String(process.pid),
})

const wait = defineTool({
  name: 'wait',
  description: 'Waits until there is a file, and says how often it began',
  input: { type: 'object', properties: { folder: { type: 'string' } }, required: ['folder'] } as const,
  task: { queue: 'slow' },
  async run({ folder }: { folder: string }, ctx) {
    const first = await ctx.step('first', () => process.pid)
    writeFileSync(`${folder}/began-${process.pid}`, '')
    while (!existsSync(`${folder}/go`)) await sleep(20, undefined, { signal: ctx.signal })
    return `first ${first}, last ${process.pid}`
  },
})

export const options = { worker: { leaseMs: Number(process.env.TASK_LEASE_MS ?? 30_000) } }
export default defineServer({ name: 'tasks', version: '1.0.0', tools: [where, wait] })

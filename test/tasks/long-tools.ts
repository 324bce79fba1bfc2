// What nodes and workers serve in the tests of this folder that run real processes.
import { setTimeout as sleep } from 'node:timers/promises'
import { defineServer, defineTool, type RuntimeOptions } from 'holdfast'
import * as z from 'zod'

const count = defineTool({
  name: 'count',
  description: 'Reports progress from 1 to `to`, one step every `everyMs`, and says which process has counted',
  input: z.object({ to: z.number(), everyMs: z.number() }),
  task: true,
  async run({ to, everyMs }, { progress, signal }) {
    for (let step = 1; step <= to; step++) {
      progress(step, to)
      await sleep(everyMs, undefined, { signal })
    }
    return `counted by ${process.pid}`
  },
})

const color = defineTool({
  name: 'color',
  description: 'Asks for a color',
  task: true,
  async run(_args, { elicit }) {
    const answer = await elicit('color', { message: 'Which color?', schema: z.object({ color: z.string() }) })
    return answer.action === 'accept' ? answer.content.color : answer.action
  },
})

export default defineServer({ name: 'long', version: '1.0.0', tools: [count, color] })

/** A node leaves the work to workers; a worker is quick to notice what is lost. */
export const options: RuntimeOptions = {
  worker: process.env['TEST_ROLE'] === 'worker' ? { leaseMs: 3000, hungAfterMs: 2000, pollMs: 500 } : false,
}

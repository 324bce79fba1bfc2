// What the three nodes serve: small tools that show which node answered, and that it does not matter.
import { setTimeout as sleep } from 'node:timers/promises'
import { defineResource, defineServer, defineTool } from 'holdfast'
import * as z from 'zod'

const node = defineTool({
  name: 'node',
  description: 'Says which process answered',
  run: () => `process ${process.pid}`,
})

const countdown = defineTool({
  name: 'countdown',
  description: 'Counts down, a step each second, and tells of each step',
  input: z.object({ from: z.number().int().min(1).max(60) }),
  async run({ from }, { progress, signal }) {
    for (let left = from; left > 0; left--) {
      progress(from - left, from, `${left} left, says process ${process.pid}`)
      await sleep(1000, undefined, { signal })
    }
    return `counted by process ${process.pid}`
  },
})

const ring = defineTool({
  name: 'ring',
  description: 'Tells everyone who follows bell://tower, on whichever node, that it has rung',
  run(_args, { notify }) {
    notify.resourceUpdated('bell://tower')
    return `rung by process ${process.pid}`
  },
})

const bell = defineResource({ uri: 'bell://tower', name: 'bell', description: 'A bell', read: () => 'It hangs.' })

export default defineServer({
  name: 'cluster',
  version: '1.0.0',
  tools: [node, countdown, ring],
  resources: [bell],
})

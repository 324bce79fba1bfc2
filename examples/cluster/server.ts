// What the nodes serve and the workers run: Docs desk's knowledge base, and small tools that show which node answered, and
// that it does not matter.
import { setTimeout as sleep } from 'node:timers/promises'
import { defineResource, defineServer, defineTool } from 'holdfast'
import { openDocsDesk } from '../docs-desk/docs-desk.ts'
import { docsDeskParts } from '../docs-desk/server-definition.ts'
import { readSettings } from '../docs-desk/settings.ts'
import * as z from 'zod'

const settings = readSettings(process.env)
const desk = docsDeskParts(() => openDocsDesk(settings))

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
  tools: [...desk.tools, node, countdown, ring],
  resources: [...desk.resources, bell],
  prompts: desk.prompts,
})

import { setTimeout as sleep } from 'node:timers/promises'
import { defineResource, defineServer, defineTool } from 'holdfast'
import * as z from 'zod'

const pid = defineTool({ name: 'pid', description: 'Says which process answers', run: () => String(process.pid) })

const slow = defineTool({
  name: 'slow',
  description: 'Answers after a while',
  input: z.object({ ms: z.number() }),
  async run({ ms }, { signal }) {
    await sleep(ms, undefined, { signal })
    return 'done'
  },
})

const stubborn = defineTool({
  name: 'stubborn',
  description: 'Never ends',
  run: () => new Promise<string>(() => undefined),
})

const touch = defineTool({
  name: 'touch',
  description: 'Announces a change',
  run(_args, { notify }) {
    notify.resourceUpdated('note://one')
    return String(process.pid)
  },
})

const note = defineResource({ uri: 'note://one', name: 'one', read: () => 'text' })

export default defineServer({
  name: 'fixture',
  version: '1.2.3',
  tools: [pid, slow, stubborn, touch],
  resources: [note],
})

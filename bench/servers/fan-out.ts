/** A node whose clients all follow its list of tools; a call of its tool says that the list has changed. */
import { defineServer, defineTool, type RuntimeOptions } from 'holdfast'

const touch = defineTool({
  name: 'touch',
  description: 'Says that the list of tools has changed',
  run: (_args, { notify }) => {
    notify.toolsChanged()
    return 'done'
  },
})

export default defineServer({ name: 'fan-out', version: '1.0.0', tools: [touch] })

/** All streams come from one address here. */
export const options: RuntimeOptions = { maxStreamsPerPrincipal: 100_000 }

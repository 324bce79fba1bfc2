import { defineServer, defineTool } from 'holdfast'

/** Served by a process of its own, whose log somebody reads, or doesn't. */
export default defineServer({
  name: 'child',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'say',
      description: 'Writes much to the log',
      run(_args, { log }) {
        log.info('a long story', { text: 'x'.repeat(8000) })
        return 'said'
      },
    }),
    defineTool({
      name: 'crash',
      description: 'Ends the process by an error that nobody catches',
      run() {
        setTimeout(() => {
          throw new Error('the roof is on fire')
        })
        return 'soon'
      },
    }),
    defineTool({
      name: 'exit',
      description: 'Ends the process',
      run() {
        setTimeout(() => process.exit(7))
        return 'soon'
      },
    }),
  ],
})

export const options = { dataDir: false }

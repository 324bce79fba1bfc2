// The server of isolation.ts: the same no-op in the worker, in a thread and in a process.
import { isMainThread } from 'node:worker_threads'
import { defineServer, defineTool } from 'holdfast'

const tool = (name: string, isolation?: 'thread' | 'process') =>
  defineTool({
    name,
    description: 'Does nothing',
    task: isolation === undefined ? true : { isolation },
    run: async (_args, ctx) => {
      await ctx.step('one', () => 1)
      const { user, system } = isMainThread ? process.cpuUsage() : process.threadCpuUsage()
      return { rssMb: process.memoryUsage().rss / 1e6, cpuMs: (user + system) / 1000 }
    },
  })

export default defineServer({
  name: 'isolated',
  version: '1.0.0',
  tools: [tool('worker'), tool('thread', 'thread'), tool('process', 'process')],
})

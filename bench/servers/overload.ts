/** The server that is overloaded: its tool says how much it can do at once, and is otherwise the official SDK's. */
import { defineServer, defineTool } from 'holdfast'
import { Pool, poolSize, serviceMs } from './pool.ts'

const pool = new Pool(poolSize)

const query = defineTool({
  name: 'query',
  description: 'Asks a database that grants 40 connections',
  concurrency: poolSize,
  run: async (_args, { signal }) => {
    await pool.use(serviceMs, signal)
    return 'done'
  },
})

export default defineServer({ name: 'overload', version: '1.0.0', tools: [query] })

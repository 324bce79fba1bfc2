// The official SDK 2.x with the tool of servers/overload.ts, mounted as in sdk2.js. It has no bound of its own on calls
// that run; the tool hands the SDK's signal to the pool, so that who has gone away waits there no longer.
import { createServer } from 'node:http'
import { localhostHostValidation, localhostOriginValidation, toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { Pool, poolSize, serviceMs } from '../servers/pool.ts'

const pool = new Pool(poolSize)

const factory = () => {
  const server = new McpServer({ name: 'overload', version: '1.0.0' })
  server.registerTool('query', { description: 'Asks a database that grants 40 connections' }, async (ctx) => {
    await pool.use(serviceMs, ctx.mcpReq.signal)
    return { content: [{ type: 'text', text: 'done' }] }
  })
  return server
}

const nodeHandler = toNodeHandler(createMcpHandler(factory))
const validateHost = localhostHostValidation()
const validateOrigin = localhostOriginValidation()
createServer((request, response) => {
  if (!validateHost(request, response) || !validateOrigin(request, response)) return
  void nodeHandler(request, response)
}).listen(Number(process.env.PORT), '127.0.0.1')

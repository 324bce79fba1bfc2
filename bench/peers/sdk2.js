// Official TypeScript SDK 2.x as its page "Serve over HTTP" mounts it on node:http: one factory, a fresh server per
// request, both eras, Host and Origin guards in front. The schema is built once, outside the factory.
import { createServer } from 'node:http'
import { localhostHostValidation, localhostOriginValidation, toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import * as z from 'zod'

const inputSchema = z.object({ a: z.number(), b: z.number() })

const factory = () => {
  const server = new McpServer({ name: 'bench', version: '1.0.0' })
  server.registerTool('add', { description: 'Adds two numbers', inputSchema }, async ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
  }))
  return server
}

// The bound on open streams (1,024 by default) is lifted for the bench, as it is for Holdfast.
const handler = createMcpHandler(factory, { maxSubscriptions: 100_000 })

const nodeHandler = toNodeHandler(handler)
const validateHost = localhostHostValidation()
const validateOrigin = localhostOriginValidation()
createServer((request, response) => {
  if (!validateHost(request, response) || !validateOrigin(request, response)) return
  void nodeHandler(request, response)
}).listen(Number(process.env.PORT), '127.0.0.1')

// Official TypeScript SDK 1.x with sessions in process memory, as its examples simpleStreamableHttp and
// jsonResponseStreamableHttp: the server and the transport are built once per session and found again by its id.
import { randomUUID } from 'node:crypto'
import { createMcpExpressApp } from '@modelcontextprotocol/sdk/server/express.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { isInitializeRequest } from '@modelcontextprotocol/sdk/types.js'
import { buildServer } from './sdk1-server.js'

const transports = new Map()

const app = createMcpExpressApp()
app.post('/mcp', async (request, response) => {
  const known = transports.get(request.headers['mcp-session-id'])
  if (known !== undefined) {
    await known.handleRequest(request, response, request.body)
    return
  }
  if (!isInitializeRequest(request.body)) {
    response
      .status(400)
      .json({ jsonrpc: '2.0', error: { code: -32000, message: 'No valid session ID provided' }, id: null })
    return
  }
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    enableJsonResponse: true,
    onsessioninitialized: (sessionId) => transports.set(sessionId, transport),
  })
  transport.onclose = () => transports.delete(transport.sessionId)
  await buildServer().connect(transport)
  await transport.handleRequest(request, response, request.body)
})
app.listen(Number(process.env.PORT), '127.0.0.1')

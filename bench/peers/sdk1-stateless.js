// Official TypeScript SDK 1.x, stateless, as its example simpleStatelessStreamableHttp: a server and a transport per
// request behind its Express app. JSON answers are switched on, as in its example jsonResponseStreamableHttp: without
// them every answer is a one-event SSE stream, which is slower.
import { createMcpExpressApp } from '@modelcontextprotocol/sdk/server/express.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { buildServer } from './sdk1-server.js'

const app = createMcpExpressApp()
app.post('/mcp', async (request, response) => {
  const server = buildServer()
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true })
  response.on('close', () => {
    void transport.close()
    void server.close()
  })
  await server.connect(transport)
  await transport.handleRequest(request, response, request.body)
})
app.listen(Number(process.env.PORT), '127.0.0.1')

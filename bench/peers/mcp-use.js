// mcp-use as its documentation serves a production server: stateless by design. Its request log stays on, as its
// default is (so is Holdfast's).
import { MCPServer } from 'mcp-use'
import { z } from 'zod'

const server = new MCPServer({ name: 'bench', version: '1.0.0' })
server.tool(
  { name: 'add', description: 'Adds two numbers', inputSchema: z.object({ a: z.number(), b: z.number() }) },
  async ({ a, b }) => ({ content: [{ type: 'text', text: String(a + b) }] }),
)
await server.listen(Number(process.env.PORT))

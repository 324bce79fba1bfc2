// The server of isolated.test.ts, loaded by the test, and again by each thread and process.
import { defineDependency, defineServer, defineTool } from 'holdfast'
import * as z from 'zod'

const crm = defineDependency({ name: 'crm', retry: { baseMs: 1, maxMs: 1 }, breaker: { consecutiveFailures: 4 } })

export default defineServer({
  name: 'apart',
  version: '1.0.0',
  tools: (['thread', 'process'] as const).map((isolation) =>
    defineTool({
      name: isolation,
      description: 'Asks the CRM, from apart',
      input: z.object({ url: z.string() }),
      task: { isolation, maxAttempts: 1 },
      run: async ({ url }, ctx) => {
        const response = await crm.fetch(url)
        return ctx.use(crm, () => response.text())
      },
    }),
  ),
})

// The server of isolated.test.ts, loaded by the test, and again by each thread and process.
import { defineServer, defineTool } from '../../src/index.ts'

const plain = defineTool({ name: 'plain', description: 'Writes nothing', task: true, run: () => 'nothing' })
const writers = (['thread', 'process'] as const).map((isolation) =>
  defineTool({
    name: `${isolation}-write`,
    description: 'Writes an artifact',
    task: { isolation },
    run: (_args, ctx) => ctx.artifacts.put('x', { name: 'x.txt' }),
  }),
)

export default defineServer({ name: 'writers', version: '1.0.0', tools: [plain, ...writers] })

// The server of isolation-traces.test.ts, loaded by the test, and again by each thread and process: it registers an SDK in each.
import { isMainThread } from 'node:worker_threads'
import { trace } from '@opentelemetry/api'
import { defineServer, defineTool } from '../../src/index.ts'
import { registerSdk } from '../telemetry/otel.ts'

export const sdk = registerSdk()

const tools = (['thread', 'process'] as const).map((isolation) =>
  defineTool({
    name: isolation,
    description: 'Says in which span it runs, before and after a step',
    task: { isolation },
    async run(_args, ctx) {
      const before = trace.getActiveSpan()?.spanContext()
      const inStep = await ctx.step('look', async () => trace.getActiveSpan()?.spanContext().spanId ?? 'none')
      const { spanId, traceId } = trace.getActiveSpan()?.spanContext() ?? {}
      return { pid: process.pid, isMainThread, before: before?.spanId, inStep, spanId, traceId }
    },
  }),
)
export default defineServer({ name: 'traced', version: '1.0.0', tools })

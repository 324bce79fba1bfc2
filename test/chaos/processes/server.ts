// The server that nodes and workers of a run have: one tool, which does what its arguments say.
import * as z from 'zod'
import { defineServer, type ServerDefinition } from '../../../src/define/server.ts'
import { defineTool } from '../../../src/define/tool.ts'
import { QUEUE } from '../backends/backend.ts'
import { LIMITS } from '../limits.ts'
import type { HistoryWriter } from '../history.ts'
import { runPlan, Transient, type Action } from './plan.ts'
import type { Holdings } from './recorded.ts'

/** @param retentionMs how long a task is kept after its end */
export function chaosServer(history: HistoryWriter, holdings: Holdings, retentionMs: number): ServerDefinition {
  const work = defineTool({
    name: 'work',
    description: 'Does what its plan says',
    input: z.object({ plan: z.array(z.looseObject({ do: z.string() })) }),
    needs: ['elicitation'],
    task: {
      support: 'required',
      queue: QUEUE,
      ...LIMITS,
      retryable: (error) => error instanceof Transient,
      maxBackoffMs: 300,
      retentionMs,
    },
    async run({ plan }, ctx) {
      const context = {
        ...holdings.of(ctx.idempotencyKey),
        signal: ctx.signal,
        step: (name: string, run: () => Promise<unknown>) => ctx.step(name, run),
        sleep: (name: string, ms: number) => ctx.sleep(name, ms),
        async ask(name: string) {
          const schema = z.object({ value: z.string() })
          const answer = await ctx.elicit(name, { message: `What of ${name}?`, schema })
          return answer.content?.value ?? answer.action
        },
      }
      return JSON.stringify(await runPlan(plan as unknown as Action[], context, history))
    },
  })
  return defineServer({ name: 'chaos', version: '1.0.0', tools: [work] })
}

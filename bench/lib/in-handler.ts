/** A handler's context, for as long as the bench wants it. */
import { defineServer, defineTool } from '../../src/index.ts'
import type { Context, RuntimeOptions } from '../../src/index.ts'
import { connect } from '../../src/testing/index.ts'

/** What a handler of a runtime of its own was given. */
export interface Lent {
  readonly ctx: Context
  close(): Promise<void>
}

/** Starts a runtime in this process, calls a tool of it, and keeps the tool from returning. */
export async function inHandler(runtime: RuntimeOptions = {}): Promise<Lent> {
  const { promise: lent, resolve: lend } = Promise.withResolvers<Context>()
  const { promise: returned, resolve: end } = Promise.withResolvers<string>()
  const hold = defineTool({
    name: 'hold',
    description: 'Returns when the bench is done with its context',
    run(_args, ctx) {
      lend(ctx)
      return returned
    },
  })
  const client = await connect(defineServer({ name: 'bench', version: '1.0.0', tools: [hold] }), { runtime })
  const call = client.callTool('hold')
  const ctx = await Promise.race([lent, call.then(() => Promise.reject(new Error('the handler was not called')))])
  return {
    ctx,
    async close() {
      end('done')
      await call
      await client.close()
    },
  }
}

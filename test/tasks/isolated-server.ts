// The server of isolation.test.ts, loaded by the test, and again by each thread and process.
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, threadId } from 'node:worker_threads'
import { defineServer, defineTool, toolError } from 'holdfast'
import * as z from 'zod'

let calls = 0
const file = z.object({ file: z.string() })

const tools = (['thread', 'process'] as const).flatMap((isolation) => {
  const task = { isolation, timeoutMs: 30_000, graceMs: 200, maxBackoffMs: 1 }
  return [
    defineTool({
      name: `${isolation}-where`,
      description: 'Says where it runs, and which of its calls it is there',
      task,
      run: (_args, ctx) => ({
        pid: process.pid,
        threadId,
        isMainThread,
        calls: ++calls,
        issuer: ctx.principal.issuer,
        client: ctx.client.protocolVersion,
      }),
    }),
    defineTool({
      name: `${isolation}-trip`,
      description: 'Does everything that a context can',
      input: file,
      needs: ['elicitation'],
      task,
      async run(args, ctx) {
        appendFileSync(args.file, 'run\n')
        const offer = await ctx.step('offer', () => {
          appendFileSync(args.file, 'offer\n')
          return { price: 7, key: ctx.idempotencyKey }
        })
        ctx.progress(1, 2, 'half of it')
        ctx.log.info('has an offer', { price: offer.price, circular: circular() })
        const { content } = await ctx.elicit('when', { message: 'When?', schema: z.object({ month: z.string() }) })
        await ctx.sleep('nap', 1_500)
        ctx.notify.toolsChanged()
        return `${offer.price} ${content?.month} ${offer.key === ctx.idempotencyKey}`
      },
    }),
    defineTool({
      name: `${isolation}-write`,
      description: 'Writes an artifact, and a step too big for the journal',
      task,
      async run(_args, ctx) {
        await ctx.step('big', () => 'x'.repeat(100_000))
        await ctx.sleep('nap', 1_500)
        const { length } = await ctx.step('big-too', () => 'y'.repeat(100_000))
        return ctx.artifacts.put(`${length} bytes`, { name: 'report.txt' })
      },
    }),
    defineTool({
      name: `${isolation}-more`,
      description: 'Starts a task of another tool, and one of none',
      task,
      async run(_args, ctx) {
        const refusal = await ctx.tasks.create('none', 'unknown', {}).catch((error: Error) => error.message)
        const { id } = await ctx.tasks.create('more', 'plain', {})
        return { id, refusal }
      },
    }),
    defineTool({
      name: `${isolation}-fail`,
      description: 'Fails in a way that the model should read',
      task,
      run: () => {
        throw toolError('no such customer')
      },
    }),
    defineTool({
      name: `${isolation}-crash`,
      description: 'Ends its thread or process the first time',
      input: file,
      task,
      async run(args, ctx) {
        await ctx.step('charge', () => appendFileSync(args.file, 'charged\n'))
        appendFileSync(args.file, 'ran\n')
        if (readFileSync(args.file, 'utf8').split('ran').length === 2) process.exit(3)
        return 'done'
      },
    }),
    defineTool({
      name: `${isolation}-block`,
      description: 'Blocks the event loop for ever',
      input: file,
      task: { ...task, timeoutMs: 500, maxAttempts: 2 },
      run(args) {
        appendFileSync(args.file, `${process.pid}\n`)
        for (;;) if (existsSync(`${args.file}.never`)) return 'never'
      },
    }),
    defineTool({
      name: `${isolation}-stuck`,
      description: 'Ignores `ctx.signal`; blocks where it is told to',
      input: z.object({ file: z.string(), blocks: z.boolean() }),
      task,
      async run(args) {
        writeFileSync(args.file, String(process.pid))
        if (args.blocks) for (;;) if (existsSync(`${args.file}.never`)) return 'never'
        return new Promise<string>(() => setInterval(() => appendFileSync(`${args.file}.alive`, '.'), 20))
      },
    }),
    defineTool({
      name: `${isolation}-polite`,
      description: 'Stops when it is told to',
      input: file,
      task,
      async run(args, ctx) {
        writeFileSync(args.file, String(process.pid))
        await sleep(60_000, undefined, { signal: ctx.signal }).catch(() => writeFileSync(args.file, 'cleaned up'))
        throw ctx.signal.reason
      },
    }),
    defineTool({
      name: `${isolation}-leak`,
      description: 'Takes ever more memory',
      task: { ...task, maxHeapMb: 64, maxCrashes: 0 },
      async run() {
        const kept: unknown[] = []
        for (;;) {
          for (let index = 0; index < 1_000; index++) kept.push(Array.from({ length: 100 }, () => ({ index })))
          await sleep(0)
        }
      },
    }),
    defineTool({
      name: `${isolation}-grow`,
      description: 'Keeps memory from call to call',
      task: { ...task, maxHeapMb: 64 },
      run() {
        for (let index = 0; index < 6_000; index++) grown.push(Array.from({ length: 100 }, () => ({ index })))
        return { pid: process.pid, threadId, calls: ++calls }
      },
    }),
  ]
})
const grown: unknown[] = []
const circular = (): object => {
  const self: Record<string, unknown> = { now: () => 1 }
  return Object.assign(self, { self })
}

export default defineServer({
  name: 'isolated',
  version: '1.0.0',
  tools: [
    ...tools,
    defineTool({
      name: 'plain',
      description: 'Runs with the others',
      task: true,
      run: () => ({ pid: process.pid, threadId }),
    }),
  ],
})

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { defineServer, defineTool, jsonSchema } from '../../src/index.ts'
import { connect, FakeClock } from '../../src/testing/index.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

async function heapBytes(): Promise<number> {
  for (let round = 0; round < 3; round++) {
    gc()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return process.memoryUsage().heapUsed
}

const CALLS = 20_000

test(
  'handlers that were put aside are garbage: 20,000 of them leave the heap as it was',
  { timeout: 120_000 },
  async () => {
    let collected = 0
    const registry = new FinalizationRegistry(() => collected++)
    const tool = defineTool({
      name: 'ask',
      description: 'Holds something, and asks',
      async run(_args, ctx) {
        const held = { bytes: Array.from({ length: 500 }, () => 0) }
        registry.register(held, 0)
        ctx.signal.addEventListener('abort', () => void held.bytes.length)
        await ctx.step('step', () => 1)
        await ctx.elicit('who', {
          message: 'Who?',
          schema: jsonSchema({ type: 'object', properties: { name: { type: 'string' } } }),
        })
        return String(held.bytes.length)
      },
    })
    const server = defineServer({ name: 'memory', version: '1.0.0', tools: [tool] })
    await using client = await connect(server, { capabilities: { elicitation: {} } })
    const ask = async (calls: number): Promise<void> => {
      for (let call = 0; call < calls; call++) await client.request('tools/call', { name: 'ask', arguments: {} })
    }
    await ask(1000)
    const before = await heapBytes()
    await ask(CALLS)
    const grown = (await heapBytes()) - before
    expect(grown).toBeLessThan(4e6) // 200 bytes a call; each held 4 KB
    expect(collected).toBeGreaterThan(CALLS)
  },
)

test('nothing of the questions of a 2025 session stays: no waiting answer, no beat, no listener', async () => {
  const clock = new FakeClock()
  const signals: AbortSignal[] = []
  const tool = defineTool({
    name: 'ask',
    description: 'Asks',
    async run(_args, ctx) {
      signals.push(ctx.signal)
      return (await ctx.elicit('who', { message: 'Who?', schema: z.object({}) })).action
    },
  })
  const server = defineServer({ name: 'memory', version: '1.0.0', tools: [tool] })
  const answers = { who: 'decline' } as const
  const client = await connect(server, { revision: '2025-11-25', answers, runtime: { clock } })
  await clock.advance(1000)
  const before = clock.sleeping
  for (let call = 0; call < 200; call++) expect((await client.callTool('ask')).text).toBe('decline')
  await clock.advance(1000)
  expect(clock.sleeping).toBe(before)
  const { getEventListeners } = await import('node:events')
  expect(signals.map((signal) => getEventListeners(signal, 'abort').length).filter((count) => count > 0)).toEqual([])
  expect((await client.runtime.metrics()).body).toContain('holdfast_running_requests 0')
  const closed = client.close()
  await clock.advance(60_000)
  await closed
})

describe('schemas that a handler writes anew with each call', () => {
  test(
    'are compiled once where they say the same: 20,000 calls leave the heap as it was',
    { timeout: 120_000 },
    async () => {
      const tool = defineTool({
        name: 'ask',
        description: 'Asks',
        async run(_args, ctx) {
          const schema = jsonSchema({ type: 'object', properties: { name: { type: 'string', minLength: 1 } } })
          return (await ctx.elicit('who', { message: 'Who?', schema })).action
        },
      })
      const server = defineServer({ name: 'memory', version: '1.0.0', tools: [tool] })
      await using client = await connect(server, { capabilities: { elicitation: {} } })
      const inputResponses = { who: { action: 'accept', content: { name: 'Ann' } } }
      const ask = async (calls: number): Promise<void> => {
        for (let call = 0; call < calls; call++)
          await client.request('tools/call', { name: 'ask', arguments: {}, inputResponses })
      }
      await ask(500)
      const before = await heapBytes()
      await ask(CALLS)
      expect((await heapBytes()) - before).toBeLessThan(4e6)
    },
  )

  test('are let go where each says something else', async () => {
    const url = new URL('../../src/define/compile-schema.ts', import.meta.url).href
    const script = `
      import { compileSchema } from ${JSON.stringify(url)}
      for (let call = 0; call < 3500; call++) {
        const when = { enum: ['a', 'b', 'c' + call] }
        const schema = { type: 'object', properties: { name: { type: 'string', minLength: 1 }, when }, required: ['name'] }
        if (compileSchema(schema, 'input', 'x').check({ name: 'n', when: 'c' + call }).problem !== undefined) throw new Error('it fits')
      }
      console.log('done')`
    // What all of them together would take does not fit into such a heap.
    const flags = ['--max-old-space-size=20', '--input-type=module', '--eval', script]
    const { stdout } = await promisify(execFile)(process.execPath, flags)
    expect(stdout).toBe('done\n')
  }, 120_000)
})

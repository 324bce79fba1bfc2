import { expect, test } from 'vitest'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { createRuntime, defineServer, defineTool } from '../../src/index.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { open, post, postInit } from '../clients/raw.ts'

/** A store whose logs take nothing until the gate is opened. */
class SlowStore extends MemoryStateStore {
  readonly gate = Promise.withResolvers<void>()
  override async append(...args: Parameters<MemoryStateStore['append']>): ReturnType<MemoryStateStore['append']> {
    await this.gate.promise
    return super.append(...args)
  }
}

test('a question is asked although more notifications wait for the store than may', async () => {
  const store = new SlowStore(systemClock)
  const chatty = defineTool({
    name: 'chatty',
    description: 'Logs more than can wait, and then asks',
    async run(_args, ctx) {
      // The first go is under way to the store, the second one waits.
      for (const go of [1, 2]) {
        for (let line = 0; line < 1500; line++) ctx.log.info(`go ${go}, line ${line}`)
        await new Promise((resolve) => setImmediate(resolve))
      }
      const asked = ctx.elicit('go', {
        message: 'Go on?',
        schema: { type: 'object', properties: { ok: { type: 'boolean' } } },
      })
      await new Promise((resolve) => setImmediate(resolve))
      store.gate.resolve()
      return (await asked).action
    },
  })
  const runtime = await createRuntime(defineServer({ name: 'chatty', version: '1.0.0', tools: [chatty] }), {
    dataDir: false,
    logLevel: 'silent',
    state: store,
    bus: new MemoryEventBus(),
    keys: `k1:${Buffer.alloc(32, 7).toString('base64')}`,
  })
  try {
    const { url } = await runtime.listen({ port: 0 })
    const params = {
      protocolVersion: '2025-11-25',
      capabilities: { elicitation: {} },
      clientInfo: { name: 'test', version: '1' },
    }
    const opened = await post(url, { jsonrpc: '2.0', id: 0, method: 'initialize', params })
    const headers = { 'mcp-session-id': opened.headers.get('mcp-session-id')! }
    const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'chatty', arguments: {} } }
    await using stream = await open(url, postInit(call, headers))
    let text: string | undefined
    while (text === undefined) {
      const { json } = (await stream.next())!
      if (json?.method === 'elicitation/create') {
        const result = { action: 'accept', content: { ok: true } }
        expect((await post(url, { jsonrpc: '2.0', id: json.id, result }, headers)).status).toBe(202)
      } else if (json?.result !== undefined) text = (json.result['content'] as { text: string }[])[0]!.text
    }
    expect(text).toBe('accept')
  } finally {
    await runtime.close()
  }
})

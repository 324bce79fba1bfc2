import { expect, test } from 'vitest'
import { MemoryEventBus } from '../../src/backends/memory/event-bus.ts'
import { createRuntime, defineServer, defineTool } from '../../src/index.ts'

test('a stand-alone stream that can not be opened gives back its place', async () => {
  const bus = new MemoryEventBus()
  const subscribe = bus.subscribe.bind(bus)
  let isDown = false
  bus.subscribe = (channel, onMessage, onGap) =>
    isDown && channel.startsWith('session:')
      ? Promise.reject(new Error('the bus is down'))
      : subscribe(channel, onMessage, onGap)
  const tools = [defineTool({ name: 'nothing', description: 'Does nothing', run: () => '' })]
  const server = defineServer({ name: 'failing-bus', version: '1.0.0', tools })
  const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent', bus, maxStreamsPerPrincipal: 1 })
  const { url } = await runtime.listen({ port: 0 })
  const accept = 'application/json, text/event-stream'
  const opened = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
    }),
  })
  await opened.text()
  const get = (): Promise<Response> =>
    fetch(url, { headers: { accept, 'mcp-session-id': opened.headers.get('mcp-session-id')! } })

  isDown = true
  const refused = await get()
  expect(refused.status).toBe(500)
  expect(await refused.text()).not.toContain('the bus is down')
  isDown = false
  const stream = await get()
  expect(stream.status).toBe(200)
  await stream.body!.cancel()
  await runtime.close()
  await bus.close()
})

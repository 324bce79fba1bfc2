// Blocks that are programs, served to the official clients. See run.test.ts for the others.
import { expect, test } from 'vitest'
import { startServer } from '../conformance/server.ts'
import { eachClient, KINDS } from './official-clients.ts'
import { blockRunner } from './run-blocks.ts'

const { use, pathOf, data, program } = blockRunner('docs-programs')

use('docs/embedding.md', 'server.ts', 'listen.ts', 'express.ts', 'fastify.ts', 'hono.ts', 'node-http.ts')
test.each([
  ['listen.ts', 0],
  ['express.ts', null],
  ['fastify.ts', null],
  ['hono.ts', null],
  ['node-http.ts', 0],
])('embedding: %s serves the official clients, streams included, and ends with %s', async (file, code) => {
  const served = await program('docs/embedding.md', file)
  await eachClient(served.url, KINDS, async ({ tools, call }) => {
    const steps: number[] = []
    expect((await tools()).map(({ name }) => name)).toEqual(['greet'])
    const result = await call('greet', { name: 'Ada' }, ({ progress }) => steps.push(progress))
    expect(result).toMatchObject({ content: [{ type: 'text', text: 'Hello, Ada' }] })
    expect(steps).toEqual([1])
  })
  if (file === 'express.ts') {
    const metrics = await fetch(new URL('/metrics', served.url))
    expect(await metrics.text()).toContain('gen_ai_tool_name="greet"')
  }
  if (file !== 'listen.ts') {
    const hello = await fetch(new URL('/hello', served.url))
    expect(await hello.text()).toBe('hello')
  }
  // Those without a handler of their own end by the signal.
  expect(await served.stop()).toBe(code)
})

use('docs/migrating.md', 'sdk1.ts', 'sdk2.ts', 'server.ts')
test.each([
  ['sdk1.ts', ['1.x', '2.x, 2025']],
  ['sdk2.ts', KINDS],
  ['server.ts', KINDS],
] as const)('migrating: %s does the same for %j', async (file, kinds) => {
  const server =
    file === 'server.ts'
      ? await startServer(pathOf('docs/migrating.md', file), data, new AbortController().signal)
      : await program('docs/migrating.md', file)
  let id = 1
  await eachClient(server.url, kinds, async (client) => {
    const tools = await client.tools()
    expect(tools.map(({ name }) => name)).toEqual(['add_note', 'find_note'])
    expect(tools[0]).toMatchObject({
      inputSchema: { type: 'object', properties: { text: { type: 'string', minLength: 1 } }, required: ['text'] },
      outputSchema: { type: 'object', properties: { id: { type: 'string' } } },
    })
    id++
    expect(await client.call('add_note', { text: 'Feed the cat.' })).toMatchObject({
      content: [{ type: 'text', text: `{"id":"${id}"}` }],
      structuredContent: { id: String(id) },
    })
    const found = await client.call('find_note', { word: 'plants' })
    expect(found).toMatchObject({ content: [{ type: 'text', text: 'Water the plants.' }] })
    const missing = await client.call('find_note', { word: 'dog' })
    expect(missing).toMatchObject({ isError: true, content: [{ type: 'text', text: 'No note holds "dog".' }] })
    const note = { uri: 'note://1', mimeType: 'text/plain', text: 'Water the plants.' }
    expect(await client.read('note://1')).toMatchObject({ contents: [note] })
    const code = file === 'server.ts' ? (client.kind === '1.x' ? -32002 : -32602) : -32603
    await expect(client.read('note://99')).rejects.toMatchObject({ code })
    expect(await client.prompt('summarize', { topic: 'pets' })).toMatchObject({
      messages: [{ role: 'user', content: { type: 'text', text: 'Summarize my notes on pets.' } }],
    })
    expect(await client.call('add_note', { text: '' })).toMatchObject({ isError: true })
  })
  await ('stop' in server ? server.stop() : server[Symbol.asyncDispose]())
})

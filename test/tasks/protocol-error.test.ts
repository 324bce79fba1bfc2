import { definePrompt, defineResource, defineServer, defineTool, protocolError } from 'holdfast'
import { connect, RpcError } from 'holdfast/testing'
import { describe, expect, test } from 'vitest'

const settings = { code: 4020, data: { tenant: 'acme' } }
const refuse = (): never => {
  throw protocolError('The contract has ended.', settings)
}
const server = defineServer({
  name: 'errors',
  version: '1.0.0',
  tools: [
    defineTool({ name: 'plain', description: 'No task', run: refuse }),
    defineTool({
      name: 'default',
      description: 'Without a code',
      run() {
        throw protocolError('No.')
      },
    }),
    defineTool({ name: 'job', description: 'A task', task: { maxAttempts: 5, retryable: () => false }, run: refuse }),
    defineTool({
      name: 'endless',
      description: 'Waits to be cancelled',
      task: true,
      run: (_args, { signal }) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    }),
  ],
  prompts: [definePrompt({ name: 'prompt', description: 'A prompt', get: refuse })],
  resources: [defineResource({ uri: 'page://one', name: 'page', read: refuse })],
})
const told = {
  code: 4020,
  message: 'The contract has ended.',
  data: { tenant: 'acme', code: 'handler_error', retryable: false },
}

describe.each(['2026-07-28', '2025-11-25'] as const)('at %s', (revision) => {
  test('a handler answers with a JSON-RPC error of its own, code and data included', async () => {
    await using client = await connect(server, { revision })
    await expect(client.callTool('plain')).rejects.toMatchObject(told)
    await expect(client.getPrompt('prompt')).rejects.toMatchObject(told)
    await expect(client.readResource('page://one')).rejects.toMatchObject(told)
    await expect(client.callTool('default')).rejects.toMatchObject({ code: -32603, message: 'No.' })
  })

  test('so does the task of a call that waits', async () => {
    await using client = await connect(server, { revision })
    await expect(client.callTool('job')).rejects.toMatchObject({ code: 4020, message: 'The contract has ended.' })
  })
})

test('a task that ends so is failed, with the error, and was tried once', async () => {
  await using client = await connect(server, { tasks: true })
  const task = await client.startTask('job')
  expect(await task.wait()).toMatchObject({
    status: 'failed',
    statusMessage: 'The contract has ended.',
    error: { code: 4020, message: 'The contract has ended.', data: { tenant: 'acme' } },
  })
  await expect(task.result()).rejects.toBeInstanceOf(RpcError)
  await expect(client.callTool('job')).rejects.toMatchObject({ code: 4020 })
})

test('a cancelled task has no result to give, and a call that is answered is no task', async () => {
  await using client = await connect(server, { tasks: true })
  const task = await client.startTask('endless')
  await task.cancel()
  expect((await task.wait()).status).toBe('cancelled')
  await expect(task.result()).rejects.toThrow(/was cancelled/)
  await task.cancel()
  await expect(client.startTask('plain')).rejects.toMatchObject({ code: 4020 })
})

test('what a client is promised of the time that a task is kept grows while it runs', async () => {
  await using client = await connect(server, { tasks: true })
  const task = await client.startTask('endless')
  const { ttlMs, createdAt, lastUpdatedAt } = await task.get()
  expect(ttlMs).toBeGreaterThanOrEqual(86_400_000)
  expect(new Date(createdAt).toISOString()).toBe(createdAt)
  expect(Date.parse(lastUpdatedAt)).toBeGreaterThanOrEqual(Date.parse(createdAt))
  await task.cancel()
  const ended = await task.wait()
  expect(ended.ttlMs).toBe(86_400_000 + Date.parse(ended.lastUpdatedAt) - Date.parse(ended.createdAt))
})

test('codes that JSON-RPC and MCP keep for themselves are refused, with what may be used', () => {
  for (const code of [-32768, -32700, -32600, -32601, -32021, -32000, 1.5, NaN, Infinity])
    expect(() => protocolError('x', { code })).toThrow(/-32602 or -32603/)
  for (const code of [-32602, -32603, -31999, -32769, 0, 1, 4020])
    expect(protocolError('x', { code })).toMatchObject({ code: 'handler_error', rpc: code })
})

// What clients see of a server that is told to stop.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CLI, startServer, type RunningServer } from '../conformance/server.ts'
import { modern, modernInit, open, openSession } from './raw.ts'
import { FIXTURE } from './with-server.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdfast-shutdown-'))
})
afterEach(async () => {
  await rm(dir, { recursive: true, force: true })
})
const newClient = () =>
  new Client({ name: 'raw', version: '0' }, { versionNegotiation: { mode: { pin: '2026-07-28' } } })

describe('over HTTP', () => {
  let server: RunningServer
  beforeEach(async () => {
    server = await startServer(FIXTURE, dir, new AbortController().signal)
  })
  afterEach(async () => {
    await server[Symbol.asyncDispose]()
  })

  test('a subscription ends with its response', async () => {
    const listen = modernInit('subscriptions/listen', { notifications: { toolsListChanged: true } }, { id: 'sub' })
    await using stream = await open(server.url, listen)
    await stream.next()
    const stopped = server[Symbol.asyncDispose]()
    expect((await stream.next())?.json).toMatchObject({
      id: 'sub',
      result: { resultType: 'complete', _meta: { 'io.modelcontextprotocol/subscriptionId': 'sub' } },
    })
    expect(await stream.next()).toBeUndefined()
    await stopped
  })

  test('the official client reads that as a graceful end', async () => {
    const client = newClient()
    await client.connect(new StreamableHTTPClientTransport(new URL(server.url)))
    const subscription = await client.listen({ toolsListChanged: true })
    await server[Symbol.asyncDispose]()
    const reason = await subscription.closed
    await client.close()
    expect(reason).toBe('graceful')
  })

  test('the stand-alone stream of a 2025 session says when to come back, and ends', async () => {
    const session = await openSession(server.url)
    await using stream = await session.listen()
    expect(await stream.next()).toMatchObject({ id: expect.any(String), data: '' })
    const stopped = server[Symbol.asyncDispose]()
    const last = await stream.next()
    expect(last).toMatchObject({ retry: expect.any(Number), data: '' })
    // About a second: the clients of a node that stops must not come to the others in one moment.
    expect(last!.retry).toBeGreaterThanOrEqual(500)
    expect(last!.retry).toBeLessThanOrEqual(1500)
    expect(await stream.next()).toBeUndefined()
    await stopped
  })

  test('a call that runs is answered first', async () => {
    await using stream = await open(
      server.url,
      modernInit('tools/call', { name: 'work' }, { meta: { progressToken: 1 } }),
    )
    await stream.next()
    const stopped = server[Symbol.asyncDispose]()
    const events = []
    for (let event = await stream.next(); event; event = await stream.next()) events.push(event)
    expect(events.at(-1)?.json).toMatchObject({ id: 1, result: { content: [{ text: 'done' }] } })
    await stopped
    await expect(modern(server.url, 'tools/list')).rejects.toThrow()
  })
})

test('over stdio, a subscription ends as the official client expects', async () => {
  const client = newClient()
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [CLI, 'serve', FIXTURE, '--stdio'],
    cwd: dir,
    stderr: 'ignore',
  })
  await client.connect(transport)
  const subscription = await client.listen({ toolsListChanged: true })
  process.kill(transport.pid!, 'SIGTERM')
  const reason = await subscription.closed
  await client.close()
  expect(reason).toBe('graceful')
})

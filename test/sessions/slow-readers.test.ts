import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createRuntime, defineResource, defineServer, defineTool, type Runtime } from '../../src/index.ts'
import { modern, modernHeaders, post as bytesOf } from '../edges/support/messages.ts'
import { heldBytes } from '../edges/support/memory.ts'
import { RawConnection } from '../edges/support/raw-connection.ts'
import { Events, get, open, post } from './support.ts'

/** A long name, so that what waits for a reader is soon much. */
const URI = `note://${'n'.repeat(4000)}`
const BUFFERED = 64 * 1024
/** What the kernel of the system takes of what nobody reads: some MiB on the loopback. */
const MOST_CHANGES = 20_000

let runtime: Runtime
let url: string
let port: number
beforeEach(async () => {
  const server = defineServer({
    name: 'slow-readers',
    version: '1.0.0',
    tools: [defineTool({ name: 'nothing', description: 'Does nothing', run: () => '' })],
    resources: [defineResource({ uriTemplate: 'note://{name}', name: 'note', read: () => 'text' })],
  })
  runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent', maxBufferedBytes: BUFFERED })
  ;({ url, port } = await runtime.listen({ port: 0 }))
})
afterEach(() => runtime.close())

const LISTEN = modern('subscriptions/listen', { notifications: { resourceSubscriptions: [URI] } })
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
async function countOf(name: string): Promise<number> {
  const { body } = await runtime.metrics()
  return Number(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)$`, 'm').exec(body)?.[1] ?? 0)
}
/** Changes the resource until a metric says that somebody could not keep up; how often it did. */
async function changeUntil(metric: string): Promise<number> {
  for (let changes = 0; changes < MOST_CHANGES; changes += 100) {
    for (let index = 0; index < 100; index++) runtime.notify.resourceUpdated(URI)
    await turn()
    if ((await countOf(metric)) > 0) return changes + 100
  }
  throw new Error(`${MOST_CHANGES} changes of ${URI.length} bytes, and ${metric} is still 0`)
}
/** Changes as many as would fill 80 MB, and expects almost none of it to be held. */
async function expectNothingHeld(): Promise<void> {
  const before = heldBytes()
  for (let index = 0; index < 20_000; index++) {
    runtime.notify.resourceUpdated(URI)
    if (index % 100 === 0) await turn()
  }
  // Buffers are given back some turns after their collection. The log of a 2025 stream keeps 4 MiB.
  await expect.poll(() => heldBytes() - before, { timeout: 5000 }).toBeLessThan(12 * MEBIBYTE)
}
const MEBIBYTE = 1024 * 1024

test('a listen stream that nobody reads is cut, and its client may listen again', async () => {
  const connection = await RawConnection.open(port)
  connection.write(bytesOf(JSON.stringify(LISTEN), modernHeaders(LISTEN)))
  await expect.poll(() => countOf('holdfast_open_streams')).toBe(1)
  connection.pause()
  await changeUntil('holdfast_slow_readers_total')
  await expectNothingHeld()
  connection.resume()
  await connection.closed()
  connection.destroy()
  const again = await fetch(url, { method: 'POST', headers: modernHeaders(LISTEN), body: JSON.stringify(LISTEN) })
  expect(again.status).toBe(200)
  await again.body!.cancel()
})

test('the same through fetch', async () => {
  const response = await runtime.fetch(
    new Request(url, { method: 'POST', headers: modernHeaders(LISTEN), body: JSON.stringify(LISTEN) }),
  )
  expect(response.status).toBe(200)
  // Nothing stands between: at most the bound, one message, and what waits in one turn.
  expect(await changeUntil('holdfast_slow_readers_total')).toBeLessThanOrEqual(100)
  await expectNothingHeld()
  await expect(response.text()).rejects.toThrow('too slow')
})

test('a GET stream that nobody reads is cut; who resumes it gets what the log has, and is told to fetch the rest again', async () => {
  const session = await open({ url })
  const stream = await new Promise<IncomingMessage>((resolve, reject) => {
    request(url, { headers: { accept: 'text/event-stream', 'mcp-session-id': session }, agent: false }, resolve)
      .on('error', reject)
      .end()
  })
  stream.on('error', () => undefined) // it is cut: that is the point
  const [first] = (await once(stream, 'data')) as [Buffer]
  const start = /^id: (.*)$/m.exec(first.toString())![1]!
  await (await post({ url }, { id: 1, method: 'resources/subscribe', params: { uri: URI } }, session)).json()
  stream.pause()
  await changeUntil('holdfast_slow_readers_total')
  await expectNothingHeld()
  stream.destroy()
  const events = new Events(await get({ url }, session, start))
  await events.until(1000)
  runtime.notify.toolsChanged()
  while (events.changes.filter((change) => change === 'tools').length < 2)
    await events.until(events.messages.length + 1)
  // Once since its log was too short, and once because it was changed.
  expect(events.changes.filter((change) => change === 'resources')).toHaveLength(1)
  expect(events.messages.length).toBeLessThan(1100)
  await events.drop()
})

test('on standard output, what was dropped is made good once the client reads again', async () => {
  const input = new PassThrough()
  const output = new PassThrough()
  const served = runtime.serveStdio({ input, output })
  const send = (message: object): boolean => input.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
  send({ id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {} } })
  send({ id: 2, method: 'resources/subscribe', params: { uri: URI } })
  send({ ...LISTEN, id: 3 })
  await expect.poll(() => output.readableLength + output.writableLength).toBeGreaterThan(URI.length)
  await changeUntil('holdfast_dropped_notifications_total')
  await expectNothingHeld()
  let text = ''
  output.setEncoding('utf8')
  output.on('data', (chunk: string) => (text += chunk))
  await expect.poll(() => text.split('\n').filter((line) => line.includes('tools/list_changed')).length).toBe(1)
  const lines = text.trimEnd().split('\n')
  // The end of what came: a word on each thing that the session and the subscription follow.
  expect(lines.slice(-4).filter((line) => line.includes('resources/updated'))).toHaveLength(2)
  input.end()
  await served
})

test('a bound below what the output takes by itself does not stop the input', async () => {
  const own = await createRuntime(
    defineServer({
      name: 'small',
      version: '1.0.0',
      tools: [defineTool({ name: 'say', description: 'Says much', run: () => 's'.repeat(1000) })],
    }),
    { dataDir: false, logLevel: 'silent', maxBufferedBytes: 100 },
  )
  const input = new PassThrough()
  const output = new PassThrough({ readableHighWaterMark: 1, writableHighWaterMark: 64 * 1024 })
  const served = own.serveStdio({ input, output })
  const waiting = (): number => output.readableLength + output.writableLength
  for (let id = 1; id <= 5; id++) {
    input.write(`${JSON.stringify({ ...modern('tools/call', { name: 'say', arguments: {} }), id })}\n`)
    await expect.poll(waiting).toBeGreaterThan(id * 1000)
  }
  output.resume()
  input.end()
  await served
  await own.close()
})

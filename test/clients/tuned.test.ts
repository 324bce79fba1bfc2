// Short pages, an early stream, and 2025 requests without a session.
import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { KINDS } from './connect.ts'
import { eventually } from './eventually.ts'
import { MODERN, modern, modernInit, open, openSession, post, type Stream } from './raw.ts'
import { withServer } from './with-server.ts'

const definition = resolve(import.meta.dirname, 'tuned-fixture.ts')
const server = withServer({ definition })
const TOOLS = 'add echo media refuse crash routed work seen chat wait state touch change whoami cut'.split(' ')

describe('pages', () => {
  test.each(KINDS)('$name reads a list to its end', async ({ connect }) => {
    await using session = await connect({ transport: 'http', url: server.url })
    const names: string[] = []
    // Client 2.x walks all pages by itself, sdk 1.x gives one at a time.
    for (let cursor: string | undefined; ;) {
      const page = await session.client.listTools(cursor === undefined ? undefined : { cursor })
      names.push(...page.tools.map((tool) => tool.name))
      cursor = page.nextCursor
      if (cursor === undefined) break
    }
    expect(names).toEqual(TOOLS)
  })

  test('have one cache scope, and the last has no cursor', async () => {
    const pages: Record<string, any>[] = []
    for (let cursor: string | undefined, first = true; first || cursor !== undefined; first = false) {
      const { message } = await modern(server.url, 'tools/list', cursor === undefined ? {} : { cursor })
      pages.push(message!.result!)
      cursor = message!.result!['nextCursor'] as string | undefined
    }
    expect(pages.map((page) => page['tools'].length)).toEqual([4, 4, 4, 3])
    expect(new Set(pages.map((page) => page['cacheScope'])).size).toBe(1)
  })

  test('of one list are not those of another, and of every list there may be several', async () => {
    const { message } = await modern(server.url, 'tools/list')
    const cursor = message!.result!['nextCursor'] as string
    for (const method of ['prompts/list', 'resources/list', 'resources/templates/list'])
      expect((await modern(server.url, method, { cursor })).message?.error?.code).toBe(-32602)
    const resources = await modern(server.url, 'resources/list')
    expect(resources.message?.result?.['resources']).toHaveLength(4)
  })
})

describe('a call that says nothing for long', () => {
  const wait = () => ({ name: 'wait', arguments: { key: randomUUID() } })
  /** Reads on until a comment has come, and no event. */
  const untilComment = async (stream: Stream): Promise<void> => {
    const event = stream.next() // stays open: nothing comes but comments
    await eventually(() => stream.comments()).toBeGreaterThan(0)
    await stream.close()
    expect(await event).toBeUndefined()
  }

  test('turns into a stream that is kept alive by comments', async () => {
    await using stream = await open(server.url, modernInit('tools/call', wait()))
    expect(stream.headers.get('content-type')).toMatch(/^text\/event-stream/)
    await untilComment(stream)
  })

  test('does so in a 2025 session too, and can be resumed from the start', async () => {
    const session = await openSession(server.url)
    await using stream = await session.open('tools/call', wait())
    expect(await stream.next()).toMatchObject({ id: expect.stringMatching(/./), data: '' })
    await untilComment(stream)
  })

  test('stays one JSON answer for a client that takes no stream', async () => {
    const reply = await modern(server.url, 'tools/call', { name: 'work' }, { headers: { accept: 'application/json' } })
    expect(reply.headers.get('content-type')).toBe('application/json')
  })

  test('and so is a subscription', async () => {
    const listen = modernInit('subscriptions/listen', { notifications: { toolsListChanged: true } })
    await using stream = await open(server.url, listen)
    await stream.next()
    await untilComment(stream)
  })
})

describe('2025 requests without a session', () => {
  const whoami = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'whoami' } }

  test.each([
    [undefined, '2025-03-26'],
    ['2025-03-26', '2025-03-26'],
    ['2025-06-18', '2025-06-18'],
    ['2025-11-25', '2025-11-25'],
  ])('with header %s are served at %s', async (v, revision) => {
    const reply = await post(server.url, whoami, { 'mcp-protocol-version': v })
    expect(reply.status).toBe(200)
    expect(JSON.parse(reply.message!.result!['content'][0].text).revision).toBe(revision)
    expect(reply.message?.result).not.toHaveProperty('resultType')
    expect(reply.headers.has('mcp-session-id')).toBe(false)
  })

  test('are not served under a session that does not exist', async () => {
    expect((await post(server.url, whoami, { 'mcp-session-id': 'made-up' })).status).toBe(404)
  })

  test('stream progress without anything to resume by', async () => {
    const params = { name: 'work', _meta: { progressToken: 1 } }
    const reply = await post(server.url, { ...whoami, params }, { 'mcp-protocol-version': '2025-11-25' })
    expect(reply.events?.map(({ id }) => id)).toEqual([undefined, undefined, undefined, undefined])
    expect(reply.message?.result).toMatchObject({ content: [{ text: 'done' }] })
  })

  test('are no requests of 2026-07-28: that header needs its `_meta`', async () => {
    const reply = await post(server.url, whoami, { 'mcp-protocol-version': MODERN })
    expect(reply).toMatchObject({ status: 400, message: { error: { code: -32602 } } })
  })
})

describe('open streams', () => {
  const server = withServer({ definition }) // of its own: the streams of other tests would count
  const listen = modernInit('subscriptions/listen', { notifications: { toolsListChanged: true } })
  const again = async (): Promise<number> => {
    await using stream = await open(server.url, listen)
    return stream.status
  }

  test('are bounded for a caller, whichever way they are opened', async () => {
    const session = await openSession(server.url)
    const call = { name: 'wait', arguments: { key: randomUUID(), progress: true }, _meta: { progressToken: 1 } }
    const lost = await session.open('tools/call', call, { id: 'lost' })
    const { id } = (await lost.next())!
    await lost.close()
    const streams: Stream[] = []
    try {
      for (let last = 200; last === 200 && streams.length < 20;) {
        const stream = await open(server.url, listen)
        streams.push(stream)
        last = stream.status
      }
      expect(streams.map(({ status }) => status)).toEqual([...Array.from({ length: 8 }, () => 200), 429])
      await using alone = await session.listen()
      await using resumed = await session.listen(id)
      expect([alone.status, resumed.status]).toEqual([429, 429])
    } finally {
      for (const stream of streams) await stream.close()
      await session.notify('notifications/cancelled', { requestId: 'lost' })
    }
    await eventually(again).toBe(200)
  })

  test('are no longer open when their client has gone, though it ended nothing', async () => {
    for (let client = 0; client < 12; client++) {
      const session = await openSession(server.url)
      const listenAndGo = async (): Promise<number> => {
        await using stream = await session.listen()
        return stream.status
      }
      await eventually(listenAndGo).toBe(200)
    }
  })
})

// What the 2025 revisions ask of a server over HTTP, where the conformance suite does not look.
import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { eventually } from './eventually.ts'
import { openSession, post, type LegacySession, type Stream } from './raw.ts'
import { withServer } from './with-server.ts'

const server = withServer()
const REVISIONS = ['2025-11-25', '2025-06-18', '2025-03-26'] as const
const call = { name: 'add', arguments: { a: 1, b: 2 } }
const work = { name: 'work', _meta: { progressToken: 'p' } }

/** Reads a stream to its end. */
async function drain(stream: Stream) {
  const events = []
  for (let event = await stream.next(); event; event = await stream.next()) events.push(event)
  return events
}
const listIn = (session: LegacySession) => session.request('tools/list')

describe.each(REVISIONS)('a session of %s', (revision) => {
  test('gets results without the fields of 2026-07-28', async () => {
    const session = await openSession(server.url, revision)
    const params = { uri: 'doc://guide', ...call }
    for (const method of ['tools/list', 'tools/call', 'resources/list', 'resources/read', 'prompts/list']) {
      const { status, message } = await session.request(method, params)
      expect(status).toBe(200)
      for (const field of ['resultType', 'ttlMs', 'cacheScope']) expect(message?.result).not.toHaveProperty(field)
    }
  })

  test.each([
    ['ping', {}],
    ['logging/setLevel', { level: 'error' }],
    ['resources/subscribe', { uri: 'doc://guide' }],
    ['resources/unsubscribe', { uri: 'doc://guide' }],
  ])('%s is answered with nothing at all', async (method, params) => {
    const session = await openSession(server.url, revision)
    expect(await session.request(method, params)).toMatchObject({ status: 200, message: { id: 1 } })
    expect((await session.request(method, params)).message?.result).toEqual({})
  })

  test.each(['made/up', 'server/discover', 'subscriptions/listen', 'tasks/list'])(
    '%s is an unknown method, answered 200 -32601',
    async (method) => {
      const session = await openSession(server.url, revision)
      const reply = await session.request(method, {}, { id: 'u' })
      expect(reply).toMatchObject({ status: 200, message: { id: 'u', error: { code: -32601 } } })
    },
  )

  test('a notification that nobody knows is accepted', async () => {
    const session = await openSession(server.url, revision)
    expect(await session.notify('notifications/anything')).toMatchObject({ status: 202, text: '' })
  })

  test('a log level that does not exist is refused', async () => {
    const session = await openSession(server.url, revision)
    expect((await session.request('logging/setLevel', { level: 'loud' })).message?.error?.code).toBe(-32602)
  })

  test(`a stream ${revision === '2025-11-25' ? 'begins with an event without data' : 'holds no event without data'}`, async () => {
    const session = await openSession(server.url, revision)
    await using stream = await session.open('tools/call', work)
    expect(stream.headers.get('x-accel-buffering')).toBe('no')
    const events = await drain(stream)
    const isPrimed = revision === '2025-11-25'
    expect(events.map((event) => event.data === '')).toEqual([...(isPrimed ? [true] : []), false, false, false, false])
    if (isPrimed) expect(events[0]).toMatchObject({ id: expect.stringMatching(/./), retry: expect.any(Number) })
    expect(events.at(-1)?.json).toMatchObject({ id: 1, result: { content: [{ text: 'done' }] } })
    const ids = events.map((event) => event.id)
    expect(new Set(ids).size).toBe(ids.length)
  })

  test('a message over the stand-alone stream arrives there alone, and only once', async () => {
    const session = await openSession(server.url, revision)
    await using stream = await session.listen()
    const nextMessage = async () => {
      for (let event = await stream.next(); event; event = await stream.next()) if (event.json) return event.json
      return undefined
    }
    const changed = await session.request('tools/call', { name: 'change' })
    expect((changed.events ?? []).filter(({ json }) => json?.method?.endsWith('list_changed'))).toEqual([])
    const methods = [(await nextMessage())?.method, (await nextMessage())?.method, (await nextMessage())?.method]
    const lists = ['prompts', 'resources', 'tools']
    expect(new Set(methods)).toEqual(new Set(lists.map((list) => `notifications/${list}/list_changed`)))
  })
})

describe('sessions', () => {
  test('end with DELETE, for every method, at once', async () => {
    const session = await openSession(server.url)
    expect(await session.end()).toMatchObject({ status: 204, text: '' })
    expect((await listIn(session)).status).toBe(404)
    expect((await session.notify('notifications/initialized')).status).toBe(404)
    await using stream = await session.listen()
    expect(stream.status).toBe(404)
    expect((await session.end()).status).toBe(404)
  })

  test('are apart: the end of one leaves another', async () => {
    const [first, second] = [await openSession(server.url), await openSession(server.url)]
    expect(first.id).not.toBe(second.id)
    await first.end()
    expect((await listIn(second)).status).toBe(200)
  })

  test('a changed session id is no session', async () => {
    const session = await openSession(server.url)
    const middle = Math.floor(session.id.length / 2)
    const other = session.id[middle] === 'A' ? 'B' : 'A'
    const forged = session.id.slice(0, middle) + other + session.id.slice(middle + 1)
    const headers = { ...session.headers, 'mcp-session-id': forged }
    expect((await post(server.url, { jsonrpc: '2.0', id: 1, method: 'ping' }, headers)).status).toBe(404)
  })

  test('each has its own log level', async () => {
    const [quiet, loud] = [await openSession(server.url), await openSession(server.url)]
    await quiet.request('logging/setLevel', { level: 'error' })
    await loud.request('logging/setLevel', { level: 'debug' })
    const logs = async (session: LegacySession) =>
      ((await session.request('tools/call', { name: 'chat' })).events ?? []).filter(({ json }) => json?.params).length
    expect(await logs(quiet)).toBe(0)
    expect(await logs(loud)).toBe(3)
  })

  test('without a level, logs come from info on', async () => {
    const session = await openSession(server.url)
    const { events } = await session.request('tools/call', { name: 'chat' })
    expect(events?.map(({ json }) => json?.params?.['level']).filter(Boolean)).toEqual(['info', 'warning'])
  })

  test('the newest stand-alone stream is the one that hears', async () => {
    const session = await openSession(server.url)
    await using first = await session.listen()
    await using second = await session.listen()
    await session.request('tools/call', { name: 'change' })
    const heard = async () => {
      for (let event = await second.next(); event; event = await second.next()) if (event.json) return event.json.method
      return undefined
    }
    expect(await heard()).toMatch(/list_changed$/)
    expect((await drain(first)).filter((event) => event.json)).toEqual([])
  })
})

describe('cancelling', () => {
  const state = async (session: LegacySession, key: string) =>
    (await session.request('tools/call', { name: 'state', arguments: { key } })).message?.result?.['content'][0].text

  test('takes a notification, and then no response follows', async () => {
    const session = await openSession(server.url)
    const key = randomUUID()
    const params = { name: 'wait', arguments: { key, progress: true }, _meta: { progressToken: 1 } }
    await using stream = await session.open('tools/call', params, { id: 'w' })
    await eventually(() => state(session, key)).toBe('running')
    expect((await session.notify('notifications/cancelled', { requestId: 'w', reason: 'enough' })).status).toBe(202)
    await eventually(() => state(session, key)).toBe('aborted')
    expect((await drain(stream)).filter(({ json }) => json?.id === 'w')).toEqual([])
  })

  test('of a call in another session does nothing', async () => {
    const [mine, other] = [await openSession(server.url), await openSession(server.url)]
    const key = randomUUID()
    await using stream = await mine.open('tools/call', work, { id: 'same' })
    await using waiting = await mine.open(
      'tools/call',
      { name: 'wait', arguments: { key, progress: true }, _meta: { progressToken: 2 } },
      { id: 'mine' },
    )
    await eventually(() => state(mine, key)).toBe('running')
    await other.notify('notifications/cancelled', { requestId: 'mine' })
    await drain(stream) // a whole other call passes meanwhile
    expect(await state(mine, key)).toBe('running')
    await mine.notify('notifications/cancelled', { requestId: 'mine' })
    await drain(waiting)
    expect(await state(mine, key)).toBe('aborted')
  })

  test('is not what a disconnect means: the call goes on, and its stream can be resumed', async () => {
    const session = await openSession(server.url)
    const stream = await session.open('tools/call', work, { id: 'r' })
    const first = await stream.next()
    expect(first?.id).toBeDefined()
    await stream.close()
    await using resumed = await session.listen(first!.id)
    expect(resumed.status).toBe(200)
    const messages = (await drain(resumed)).flatMap(({ json }) => json ?? [])
    expect(messages.slice(0, -1).map(({ params }) => params?.['progress'])).toEqual([1, 2, 3])
    expect(messages.at(-1)).toMatchObject({ id: 'r', result: { content: [{ text: 'done' }] } })
  })
})

describe('resuming', () => {
  test('gives what came after the event, on that stream alone', async () => {
    const session = await openSession(server.url)
    await using other = await session.open('tools/call', work, { id: 'other' })
    await using stream = await session.open('tools/call', work, { id: 'mine' })
    const events = await drain(stream)
    await drain(other)
    const second = events[2]! // after the priming event and the first report of progress
    await using resumed = await session.listen(second.id)
    expect((await drain(resumed)).filter(({ json }) => json)).toEqual(events.slice(3))
  })

  test('of a stream that is over, and was read to its end, is answered 405, so that no client asks for it for ever', async () => {
    const session = await openSession(server.url)
    await using stream = await session.open('tools/call', work)
    const events = await drain(stream)
    await using resumed = await session.listen(events.at(-1)!.id)
    expect(resumed.status).toBe(405)
  })

  test('of a stream that ended by cancellation is answered 405 too', async () => {
    const session = await openSession(server.url)
    const params = { name: 'wait', arguments: { key: randomUUID(), progress: true }, _meta: { progressToken: 1 } }
    await using stream = await session.open('tools/call', params, { id: 'w' })
    const primed = await stream.next()
    const progressed = await stream.next()
    await session.notify('notifications/cancelled', { requestId: 'w' })
    const last = (await drain(stream)).at(-1) ?? progressed ?? primed
    await using resumed = await session.listen(last!.id)
    expect(resumed.status).toBe(405)
  })

  test.each(['made-up', '0', 'p.n.1.!.1', 'p.n.1.eyI.1', 'g.n.1.-1', '.', 'x'.repeat(3000)])(
    'of the event %j, which was never sent, is refused',
    async (lastEventId) => {
      const session = await openSession(server.url)
      await using stream = await session.listen(lastEventId)
      expect([400, 404, 405]).toContain(stream.status)
    },
  )

  test("of another session's event is not possible", async () => {
    const [mine, other] = [await openSession(server.url), await openSession(server.url)]
    await using stream = await mine.open('tools/call', work, { id: 'secret' })
    const events = await drain(stream)
    await using resumed = await other.listen(events[0]!.id)
    // Whether it is refused or answered by a stream: it ends, and holds nothing of the other session.
    expect((await drain(resumed)).filter(({ json }) => json?.result)).toEqual([])
  })
})

describe('batches', () => {
  const message = (id: number, method = 'ping', params: Record<string, unknown> = {}) => ({
    jsonrpc: '2.0',
    id,
    method,
    params,
  })
  const note = { jsonrpc: '2.0', method: 'notifications/anything' }

  test('are answered by an array in 2025-03-26', async () => {
    const session = await openSession(server.url, '2025-03-26')
    const reply = await post(server.url, [message(1), note, message(2, 'made/up'), message(3)], session.headers)
    expect(reply.status).toBe(200)
    const answers = JSON.parse(reply.text) as { id: number; error?: { code: number } }[]
    expect(answers.toSorted((a, b) => a.id - b.id)).toMatchObject([
      { id: 1, result: {} },
      { id: 2, error: { code: -32601 } },
      { id: 3, result: {} },
    ])
  })

  test('of notifications alone are accepted with 202', async () => {
    const session = await openSession(server.url, '2025-03-26')
    expect(await post(server.url, [note, note], session.headers)).toMatchObject({ status: 202, text: '' })
  })

  test('are refused where they are empty, hold initialize, or come in a later revision', async () => {
    const old = await openSession(server.url, '2025-03-26')
    const later = await openSession(server.url, '2025-11-25')
    expect((await post(server.url, [], old.headers)).status).toBe(400)
    const initialize = message(1, 'initialize', { protocolVersion: '2025-03-26', capabilities: {}, clientInfo: {} })
    const withInitialize = await post(server.url, [initialize, message(2)], old.headers)
    expect(withInitialize.text).not.toContain('"serverInfo"')
    expect((await post(server.url, [message(1)], later.headers)).status).toBe(400)
  })
})

describe('versions', () => {
  test("a header of another 2025 revision does not change the session's own", async () => {
    const session = await openSession(server.url, '2025-03-26')
    const reply = await session.request('tools/call', call, { headers: { 'mcp-protocol-version': '2025-11-25' } })
    expect(reply.status).toBe(200)
    expect(reply.message?.result).not.toHaveProperty('structuredContent')
  })

  test('a stand-alone stream under a version that nobody knows is refused', async () => {
    const session = await openSession(server.url)
    session.headers['mcp-protocol-version'] = '1999-01-01'
    await using stream = await session.listen()
    expect(stream.status).toBe(400)
  })
})

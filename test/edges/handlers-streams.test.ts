import { closeSync, openSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { content, createRuntime, defineServer, defineTool, type Context } from '../../src/index.ts'
import { internalsOf } from '../../src/compose/runtime.ts'
import { callTool, cancel, ERAS, read, send, textOf, type EraRevision } from './support/caller.ts'
import { heldBytes } from './support/memory.ts'
import { BASE_HEADERS, legacy, modern, modernHeaders, post, type Json } from './support/messages.ts'
import { RawConnection } from './support/raw-connection.ts'
import { overHttp, type HttpTransport } from './support/transports.ts'

const MEBIBYTE = 1024 * 1024
const cycle: Json = {}
cycle.self = cycle

/** What a handler under test does; tests put it here under a name and call the tool `do` with it. */
const deeds = new Map<string, (ctx: Context) => unknown>()
const server = defineServer({
  name: 'misbehaving',
  version: '1.0.0',
  tools: [
    defineTool({ name: 'fine', description: 'Works', run: () => 'fine' }),
    defineTool({
      name: 'do',
      description: 'Does what a test wants',
      input: { type: 'object', properties: { deed: { type: 'string' } } },
      offloadBytes: false,
      run: ({ deed }, ctx) => deeds.get(deed as string)!(ctx) as never,
    }),
  ],
})
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe.each(ERAS)('in %s a handler', (era) => {
  let http: HttpTransport
  let log: number
  beforeAll(async () => {
    // A real log: what handlers say and throw is written, not skipped.
    log = openSync('/dev/null', 'w')
    http = await overHttp({ logLevel: 'debug', logFd: log }, server)
  })
  afterAll(async () => {
    await http.runtime.close()
    closeSync(log)
  })
  const running = (): number => internalsOf(http.runtime).kernel.runningCount
  const expectOthersServed = async (): Promise<void> => expect(textOf(await callTool(http, era, 'fine'))).toBe('fine')
  const doing = (name: string, deed: (ctx: Context) => unknown): Json => {
    deeds.set(`${era} ${name}`, deed)
    return { deed: `${era} ${name}` }
  }

  it.each([
    ['rejects', () => Promise.reject(new Error('late'))],
    ['throws a cycle', () => Promise.reject(cycle as never)],
    ['returns', () => 'late'],
    ['returns what JSON cannot say', () => content.result({ content: [], _meta: { n: 1n } })],
    ['says how far it is, and logs', (ctx: Context) => (ctx.progress(1), ctx.log.error('late'), ctx.closeStream())],
  ])('that %s after its call was cancelled harms nobody', async (name, late) => {
    const started = Promise.withResolvers<Context>()
    const goOn = Promise.withResolvers<void>()
    const ended = Promise.withResolvers<void>()
    const args = doing(`late ${name}`, async (ctx) => {
      const { signal } = ctx
      started.resolve(ctx)
      await goOn.promise
      expect(signal.aborted).toBe(true)
      setImmediate(() => ended.resolve())
      return late(ctx)
    })
    const client = new AbortController()
    const called = callTool(http, era, 'do', args, { signal: client.signal, progressToken: 'p', logLevel: 'debug' })
    const settled = called.catch((error: unknown) => error)
    await started.promise
    await cancel(http, era, client)
    await expect.poll(running).toBe(0)
    goOn.resolve()
    await ended.promise
    await expectOthersServed()
    const answer = await settled
    if (era === '2025-11-25') expect(answer).toMatchObject({ status: 200, notifications: [], answer: undefined })
    else expect(answer).toHaveProperty('name', 'AbortError')
  })

  it('that never returns, although its call was cancelled, is forgotten', async () => {
    const client = new AbortController()
    const calls = Array.from({ length: 20 }, (_, n) => {
      const id = `never ${n}`
      return callTool(
        http,
        era,
        'do',
        doing(id, () => new Promise(() => undefined)),
        { id, signal: client.signal },
      )
    })
    const settled = Promise.allSettled(calls)
    await expect.poll(running).toBe(20)
    await expectOthersServed()
    for (let n = 0; n < 20; n++) await cancel(http, era, client, `never ${n}`)
    await expect.poll(running).toBe(0)
    await settled
    await expectOthersServed()
  })

  it('that speaks after its end is not heard, and the next answer on the connection is whole', async () => {
    const spoken = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const args = doing('speaks on', async (ctx) => {
      ctx.progress(1)
      void goOn.promise.then(async () => {
        for (let n = 2; n < 100; n++) {
          ctx.progress(n)
          ctx.log.info('still here')
        }
        ctx.closeStream()
        await turn()
        spoken.resolve()
      })
      return 'done'
    })
    const message = (id: string): Buffer => {
      const params = { name: 'do', arguments: args, _meta: { progressToken: 'p' } }
      if (era === '2026-07-28') {
        const body = modern('tools/call', params, id)
        return post(JSON.stringify(body), modernHeaders(body))
      }
      return post(JSON.stringify(legacy('tools/call', params, id)), { ...BASE_HEADERS, 'mcp-session-id': session })
    }
    const session = await http.session('2025-11-25')
    const connection = await RawConnection.open(http.port)
    try {
      connection.write(message('first'))
      expect((await connection.next()).body).toContain('"first"')
      goOn.resolve()
      await spoken.promise
      expect(connection.unread).toBe('')
      connection.write(message('second'))
      const { body } = await connection.next()
      expect(body).toContain('"second"')
      expect(body).not.toContain('"first"')
    } finally {
      connection.destroy()
    }
  })

  it('that says how far it is in nonsense is heard where it makes sense', async () => {
    const args = doing('nonsense', async ({ progress }) => {
      for (const done of [NaN, 1, 1, 0.5, 2, Infinity, -1, '9', undefined, null, {}, 9n, 3]) progress(done as number)
      progress(4, NaN)
      progress(5, Infinity)
      progress(6, '10' as never)
      progress(7, 10n as never)
      progress(8, 10, { text: 'no' } as never)
      progress(9, 10, 5 as never)
      progress(10, 10, 'done')
      return 'done'
    })
    const called = await callTool(http, era, 'do', args, { progressToken: 'p' })
    expect(called.answer!.result).not.toHaveProperty('isError')
    expect(textOf(called)).toBe('done')
    const heard = called.notifications.map(({ params }) => params)
    expect(heard.map(({ progress }) => progress)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    for (const { progressToken, total, message } of heard) {
      expect(progressToken).toBe('p')
      expect(['undefined', 'number']).toContain(typeof total)
      expect(['undefined', 'string']).toContain(typeof message)
    }
  })

  it.each([
    ['a cycle', cycle],
    ['a BigInt', { n: 1n }],
    ['a function', { f: () => 1 }],
    ['a symbol', { s: Symbol('x') }],
    ['what throws', { toJSON: () => JSON.parse('{') as unknown }],
    ['text', 'text'],
    ['null', null],
    ['an array', [1, 2]],
  ])('that logs %s is served', async (name, fields) => {
    const args = doing(`logs ${name}`, async ({ log: { warning } }) => {
      warning('odd', fields as never)
      return 'done'
    })
    const called = await callTool(http, era, 'do', args, { logLevel: 'info' })
    expect(textOf(called)).toBe('done')
    expect(called.notifications).toMatchObject([{ method: 'notifications/message', params: { level: 'warning' } }])
    expect(called.notifications[0]!.params.data).toBeDefined()
  })

  it('that blocks the process delays the others, and no more', async () => {
    const args = doing('blocks', () => {
      const untilMs = performance.now() + 300
      while (performance.now() < untilMs);
      return 'done'
    })
    const calls = await Promise.all([
      callTool(http, era, 'fine'),
      callTool(http, era, 'do', args),
      ...Array.from({ length: 10 }, () => callTool(http, era, 'fine')),
    ])
    expect(calls.map(textOf).sort()).toEqual(['done', ...Array.from({ length: 11 }, () => 'fine')])
  })

  it.each([
    ['resolves twice', (resolve: (value: unknown) => void) => (resolve('done'), resolve('again'))],
    [
      'resolves and then throws',
      (resolve: (value: unknown) => void) => {
        resolve('done')
        throw new Error('too late')
      },
    ],
    ['resolves later', (resolve: (value: unknown) => void) => void setImmediate(() => resolve('done'))],
  ])('that returns a promise of its own making, which %s, is served', async (name, then) => {
    const called = await callTool(
      http,
      era,
      'do',
      doing(`thenable ${name}`, () => ({ then })),
    )
    expect(textOf(called)).toBe('done')
  })

  it('with a big result is heard to the end, also where it spoke before', async () => {
    const text = 'x'.repeat(12 * MEBIBYTE)
    const quiet = await callTool(
      http,
      era,
      'do',
      doing('big', async () => text),
    )
    expect(textOf(quiet)).toHaveLength(text.length)
    const args = doing('big and chatty', async ({ progress }) => {
      progress(1)
      await turn()
      return text
    })
    const chatty = await callTool(http, era, 'do', args, { progressToken: 'p' })
    expect(chatty.notifications).toHaveLength(1)
    expect(textOf(chatty)).toHaveLength(text.length)
  })

  it('that says much is heard to the end by a client that reads', async () => {
    const args = doing('much', async ({ progress }) => {
      for (let n = 1; n <= 20_000; n++) {
        progress(n, 20_000, 'x'.repeat(100))
        if (n % 50 === 0) await turn()
      }
      return 'done'
    })
    const called = await callTool(http, era, 'do', args, { progressToken: 'p', signal: AbortSignal.timeout(15_000) })
    expect(textOf(called)).toBe('done')
    expect(called.notifications).toHaveLength(20_000)
  })

  it.each([
    ['all at once', 100_000],
    ['bit by bit', 100],
  ])('that says more (%s) than its client reads loses the client, not the process', async (how, atOnce) => {
    const before = heldBytes()
    let mostBytes = 0
    const ended = Promise.withResolvers<boolean>()
    const args = doing(`floods ${how}`, async ({ progress, signal }) => {
      for (let n = 1; n <= 100_000; n++) {
        progress(n, undefined, 'x'.repeat(1000))
        if (n % 20_000 === 0) mostBytes = Math.max(mostBytes, heldBytes() - before)
        if (n % atOnce === 0) await turn()
      }
      await turn()
      ended.resolve(signal.aborted)
      return 'done'
    })
    const params = { name: 'do', arguments: args, _meta: { progressToken: 'p' } }
    const connection = await RawConnection.open(http.port)
    try {
      connection.pause()
      if (era === '2026-07-28') {
        const body = modern('tools/call', params)
        connection.write(post(JSON.stringify(body), modernHeaders(body)))
      } else {
        const headers = { ...BASE_HEADERS, 'mcp-session-id': await http.session(era) }
        connection.write(post(JSON.stringify(legacy('tools/call', params)), headers))
      }
      await expectOthersServed()
      const isAborted = await ended.promise
      // 2026: a client that is cut has gone, and its call with it. 2025: it may come back for the answer.
      if (atOnce === 100) expect(isAborted).toBe(era === '2026-07-28')
      await expect.poll(running).toBe(0)
      expect(mostBytes / MEBIBYTE).toBeLessThan(40)
      connection.resume()
      await connection.closed()
      expect(connection.unread).not.toContain('"done"')
    } finally {
      connection.destroy()
    }
    await expectOthersServed()
  })
})

describe.each(ERAS)('in %s a call', (era) => {
  it('that is quiet for longer than a stream can be resumed is answered all the same', async () => {
    const http = await overHttp({ resumeTtlMs: 50 }, server)
    try {
      deeds.set('quiet', async ({ progress }) => {
        progress(1)
        await new Promise((resolve) => setTimeout(resolve, 150))
        progress(2)
        return 'done'
      })
      const called = await callTool(http, era, 'do', { deed: 'quiet' }, { progressToken: 'p' })
      expect(called.notifications).toHaveLength(2)
      expect(textOf(called)).toBe('done')
    } finally {
      await http.runtime.close()
    }
  })
})

describe('a runtime that closes', () => {
  it.each(ERAS)('does not wait for a handler of %s that never returns', async (era: EraRevision) => {
    const http = await overHttp({ drainDeadlineMs: 50 }, server)
    deeds.set('never', () => new Promise(() => undefined))
    const response = send(http, era, 'tools/call', { name: 'do', arguments: { deed: 'never' } })
    const cut = response.then(read).catch((error: unknown) => error)
    await expect.poll(() => internalsOf(http.runtime).kernel.runningCount).toBe(1)
    const sinceMs = performance.now()
    await http.runtime.close()
    expect(performance.now() - sinceMs).toBeLessThan(3000)
    expect(await cut).toBeInstanceOf(Error)
  })
})

describe('on stdio a handler', () => {
  it('that says more than its client reads does not fill the memory, and its answer comes', async () => {
    const runtime = await createRuntime(server, { dataDir: false, logLevel: 'silent' })
    const input = new PassThrough()
    const output = new PassThrough()
    const served = runtime.serveStdio({ input, output })
    const before = heldBytes()
    let mostBytes = 0
    const ended = Promise.withResolvers<void>()
    deeds.set('floods stdio', async ({ progress }) => {
      for (let n = 1; n <= 100_000; n++) {
        progress(n, undefined, 'x'.repeat(1000))
        if (n % 20_000 === 0) mostBytes = Math.max(mostBytes, heldBytes() - before)
        if (n % 100 === 0) await turn()
      }
      ended.resolve()
      return 'done'
    })
    const params = { name: 'do', arguments: { deed: 'floods stdio' }, _meta: { progressToken: 'p' } }
    input.write(`${JSON.stringify(modern('tools/call', params))}\n`)
    await ended.promise
    const answered = Promise.withResolvers<void>()
    let tail = ''
    output.on('data', (chunk: Buffer) => {
      tail = (tail + chunk.toString()).slice(-2000)
      if (tail.includes('"text":"done"')) answered.resolve()
    })
    await answered.promise
    input.end()
    await served
    await runtime.close()
    expect(mostBytes / MEBIBYTE).toBeLessThan(40)
  })
})

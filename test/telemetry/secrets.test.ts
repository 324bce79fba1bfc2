import * as fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { createRuntime, defineServer, defineTool, toolError } from '../../src/index.ts'
import { toLogError, toLogText, toLogValue } from '../../src/telemetry/log-values.ts'
import { createLogFile } from './log-file.ts'
import { openHttp, type Wire } from './transports.ts'

/** Planted in a request, and looked for in everything that the server writes. */
const planted = (where: string): string => `sEcReT-${where}-8c1f`

/** A driver's error, with a whole request on it, as HTTP clients make them. */
class DriverError extends Error {
  override readonly name = 'DriverError'
  readonly code = 'E_UPSTREAM'
  readonly config = {
    headers: { Authorization: `Bearer ${planted('error-header')}` },
    auth: { username: 'app', password: planted('error-password') },
    data: planted('error-body'),
  }
  readonly response = { body: planted('error-response') }
}

const server = defineServer({
  name: 'careful',
  version: '1.0.0',
  tools: [
    defineTool({
      name: 'work',
      description: 'Logs, and fails as asked',
      input: z.object({ note: z.string(), end: z.enum(['return', 'throw', 'reject', 'tell', 'object', 'bad']) }),
      output: z.object({ done: z.boolean() }),
      run({ end }, { log, client }) {
        log.info('calling the bank', {
          Authorization: `Bearer ${planted('field-header')}`,
          apiKey: planted('field-key'),
          request: {
            headers: { 'Set-Cookie': planted('field-cookie'), 'x-api-key': planted('field-x') },
            body: [{ client_secret: planted('field-nested') }, { refresh_token: planted('field-token') }],
          },
          url: `https://app:${planted('field-url')}@bank.example/accounts`,
          text: `tried with Bearer ${planted('field-text')}`,
          tokens: 17,
          client: client.name,
        })
        const error = new DriverError('The bank says no', {
          cause: new Error(`redis://:${planted('error-url')}@10.0.0.9 refused`),
        })
        if (end === 'throw') throw error
        if (end === 'reject') return Promise.reject(error)
        if (end === 'tell') throw toolError('The bank is closed.')
        if (end === 'object') throw { password: planted('error-object'), why: 'no reason' } as unknown as Error
        return end === 'bad' ? ({ done: planted('bad-result') } as never) : { done: true }
      },
    }),
  ],
})

let wire: Wire | undefined
afterEach(() => wire?.close())

test('no secret and no argument reaches the log, the metrics, or another than the caller', async () => {
  const log = createLogFile()
  const runtime = await createRuntime(server, { dataDir: false, logLevel: 'trace', logFd: log.fd })
  const { url } = await runtime.listen({ port: 0 })
  wire = await openHttp(runtime, '2026-07-28', url)
  const headers = {
    authorization: `Bearer ${planted('header')}`,
    cookie: `session=${planted('cookie')}`,
    'x-api-key': planted('api-key'),
    referer: `https://app.example/?q=${planted('referer')}`,
  }
  const meta = { 'com.example/key': planted('meta'), progressToken: planted('progress'), baggage: planted('baggage') }
  const answers: unknown[] = []
  const ends = ['return', 'throw', 'reject', 'tell', 'object', 'bad', planted('wrong-argument')]
  for (const end of ends) {
    const params = { name: 'work', arguments: { note: planted('argument'), end } }
    answers.push(await wire.request('tools/call', params, { headers, meta }))
  }
  await wire.request('tools/call', { name: planted('tool') }, { headers, meta })
  await wire.request('resources/read', { uri: `doc://${planted('uri')}` }, { headers, meta })
  await wire.request('tools/list', { cursor: planted('cursor') }, { headers, meta })
  await wire.request('tools/list', {}, { headers: { ...headers, 'mcp-method': planted('mirror') }, meta })
  await wire.request('tools/list', {}, { headers: { ...headers, 'mcp-session-id': planted('session') }, meta })
  const broken = await fetch(url, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: `{"x":"${planted('body')}`,
  })
  await broken.text()
  const elsewhere = await fetch(`${new URL(url).origin}/${planted('path')}?token=${planted('query')}`, { headers })
  await elsewhere.text()
  const metrics = await (await fetch(`${new URL(url).origin}/metrics`)).text()
  await log.line(({ error }) => error === 'not_found')

  // What should be there, is.
  expect(log.lines().filter(({ level }) => level === 50)).toHaveLength(4) // throw, reject, object, bad
  expect(log.lines().filter(({ msg }) => msg === 'calling the bank')).toHaveLength(6)
  const told = log.lines().find(({ msg }) => msg === 'calling the bank')!
  expect(told.fields).toMatchObject({
    tokens: 17,
    Authorization: '[redacted]',
    url: 'https://app:[redacted]@bank.example/accounts',
  })
  expect(log.text()).toContain('The bank says no')
  expect(log.text()).toContain('redis://:[redacted]@10.0.0.9 refused')
  expect(log.text()).toContain('E_UPSTREAM')
  // What should not, is not.
  const secrets = [...log.text().matchAll(/sEcReT-[\w-]+/g), ...metrics.matchAll(/sEcReT-[\w-]+/g)].map(([all]) => all)
  expect(secrets).toEqual([])
  expect(JSON.stringify(answers.slice(0, 6))).not.toContain('sEcReT')
})

test('a handler that logs what JSON can not say does not fail, and is logged', async () => {
  const awkward: Record<string, unknown> = {
    big: 12n,
    made: new Date(0),
    never: new Date(NaN),
    not: undefined,
    fn: () => 1,
    sym: Symbol('s'),
    map: new Map([['a', 1]]),
    set: new Set([1]),
    bytes: new Uint8Array(3),
    bad: new Error('inside'),
    get thrower() {
      throw new Error('no')
    },
    evil: {
      toJSON: () => {
        throw new Error('no')
      },
    },
  }
  awkward.self = awkward
  const log = createLogFile()
  const runtime = await createRuntime(
    defineServer({
      name: 'awkward',
      version: '1.0.0',
      tools: [
        defineTool({
          name: 'log',
          description: 'Logs',
          run(_args, ctx) {
            ctx.log.warning('awkward', awkward)
            return 'fine'
          },
        }),
      ],
    }),
    { dataDir: false, logLevel: 'info', logFd: log.fd },
  )
  wire = await openHttp(runtime, '2026-07-28')
  const { result } = await wire.request('tools/call', { name: 'log' })
  expect(result).toMatchObject({ content: [{ text: 'fine' }] })
  const line = await log.line(({ msg }) => msg === 'awkward')
  expect(line).toMatchObject({
    level: 40,
    fields: {
      big: '12',
      made: '1970-01-01T00:00:00.000Z',
      never: null,
      fn: '[function]',
      sym: '[symbol]',
      map: { a: 1 },
      set: [1],
      bytes: '[3 bytes]',
      bad: { type: 'Error', message: 'inside' },
    },
  })
})

test('a handler that logs what JSON can not say does not fail either where the client listens', async () => {
  const runtime = await createRuntime(
    defineServer({
      name: 'awkward',
      version: '1.0.0',
      tools: [
        defineTool({
          name: 'log',
          description: 'Logs',
          run(_args, ctx) {
            ctx.log.warning('awkward', { big: 12n })
            return 'fine'
          },
        }),
      ],
    }),
    { dataDir: false, logLevel: 'silent' },
  )
  wire = await openHttp(runtime, '2026-07-28')
  const meta = { 'io.modelcontextprotocol/logLevel': 'debug' }
  const { result } = await wire.request('tools/call', { name: 'log' }, { meta })
  expect(result).toMatchObject({ content: [{ text: 'fine' }] })
  expect(result).not.toHaveProperty('isError')
})

describe('what the log makes of values', () => {
  test('nothing that is handed over makes it throw, and what comes out is JSON of bounded size', () => {
    fc.assert(
      fc.property(
        fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withTypedArray: true,
          withSparseArray: true,
          withNullPrototype: true,
          withObjectString: true,
        }),
        (value) => {
          const text = JSON.stringify({ value: toLogValue(value), error: toLogError(value) })
          expect(text.length).toBeLessThan(10_000_000)
        },
      ),
    )
  })

  test('a secret goes wherever it lies, and however its name is written', () => {
    const names = fc.constantFrom(
      'password',
      'Pass-Word',
      'AUTHORIZATION',
      'set-cookie',
      'apiKey',
      'api_key',
      'X-Api-Key',
      'accessToken',
      'refresh_token',
      'clientSecret',
      'privateKey',
      'sessionId',
      'Mcp-Session-Id',
      'credentials',
      'jwt',
    )
    const inside = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 5 },
        names.map((name) => ({ [name]: planted('tree') })),
        fc.record({ plain: fc.string(), next: tie('tree') }),
        fc.array(tie('tree'), { minLength: 1, maxLength: 3 }),
      ),
    })).tree
    fc.assert(
      fc.property(inside, (tree) => {
        expect(JSON.stringify(toLogValue(tree))).not.toContain('sEcReT')
      }),
    )
  })

  test('counts of tokens and the like are no secrets', () => {
    const usage = { tokens: 3, totalTokens: 9, cookies: 2, key: 'k', secretary: 'Ada', passwords: 0, author: 'Bob' }
    expect(toLogValue(usage)).toEqual(usage)
  })

  test('plain values come out as they went in', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4, noUnicodeString: false } as never), (value) => {
        const text = JSON.stringify(value)
        if (/bearer|basic|:\/\//i.test(text)) return
        expect(JSON.stringify(toLogValue(value))).toBe(text)
      }),
    )
  })

  test('what is endless is cut: texts, lists, depth, chains of causes', () => {
    expect(toLogText('x'.repeat(1_000_000))).toHaveLength(8192 + '… (1000000 characters)'.length)
    expect(JSON.stringify(toLogValue(Array.from({ length: 100_000 }, (_, index) => index))).length).toBeLessThan(10_000)
    expect(JSON.stringify(toLogValue({ a: { b: { c: { d: { e: { f: { g: 1 } } } } } } }))).toContain('[…]')
    const wide = (depth: number): unknown => (depth === 0 ? 'x' : Array.from({ length: 30 }, () => wide(depth - 1)))
    expect(JSON.stringify(toLogValue(wide(4))).length).toBeLessThan(20_000)
    const loop = new Error('loop') as Error & { cause: unknown }
    loop.cause = loop
    expect(JSON.stringify(toLogError(loop)).split('"message":"loop"').length).toBeLessThan(10)
  })

  test.each([
    ['Authorization: Bearer abc.DEF-123', 'Authorization: Bearer [redacted]'],
    ['basic dXNlcjpwYXNz', 'basic [redacted]'],
    ['postgres://app:pa:ss@db/x and amqp://u:p@h', 'postgres://app:[redacted]@db/x and amqp://u:[redacted]@h'],
    ['a basic understanding', 'a basic understanding'],
    ['https://example.com/a@b', 'https://example.com/a@b'],
  ])('%s becomes %s', (text, expected) => {
    expect(toLogText(text)).toBe(expected)
  })

  test.each(['x', 'a.', '://', '://a:', 'basic ', 'Basic A', 'bearer ', ' ', 'basic \t', '://:@'])(
    'a text made of %j takes no more time than another',
    (part) => {
      const text = part.repeat(8192 / part.length)
      const startedMs = performance.now()
      for (let times = 0; times < 20; times++) toLogText(text)
      expect(performance.now() - startedMs).toBeLessThan(500)
    },
  )

  test.each([
    [undefined, { type: 'undefined', message: 'undefined' }],
    ['a text', { type: 'string', message: 'a text' }],
    [
      { password: 'x', a: 1 },
      { type: 'object', message: '{"password":"[redacted]","a":1}' },
    ],
  ])('%j, thrown, is logged as what it is', (thrown, expected) => {
    expect(toLogError(thrown)).toEqual(expected)
  })

  test('an error that throws when it is read does not throw again', () => {
    const evil = new Proxy(new Error('x'), {
      get: () => {
        throw new Error('no')
      },
    })
    expect(toLogError(evil)).toEqual({ type: 'unreadable', message: 'What was thrown throws when it is read.' })
  })
})

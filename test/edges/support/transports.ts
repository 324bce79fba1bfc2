import { PassThrough } from 'node:stream'
import { expect } from 'vitest'
import { createRuntime, type Runtime, type RuntimeOptions } from '../../../src/index.ts'
import { internalsOf } from '../../../src/compose/runtime.ts'
import { createFixture } from './fixture.ts'
import { BASE_HEADERS, legacy, modern, modernHeaders, post, type Json } from './messages.ts'
import { RawConnection } from './raw-connection.ts'
import { isThree, SILENT, type Expected, type MessageRow, type Sender } from './rows.ts'

/** What came back for one message. */
export interface Observed {
  /** `undefined` where the transport has none (stdio). */
  readonly status: number | undefined
  readonly headers: ReadonlyMap<string, string>
  /** The JSON that was answered, if any. */
  readonly message: unknown
}

/** A way to send hostile messages to a runtime and to see what comes back. */
export interface Transport extends AsyncDisposable {
  readonly runtime: Runtime
  send(row: Pick<MessageRow, 'body' | 'as' | 'headers' | 'expected'>): Promise<Observed>
}

/** Options under which nothing is written anywhere. */
export const QUIET: RuntimeOptions = { dataDir: false, logLevel: 'silent' }

const ADD = modern('tools/call', { name: 'add', arguments: { a: 1, b: 2 } }, 'normal')
/** A call that is in order. */
export const NORMAL = {
  body: JSON.stringify(ADD),
  as: 'modern',
  headers: modernHeaders(ADD),
  expected: isThree,
} as const

/** The process is as it was: a normal call is answered, nothing runs on, no prototype has grown. */
export async function expectUnharmed(transport: Transport): Promise<void> {
  const { status, message } = await transport.send(NORMAL)
  expect(status ?? 200).toBe(200)
  expect((message as { id: string; result: Json }).id).toBe('normal')
  expect((message as { result: Json }).result.content).toEqual([{ type: 'text', text: '3' }])
  expect(internalsOf(transport.runtime).kernel.runningCount).toBe(0)
  expect(Object.keys(Object.prototype)).toEqual([])
  expect(({} as Json).polluted).toBeUndefined()
}

/** Holds what came back to what a row says must come back. */
export function expectAnswer({ status, message }: Observed, expected: Expected): void {
  if (status !== undefined) expect({ status, message }).toEqual({ status: expected.status, message })
  if ('answers' in expected) return expected.answers(message as never)
  if (!('rpc' in expected)) return expect(message).toBeUndefined()
  const { error, ...rest } = message as { error: { code: number; message: string; data: Json } }
  expect(rest).toEqual({ jsonrpc: '2.0', ...('id' in expected ? { id: expected.id } : {}) })
  expect(error).toMatchObject({ code: expected.rpc, data: { code: expected.code, retryable: expect.any(Boolean) } })
  expect(error.data.requestId).toEqual(expect.any(String))
  expect(error.message).toMatch(expected.says ?? /\w+ \w+/)
  if (expected.data !== undefined) expect(error.data).toMatchObject(expected.data)
}

const isLegacySender = (as: Sender): boolean => as !== 'modern' && as !== 'nobody'

function initializeAs(as: Sender): Json {
  return legacy(
    'initialize',
    { protocolVersion: as, capabilities: {}, clientInfo: { name: 'edges', version: '1' } },
    'init',
  )
}

/** The headers of a row: those of its sender, and its own over them. */
function headersOf(row: Pick<MessageRow, 'as' | 'headers'>, session: string | undefined): Record<string, string> {
  const base =
    row.as === 'modern' && row.headers === undefined
      ? NORMAL.headers
      : { ...BASE_HEADERS, ...(session === undefined ? {} : { 'mcp-session-id': session }) }
  const all = Object.entries({ ...base, ...row.headers })
  return Object.fromEntries(all.filter((entry): entry is [string, string] => entry[1] !== undefined))
}

/** A listening runtime. */
export interface HttpTransport extends Transport {
  readonly port: number
  readonly url: string
  /** The id of a session of a 2025 revision. */
  session(as: Sender): Promise<string>
}

/** Over a real socket, byte by byte. */
export async function overHttp(options: RuntimeOptions, server = createFixture()): Promise<HttpTransport> {
  const runtime = await createRuntime(server, { ...QUIET, ...options })
  const { port, url } = await runtime.listen({ port: 0 })
  const sessions = new Map<Sender, string>()
  const request = async (bytes: Buffer): Promise<Observed> => {
    const connection = await RawConnection.open(port)
    try {
      connection.write(bytes)
      const { status, headers, body } = await connection.next()
      return { status, headers, message: body === '' ? undefined : JSON.parse(body) }
    } finally {
      connection.destroy()
    }
  }
  const session = async (as: Sender): Promise<string> => {
    let id = sessions.get(as)
    if (id === undefined) {
      const { headers } = await request(post(JSON.stringify(initializeAs(as))))
      sessions.set(as, (id = headers.get('mcp-session-id')!))
    }
    return id
  }
  return {
    runtime,
    port,
    url,
    session,
    async send(row) {
      const id = isLegacySender(row.as) ? await session(row.as) : undefined
      return request(post(row.body, headersOf(row, id)))
    },
    [Symbol.asyncDispose]: () => runtime.close(),
  }
}

/** Through the web-standard handler, as inside Hono and its like. */
export async function overFetch(options: RuntimeOptions): Promise<Transport> {
  const runtime = await createRuntime(createFixture(), { ...QUIET, ...options })
  const sessions = new Map<Sender, string>()
  const request = async (body: string | Buffer, headers: Record<string, string>): Promise<Observed> => {
    const init = { method: 'POST', headers, body: Buffer.from(body) }
    const response = await runtime.fetch(new Request('http://127.0.0.1/mcp', init))
    const text = await response.text()
    return {
      status: response.status,
      headers: new Map(response.headers),
      message: text === '' ? undefined : JSON.parse(text),
    }
  }
  return {
    runtime,
    async send(row) {
      if (isLegacySender(row.as) && !sessions.has(row.as)) {
        const { headers } = await request(JSON.stringify(initializeAs(row.as)), { ...BASE_HEADERS })
        sessions.set(row.as, headers.get('mcp-session-id')!)
      }
      return request(row.body, headersOf(row, sessions.get(row.as)))
    },
    [Symbol.asyncDispose]: () => runtime.close(),
  }
}

/** Over a pair of streams, a line each. Every sender has a process of its own, as clients of stdio have. */
export async function overStdio(options: RuntimeOptions, as: Sender): Promise<Transport> {
  const runtime = await createRuntime(createFixture(), { ...QUIET, ...options })
  const input = new PassThrough()
  const output = new PassThrough()
  const served = runtime.serveStdio({ input, output })
  const lines: string[] = []
  let wake: (() => void) | undefined
  let partial = ''
  output.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (partial + chunk).split('\n')
    partial = parts.pop()!
    lines.push(...parts)
    wake?.()
  })
  const line = async (): Promise<unknown> => {
    while (lines.length === 0) await new Promise<void>((resolve) => (wake = resolve))
    return JSON.parse(lines.shift()!)
  }
  if (isLegacySender(as)) {
    input.write(`${JSON.stringify(initializeAs(as))}\n`)
    await line()
  }
  return {
    runtime,
    async send({ body, expected }) {
      input.write(Buffer.concat([Buffer.from(body), Buffer.from('\n')]))
      return { status: undefined, headers: new Map(), message: expected === SILENT ? undefined : await line() }
    },
    async [Symbol.asyncDispose]() {
      input.end()
      await served
      // What nobody asked for would lie here.
      expect(lines).toEqual([])
      await runtime.close()
    },
  }
}

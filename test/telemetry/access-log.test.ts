import { afterEach, describe, expect, test } from 'vitest'
import type { RuntimeOptions } from '../../src/compose/options.ts'
import { createLogFile, type Line, type LogFile } from './log-file.ts'
import { ERAS, open, TRANSPORTS, type Era, type TransportName, type Wire } from './transports.ts'

let wires: Wire[] = []
afterEach(async () => {
  for (const wire of wires) await wire.close()
  wires = []
})
async function logged(
  transport: TransportName,
  era: Era,
  options: RuntimeOptions = {},
): Promise<{ wire: Wire; log: LogFile }> {
  const log = createLogFile()
  const wire = await open(transport, era, { logLevel: 'info', logFd: log.fd, ...options })
  wires.push(wire)
  return { wire, log }
}
const isAccess = ({ msg }: Line): boolean => msg === 'request'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const meta = { traceparent: `00-${TRACE}-00f067aa0ba902b7-01` }

describe.each(TRANSPORTS.flatMap((transport) => ERAS.map((era) => ({ transport, era }))))(
  'the access log of $era over $transport',
  ({ transport, era }) => {
    /** What a request is answered with, beside what every line says. */
    const cases: readonly { method: string; params?: Record<string, unknown>; line: Record<string, unknown> }[] = [
      {
        method: 'tools/call',
        params: { name: 'add', arguments: { a: 1, b: 2 } },
        line: { method: 'tools/call', target: 'add', status: 200 },
      },
      {
        method: 'tools/call',
        params: { name: 'crash' },
        line: { method: 'tools/call', target: 'crash', status: 200, error: 'tool_error' },
      },
      {
        method: 'tools/call',
        params: { name: 'made\n"up"' },
        line: { method: 'tools/call', target: '_unknown', status: 200, error: '-32602' },
      },
      { method: 'tools/list', line: { method: 'tools/list', status: 200 } },
      {
        method: 'prompts/get',
        params: { name: 'greet "you"', arguments: { name: 'x' } },
        line: { method: 'prompts/get', target: 'greet "you"', status: 200 },
      },
      {
        method: 'resources/read',
        params: { uri: 'doc://page/7' },
        line: { method: 'resources/read', status: 200, error: era === '2026-07-28' ? '-32602' : '-32002' },
      },
    ]

    test('has exactly one line for each request, and in it exactly what is promised', async () => {
      const { wire, log } = await logged(transport, era)
      for (const { method, params } of cases) await wire.request(method, params, { meta })
      const before = era === '2025-11-25' ? 1 : 0 // initialize
      const lines = await log.all(before + cases.length, isAccess)
      const notifications = lines.filter(({ method }) => String(method).startsWith('notifications/')).length
      expect(lines).toHaveLength(before + cases.length + notifications)
      for (const [index, { line }] of cases.entries())
        expect(lines.filter(({ method }) => !String(method).startsWith('notifications/'))[before + index]).toEqual({
          level: 30,
          time: expect.closeTo(Date.now(), -5),
          requestId: expect.stringMatching(/^[\w-]{8,}$/),
          ...line,
          durationMs: expect.any(Number),
          revision: era,
          transport,
          ...(transport === 'http' ? { address: '127.0.0.1' } : {}),
          ...(era === '2025-11-25' ? { session: expect.stringMatching(/./) } : {}),
          traceId: TRACE,
          msg: 'request',
        })
      expect(new Set(lines.map(({ requestId }) => requestId)).size).toBe(lines.length)
      for (const { durationMs } of lines) {
        expect(durationMs).toBeGreaterThanOrEqual(0)
        expect(durationMs).toBeLessThan(5000)
      }
    })

    test('names a request by the id that its client is told', async () => {
      const { wire, log } = await logged(transport, era)
      const { error } = await wire.request('resources/read', { uri: 'doc://page/7' })
      const line = await log.line((one) => isAccess(one) && one.error !== undefined)
      expect(line.requestId).toBe(error!.data.requestId)
    })
  },
)

describe('the access log', () => {
  test.each([
    ['no trace', undefined],
    ['a text that is no trace', 'nonsense'],
    ['a trace of zeros', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`],
    ['a text with more behind it', `00-${TRACE}-00f067aa0ba902b7-01","level":60`],
    ['something that is no text', { traceparent: true }],
  ])('names no trace for %s', async (_what, traceparent) => {
    const { wire, log } = await logged('http', '2026-07-28')
    await wire.request('tools/list', {}, { meta: { traceparent } })
    expect(await log.line(isAccess)).not.toHaveProperty('traceId')
  })

  test('says how long a call took, in milliseconds', async () => {
    const { wire, log } = await logged('stdio', '2026-07-28')
    const started = performance.now()
    void wire.request('tools/call', { name: 'wait' }, { id: 7 })
    await new Promise((resolve) => setTimeout(resolve, 30))
    await wire.notify('notifications/cancelled', { requestId: 7 })
    const { durationMs, error } = await log.line((one) => isAccess(one) && one.target === 'wait')
    expect(error).toBe('cancelled')
    expect(durationMs).toBeGreaterThan(25)
    expect(durationMs).toBeLessThan(performance.now() - started)
  })

  test('has one line for what is refused before it is a request, with the code and the id that the client is told', async () => {
    const { wire, log } = await logged('http', '2026-07-28')
    const { error } = await wire.request('tools/list', {}, { headers: { 'mcp-method': 'tools/call' } })
    const lines = await log.all(1)
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatchObject({
      level: 30,
      requestId: error!.data.requestId,
      error: 'header_mismatch',
      status: 400,
      msg: 'refused',
    })
  })

  test('says of a refusal who was refused, and over what', async () => {
    const { wire, log } = await logged('http', '2026-07-28')
    await wire.request('tools/list', {}, { headers: { origin: 'https://evil.example' } })
    expect(await log.line(({ msg }) => msg === 'refused')).toMatchObject({
      error: 'forbidden_origin',
      transport: 'http',
      address: '127.0.0.1',
    })
  })

  test.each(['warn', 'error', 'fatal', 'silent'])('is off at the level %s', async (logLevel) => {
    const { wire, log } = await logged('http', '2026-07-28', { logLevel })
    await wire.request('tools/call', { name: 'add', arguments: { a: 1, b: 2 } })
    await wire.request('tools/call', { name: 'crash' })
    if (logLevel === 'warn' || logLevel === 'error') await log.line(({ level }) => level === 50)
    await wire.close()
    wires = []
    expect(log.lines().map(({ level }) => level)).toEqual(logLevel === 'warn' || logLevel === 'error' ? [50] : [])
  })
})

describe('the log of handlers', () => {
  test('says what the handler says, and for which request', async () => {
    const { wire, log } = await logged('http', '2026-07-28')
    await wire.request('tools/call', { name: 'log', arguments: { fields: { order: 7, of: ['a', null] } } }, { meta })
    const access = await log.line(isAccess)
    expect(await log.line(({ msg }) => msg === 'the handler says')).toEqual({
      level: 30,
      time: expect.any(Number),
      requestId: access.requestId,
      method: 'tools/call',
      target: 'log',
      traceId: TRACE,
      fields: { order: 7, of: ['a', null] },
      msg: 'the handler says',
    })
  })

  test('cannot be made to say something else by what the fields are named or hold', async () => {
    const { wire, log } = await logged('http', '2026-07-28')
    const fields = {
      level: 60,
      time: 0,
      msg: 'forged',
      requestId: 'forged',
      ['__proto__']: { msg: 'forged' },
      text: 'a\n{"level":60,"msg":"forged"}\n\u2028',
    }
    await wire.request('tools/call', {
      name: 'log',
      arguments: JSON.parse(
        JSON.stringify({ fields }).replace('"text"', '"__proto__":{"msg":"forged"},"text"'),
      ) as object,
    })
    const access = await log.line(isAccess)
    const line = await log.line(({ msg }) => msg === 'the handler says')
    expect(line).toMatchObject({ level: 30, requestId: access.requestId, fields: { level: 60, msg: 'forged' } })
    expect(log.lines()).toHaveLength(2)
  })
})

describe('errors in the log', () => {
  test.each(TRANSPORTS)(
    'carry the stack and the request, over %s; the client is told the id alone',
    async (transport) => {
      const { wire, log } = await logged(transport, '2026-07-28')
      const { result } = await wire.request('tools/call', { name: 'crash' }, { meta })
      const line = await log.line(({ level }) => level === 50)
      const access = await log.line(isAccess)
      expect(line).toMatchObject({
        requestId: access.requestId,
        method: 'tools/call',
        target: 'crash',
        traceId: TRACE,
        err: { type: 'Error', message: 'ER_ACCESS_DENIED: no access for app@10.0.0.7' },
      })
      expect((line.err as { stack: string }).stack).toMatch(/fixture\.ts:\d+/)
      const told = JSON.stringify(result)
      expect(told).toContain(String(access.requestId))
      expect(told).not.toMatch(/ER_ACCESS|10\.0\.0\.7|fixture|\.ts|at /)
    },
  )
})

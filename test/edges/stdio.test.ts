import { PassThrough } from 'node:stream'
import { afterEach, describe, expect, it } from 'vitest'
import { createRuntime, type Runtime } from '../../src/index.ts'
import { createFixture } from './support/fixture.ts'
import { modern, type Json } from './support/messages.ts'
import { QUIET } from './support/transports.ts'

const MAX_BYTES = 64 * 1024

/** A runtime on a pair of streams, and what it says, line by line. */
interface Stdio {
  readonly runtime: Runtime
  readonly input: PassThrough
  readonly output: PassThrough
  readonly served: Promise<void>
  /** The next line, parsed. */
  next(): Promise<Json>
  /** Lines that nobody took. */
  readonly lines: readonly string[]
}
let open: Stdio | undefined
afterEach(async () => {
  open?.input.end()
  await open?.runtime.close()
  open = undefined
})
async function start(): Promise<Stdio> {
  const runtime = await createRuntime(createFixture(), { ...QUIET, maxBodyBytes: MAX_BYTES })
  const input = new PassThrough()
  const output = new PassThrough()
  const served = runtime.serveStdio({ input, output })
  const lines: string[] = []
  let partial = ''
  let wake: (() => void) | undefined
  output.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (partial + chunk).split('\n')
    partial = parts.pop()!
    lines.push(...parts)
    wake?.()
  })
  const next = async (): Promise<Json> => {
    while (lines.length === 0) await new Promise<void>((resolve) => (wake = resolve))
    return JSON.parse(lines.shift()!) as Json
  }
  return (open = { runtime, input, output, served, next, lines })
}
const add = (id: unknown): string =>
  JSON.stringify(modern('tools/call', { name: 'add', arguments: { a: 1, b: 2 } }, id))
const isError = (code: string): unknown => ({
  jsonrpc: '2.0',
  error: expect.objectContaining({ data: expect.objectContaining({ code }) }),
})

describe('lines on stdio', () => {
  it('are messages however they come: byte by byte, many at once, with carriage returns, empty ones between', async () => {
    const { input, next } = await start()
    for (const byte of Buffer.from(`${add('drop by drop')}\n`)) input.write(Buffer.of(byte))
    expect(await next()).toMatchObject({ id: 'drop by drop' })
    input.write(`\n\r\n${add(1)}\r\n\n${add(2)}\n${add(3)}\n${add(4).slice(0, 10)}`)
    input.write(`${add(4).slice(10)}\n`)
    for (const id of [1, 2, 3, 4]) expect(await next()).toMatchObject({ id, result: { content: [{ text: '3' }] } })
  })

  it('that cut a character in two are whole', async () => {
    const { input, next } = await start()
    const bytes = Buffer.from(`${add('€😀')}\n`)
    for (let at = 0; at < bytes.length; at += 3) input.write(bytes.subarray(at, at + 3))
    expect(await next()).toMatchObject({ id: '€😀' })
  })

  it.each([
    ['in one piece', (line: Buffer) => [line]],
    [
      'in many pieces',
      (line: Buffer) =>
        Array.from({ length: 20 }, (_, n) => line.subarray((n * line.length) / 20, ((n + 1) * line.length) / 20)),
    ],
  ])('that are too long (%s) are refused once, and the next one is served', async (_name, cut) => {
    const { input, next, lines } = await start()
    const line = Buffer.from(`{"jsonrpc":"2.0","id":1,"method":"${'x'.repeat(10 * MAX_BYTES)}"}\n`)
    for (let round = 0; round < 3; round++) {
      for (const piece of cut(Buffer.concat([line, Buffer.from(`${add(round)}\n`)]))) input.write(piece)
      expect(await next()).toEqual(isError('body_too_large'))
      expect(await next()).toMatchObject({ id: round })
    }
    expect(lines).toEqual([])
  })

  it('that are exactly as long as allowed are served', async () => {
    const { input, next } = await start()
    const pad = ' '.repeat(MAX_BYTES - add(1).length)
    input.write(`${add(1)}${pad}\n${add(2)}${pad} \n`)
    expect(await next()).toMatchObject({ id: 1 })
    expect(await next()).toEqual(isError('body_too_large'))
  })

  it('of rubbish and invalid UTF-8 are refused one by one', async () => {
    const { input, next } = await start()
    input.write(Buffer.concat([Buffer.from('garbage\n'), Buffer.of(0xff, 0xfe, 0x0a), Buffer.from(`\0\n${add(1)}\n`)]))
    for (let line = 0; line < 3; line++) expect(await next()).toEqual(isError('parse_error'))
    expect(await next()).toMatchObject({ id: 1 })
  })

  it('without an end are no messages', async () => {
    const { input, served, lines } = await start()
    input.end(add(1))
    await served
    expect(lines).toEqual([])
  })

  it('end in order when the client stops to listen, whatever still runs', async () => {
    const { input, output, served, next } = await start()
    input.write(`${add(1)}\n`)
    await next()
    input.write(`${JSON.stringify(modern('tools/call', { name: 'hold', arguments: {} }, 'held'))}\n`)
    output.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
    input.write(`${add(2)}\n`)
    await served
  })

  it('never hold a line break inside a message', async () => {
    const { input, next } = await start()
    const argument = 'a\nb\r\nc\u2028d'
    input.write(`${JSON.stringify(modern('tools/call', { name: 'echo', arguments: { argument } }))}\n`)
    const { result } = (await next()) as { result: { content: [{ text: string }] } }
    expect(JSON.parse(result.content[0].text)).toEqual({ argument })
  })
})

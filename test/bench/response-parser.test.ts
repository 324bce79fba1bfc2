import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ResponseParser } from '../../bench/lib/load/response-parser.ts'
import type { ResponseHead } from '../../bench/lib/load/response-parser.ts'

interface Seen {
  status: number
  contentType: string | undefined
  body: string
  bodyBytes: number
}

function recorder(): { parser: ResponseParser; seen: Seen[] } {
  const seen: Seen[] = []
  const parser = new ResponseParser({
    onEnd: (head, body, bodyBytes) => {
      seen.push({ status: head.status, contentType: head.headers.get('content-type'), body, bodyBytes })
    },
  })
  return { parser, seen }
}

function fixed(body: string, status = 200): string {
  return `HTTP/1.1 ${status} OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
}

function chunked(chunks: readonly string[], trailer = ''): string {
  const coded = chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('')
  return `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n${coded}0\r\n${trailer}\r\n`
}

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')

describe('ResponseParser', () => {
  test('reads bodies by length, by chunks, and statuses without a body, one after the other', () => {
    const { parser, seen } = recorder()
    parser.push(
      latin1(
        fixed('{"a":1}') +
          chunked(['event: message\n', 'data: {}\n\n']) +
          'HTTP/1.1 204 No Content\r\n\r\n' +
          fixed('', 202),
      ),
    )
    expect(seen.map(({ status, body }) => [status, body])).toEqual([
      [200, '{"a":1}'],
      [200, 'event: message\ndata: {}\n\n'],
      [204, ''],
      [202, ''],
    ])
    parser.close()
  })

  test('reports the same responses however the bytes are cut', () => {
    const byteString = fc.string({
      unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
      maxLength: 300,
    })
    const response = fc.oneof(
      byteString.map((body) => ({ bytes: fixed(body), body })),
      fc
        .array(
          byteString.filter((chunk) => chunk !== ''),
          { maxLength: 4 },
        )
        .map((chunks) => ({ bytes: chunked(chunks, 'X-Trailer: 1\r\n'), body: chunks.join('') })),
      fc.constant({
        bytes: 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n',
        body: '',
      }),
    )
    fc.assert(
      fc.property(
        fc.array(response, { minLength: 1, maxLength: 4 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 40 })),
        (responses, cuts) => {
          const { parser, seen } = recorder()
          const bytes = latin1(responses.map((one) => one.bytes).join(''))
          for (let at = 0; at < bytes.length;) {
            const end = Math.min(bytes.length, at + cuts.next().value!)
            // A copy that is wiped afterwards: the parser must not hold on to the buffer.
            const piece = Buffer.from(bytes.subarray(at, end))
            parser.push(piece)
            piece.fill(0)
            at = end
          }
          parser.close()
          expect(seen.map(({ body }) => body)).toEqual(responses.map(({ body }) => body))
          expect(seen.map(({ bodyBytes }) => bodyBytes)).toEqual(responses.map(({ body }) => body.length))
        },
      ),
    )
  })

  test('parses a head again when its text changes', () => {
    const { parser, seen } = recorder()
    parser.push(latin1(fixed('one') + fixed('four') + fixed('five', 404) + fixed('one')))
    expect(seen.map(({ status, body }) => `${status} ${body}`)).toEqual(['200 one', '200 four', '404 five', '200 one'])
  })

  test('keeps no more of a body than asked, and counts the rest', () => {
    const { parser, seen } = recorder()
    parser.keepBytes = 5
    parser.push(latin1(fixed('0123456789') + chunked(['abc', 'defgh'])))
    expect(seen.map(({ body, bodyBytes }) => [body, bodyBytes])).toEqual([
      ['01234', 10],
      ['abcde', 8],
    ])
  })

  test('hands over the pieces of an open stream as they come', () => {
    const events: string[] = []
    const parser = new ResponseParser({
      onHead: (head: ResponseHead) => events.push(`head ${head.status}`),
      onBody: (piece) => events.push(piece),
      onEnd: () => events.push('end'),
    })
    parser.push(latin1('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n: hi\r\n'))
    expect(events).toEqual(['head 200', ': hi'])
    parser.push(latin1('0\r\n\r\n'))
    expect(events).toEqual(['head 200', ': hi', 'end'])
  })

  test('ends a body that only the close of the connection delimits', () => {
    const { parser, seen } = recorder()
    parser.push(latin1('HTTP/1.1 200 \r\ncontent-type: text/event-stream\r\n\r\ndata: {}\n\n'))
    expect(seen).toEqual([])
    parser.close()
    expect(seen).toEqual([{ status: 200, contentType: 'text/event-stream', body: 'data: {}\n\n', bodyBytes: 10 }])
  })

  test.each([
    ['a status line that is none', 'HTTP/2 200\r\n\r\n', /status line/],
    ['a header without a colon', 'HTTP/1.1 200 OK\r\nnonsense\r\n\r\n', /not an HTTP header/],
    ['a length that is no number', 'HTTP/1.1 200 OK\r\ncontent-length: 5x\r\n\r\n', /bad content-length "5x"/],
    ['a coding it cannot undo', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n', /unsupported transfer-encoding/],
    ['a chunk size that is none', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n', /bad chunk size/],
    [
      'a chunk longer than its size',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n',
      /longer than its size/,
    ],
    ['a head without end', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(70_000)}`, /more than 65536 bytes/],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => recorder().parser.push(latin1(bytes))).toThrow(message)
  })

  test('calls a response that the close cut short by its name', () => {
    const { parser, seen } = recorder()
    parser.push(latin1('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123'))
    expect(() => parser.close()).toThrow(/inside a response \(in its fixed, 6 bytes to come\)/)
    expect(seen).toEqual([])
  })
})

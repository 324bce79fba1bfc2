import { modernHeaders, post } from './messages.ts'
import { add, BOUNDS, isThree, parseError, text } from './rows.ts'
import { refusal, wire, type WireRow } from './wire-row.ts'

const BODY = text(add())
const HEADERS = modernHeaders(add())
const CALL = post(BODY, HEADERS)
/** Beyond what the server throws away to keep a connection, within what it may be asked to take. */
const BIG = Buffer.alloc(BOUNDS.maxBodyBytes + 1, 'x')
const chunked = { ...HEADERS, 'content-length': undefined, 'transfer-encoding': 'chunked' }
const chunk = (bytes: Buffer | string): Buffer =>
  Buffer.concat([Buffer.from(`${Buffer.from(bytes).length.toString(16)}\r\n`), Buffer.from(bytes), Buffer.from('\r\n')])
const END = '0\r\n\r\n'
/** What was no request at all. */
const notHttp = refusal(400, 'invalid_request', /HTTP/)
const bare = (...statuses: number[]): WireRow['expected'] => ({ bare: statuses })

const tooLarge = refusal(413, 'body_too_large', new RegExp(String(BOUNDS.maxBodyBytes)))
const tooSlow = refusal(408, 'body_too_slow', /300 ms/)
const notJson = refusal(415, 'unsupported_media_type')

/** Bodies that are too big, too slow, cut, or of another kind than they say. */
export const WIRE_BODIES: readonly WireRow[] = [
  wire(
    'a body too large by its own word',
    post('', { ...HEADERS, 'content-length': String(BIG.length) }),
    tooLarge,
    'closed',
  ),
  wire('a body too large, all of it at once', post(BIG, HEADERS), tooLarge, 'closed'),
  wire(
    'a body too large in chunks',
    Buffer.concat([post('', chunked), chunk(BIG), Buffer.from(END)]),
    tooLarge,
    'closed',
  ),
  {
    sends: 'chunks without end',
    async send(connection) {
      connection.write(post('', chunked))
      const piece = chunk(Buffer.alloc(64 * 1024, 'x'))
      while (!connection.isClosed) {
        connection.write(piece)
        await new Promise((resolve) => setImmediate(resolve))
      }
    },
    expected: tooLarge,
    then: 'closed',
  },
  wire('a body that never begins', post('', { ...HEADERS, 'content-length': '10' }), tooSlow, 'closed'),
  wire('a body that stops in the middle', CALL.subarray(0, -10), tooSlow, 'closed'),
  wire('chunks that never begin', post('', chunked), tooSlow, 'closed'),
  wire('chunks that stop', Buffer.concat([post('', chunked), chunk(BODY)]), tooSlow, 'closed'),
  wire(
    'a body shorter than it says',
    post(BODY, { ...HEADERS, 'content-length': String(BODY.length + 5) }),
    tooSlow,
    'closed',
  ),
  {
    sends: 'a body that drips in time',
    async send(connection) {
      for (let at = 0; at < CALL.length; at += 100) {
        connection.write(CALL.subarray(at, at + 100))
        await new Promise((resolve) => setImmediate(resolve))
      }
    },
    expected: isThree,
    then: 'open',
  },
  {
    sends: 'half a body, and goes away',
    async send(connection) {
      connection.write(CALL.subarray(0, -10))
      await new Promise((resolve) => setImmediate(resolve))
      connection.destroy()
    },
    expected: 'nobody',
    then: 'closed',
  },
  {
    sends: 'half a header, and goes away',
    send(connection) {
      connection.write(CALL.subarray(0, 40))
      connection.destroy()
    },
    expected: 'nobody',
    then: 'closed',
  },
  // What is left over is no request, and nobody knows where the next one would begin: the whole connection is a bad one.
  wire(
    'a body longer than it says',
    post(BODY, { ...HEADERS, 'content-length': String(BODY.length - 5) }),
    notHttp,
    'closed',
  ),
  wire('content of no length', post('', HEADERS), parseError, 'open'),
  wire('neither a length nor chunks', post('', { ...HEADERS, 'content-length': undefined }), parseError, 'open'),
  ...[
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonx',
    'application/json-rpc',
    '',
  ].map((type) =>
    wire(`the content type ${JSON.stringify(type)}`, post(BODY, { ...HEADERS, 'content-type': type }), notJson, 'open'),
  ),
  wire('no content type', post(BODY, { ...HEADERS, 'content-type': undefined }), notJson, 'open'),
  ...['latin1', 'utf-16', 'iso-8859-1', '"utf-7"'].map((charset) =>
    wire(
      `JSON in ${charset}`,
      post(BODY, { ...HEADERS, 'content-type': `application/json; charset=${charset}` }),
      notJson,
      'open',
    ),
  ),
  ...['application/json; charset=utf-8', 'Application/JSON;charset="UTF-8"', 'application/json; profile=x'].map(
    (type) =>
      wire(
        `the content type ${type}, which is JSON`,
        post(BODY, { ...HEADERS, 'content-type': type }),
        isThree,
        'open',
      ),
  ),
  wire(
    'a packed body',
    post(Buffer.from([0x1f, 0x8b, 8, 0, 0]), { ...HEADERS, 'content-encoding': 'gzip' }),
    parseError,
    'open',
  ),
  wire(
    'an answer in HTML wanted',
    post(BODY, { ...HEADERS, accept: 'text/html' }),
    refusal(406, 'not_acceptable'),
    'open',
  ),
  {
    sends: 'a refused body that arrives late',
    async send(connection) {
      const bytes = post(BODY, { ...HEADERS, 'content-type': 'text/plain' })
      connection.write(bytes.subarray(0, bytes.length - BODY.length))
      await new Promise((resolve) => setTimeout(resolve, 20))
      connection.write(BODY)
    },
    expected: notJson,
    then: 'open',
  },
  wire(
    'a big body of the wrong kind',
    post(Buffer.alloc(100_000, 'x'), { ...HEADERS, 'content-type': 'text/plain' }),
    notJson,
    'closed',
  ),
]

/** Where one request ends and the next begins. */
export const FRAMING: readonly WireRow[] = [
  wire('a length and chunks', post(BODY, { ...HEADERS, 'transfer-encoding': 'chunked' }), notHttp, 'closed'),
  wire('two lengths', post(BODY, { ...HEADERS, 'content-length': [String(BODY.length), '5'] }), notHttp, 'closed'),
  ...['-1', '1e3', '0x10', '5, 5', '+5', '99999999999999999999'].map((length) =>
    wire(`the length ${length}`, post(BODY, { ...HEADERS, 'content-length': length }), notHttp, 'closed'),
  ),
  wire('the length 2^53', post('', { ...HEADERS, 'content-length': '9007199254740992' }), tooLarge, 'closed'),
  wire(
    'a coding nobody knows after chunks',
    post('', { ...chunked, 'transfer-encoding': 'chunked, gzip' }),
    notHttp,
    'closed',
  ),
  wire('a chunk of no size', Buffer.concat([post('', chunked), Buffer.from('zz\r\nhello\r\n')]), notHttp, 'closed'),
  wire(
    'a chunk of an endless size',
    Buffer.concat([post('', chunked), Buffer.from('fffffffffffffffff\r\n')]),
    notHttp,
    'closed',
  ),
  wire(
    'an endless chunk extension',
    Buffer.concat([post('', chunked), Buffer.from(`1;${'x'.repeat(100_000)}`)]),
    notHttp,
    'closed',
  ),
  wire('rubbish', 'hello\r\n\r\n', notHttp, 'closed'),
  wire('TLS', Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]), notHttp, 'closed'),
  wire('HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', notHttp, 'closed'),
  wire('HTTP/3.0', post(BODY, HEADERS, { version: 'HTTP/3.0' }), notHttp, 'closed'),
  wire('HTTP/1.0', post(BODY, HEADERS, { version: 'HTTP/1.0' }), isThree, 'closed'),
  wire(
    'HTTP/1.0 without Host',
    post(BODY, { ...HEADERS, host: undefined }, { version: 'HTTP/1.0' }),
    refusal(403, 'forbidden_host'),
    'closed',
  ),
  wire('HTTP/1.1 without Host', post(BODY, { ...HEADERS, host: undefined }), bare(400), 'closed'),
  wire('an empty line before the request', Buffer.concat([Buffer.from('\r\n'), CALL]), isThree, 'open'),
  wire('the wish to close', post(BODY, { ...HEADERS, connection: 'close' }), isThree, 'closed'),
  wire(
    'the wish to speak websocket',
    post(BODY, { ...HEADERS, connection: 'upgrade', upgrade: 'websocket' }),
    isThree,
    'open',
  ),
  wire('the wish to be asked on', post(BODY, { ...HEADERS, expect: '100-continue' }), isThree, 'open', { interim: 1 }),
  // RFC 9110, 10.1.1: a final status that the head alone decides must be sent in place of 100.
  wire(
    'the wish to be asked on with a body too large',
    post('', { ...HEADERS, expect: '100-continue', 'content-length': String(BIG.length) }),
    tooLarge,
    'closed',
    { interim: 0 },
  ),
  wire('an expectation nobody knows', post(BODY, { ...HEADERS, expect: 'the-unexpected' }), bare(417), 'open'),
]

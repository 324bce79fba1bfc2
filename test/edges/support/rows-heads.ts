import { bodiless, legacy, modern, modernHeaders, post } from './messages.ts'
import { add, isThree, text, type Expected } from './rows.ts'
import { refusal, wire, type WireRow } from './wire-row.ts'

const BODY = text(add())
const HEADERS = modernHeaders(add())
/** What was no request at all. */
const notHttp = refusal(400, 'invalid_request', /HTTP/)
const bare = (...statuses: number[]): WireRow['expected'] => ({ bare: statuses })
const mismatch = (says: RegExp): Expected => ({ status: 400, rpc: -32020, code: 'header_mismatch', id: 1, says })
const called = (headers: Record<string, string | readonly string[] | undefined>): Buffer =>
  post(BODY, { ...HEADERS, ...headers })
const order = (name: string): Buffer => {
  const message = modern('tools/call', { name: 'order', arguments: { order: { items: [] } } })
  return post(text(message), { ...modernHeaders(message), 'mcp-name': name })
}
const isOrdered: Expected = { status: 200, answers: () => undefined }
const region = (value: unknown, header: string | readonly string[] | undefined): Buffer => {
  const message = modern('tools/call', { name: 'region', arguments: value === undefined ? {} : { region: value } })
  return post(text(message), { ...modernHeaders(message), 'mcp-param-region': header })
}

/** Headers that are foreign, doubled, malformed, or say something other than the body. */
export const HEADS: readonly WireRow[] = [
  ...[
    'evil.example',
    'evil.example:3000',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '',
    'a b',
    '[::1',
    '127.0.0.1@evil.example',
  ].map((host) => wire(`the host ${JSON.stringify(host)}`, called({ host }), refusal(403, 'forbidden_host'), 'open')),
  ...['127.0.0.1:evil.example', 'localhost:80@evil.example', '127.0.0.1:'.padEnd(20, '9')].map((host) =>
    wire(
      `the host ${JSON.stringify(host)}, whose port is none`,
      called({ host }),
      refusal(403, 'forbidden_host'),
      'open',
    ),
  ),
  ...['LOCALHOST', '127.0.0.1:1', '[::1]:9'].map((host) => wire(`the host ${host}`, called({ host }), isThree, 'open')),
  // RFC 9112, 3.2: more than one Host makes the request a bad one. Refused with 403, since joined they are no host.
  wire('two hosts', called({ host: ['127.0.0.1', 'evil.example'] }), refusal(403, 'forbidden_host'), 'open'),
  wire(
    'two hosts with ports',
    called({ host: ['127.0.0.1:80', 'evil.example:80'] }),
    refusal(403, 'forbidden_host'),
    'open',
  ),
  wire('a list of hosts', called({ host: '127.0.0.1:80, evil.example' }), refusal(403, 'forbidden_host'), 'open'),
  ...[
    'http://evil.example',
    'https://localhost.evil.example',
    'null',
    '',
    'http://localhost:80.evil.example',
    'http://localhost, http://evil.example',
    'chrome-extension://x',
    'http://127.0.0.1.evil.example',
    'HTTP://LOCALHOST@evil.example',
  ].map((origin) =>
    wire(`the origin ${JSON.stringify(origin)}`, called({ origin }), refusal(403, 'forbidden_origin'), 'open'),
  ),
  wire(
    'two origins',
    called({ origin: ['http://localhost', 'http://evil.example'] }),
    refusal(403, 'forbidden_origin'),
    'open',
  ),
  wire('an origin of this machine', called({ origin: 'http://localhost:5173' }), isThree, 'open', {
    headers: { 'access-control-allow-origin': /^http:\/\/localhost:5173$/, vary: /Origin/ },
  }),

  ...['mcp-protocol-version', 'mcp-method', 'mcp-name'].flatMap((name) => {
    const says = new RegExp(name, 'i')
    return [
      wire(`no ${name}`, called({ [name]: undefined }), mismatch(says), 'open'),
      wire(`an empty ${name}`, called({ [name]: '' }), mismatch(says), 'open'),
      wire(`another ${name}`, called({ [name]: 'other' }), mismatch(says), 'open'),
      wire(`${name} twice`, called({ [name]: [HEADERS[name]!, HEADERS[name]!] }), mismatch(says), 'open'),
      wire(`${name} and another`, called({ [name]: [HEADERS[name]!, 'other'] }), mismatch(says), 'open'),
      wire(`a list in ${name}`, called({ [name]: `${HEADERS[name]!},other` }), mismatch(says), 'open'),
      wire(`${name} in capitals`, called({ [name]: HEADERS[name]!.toUpperCase() + 'X' }), mismatch(says), 'open'),
      wire(`${name} in quotes`, called({ [name]: `"${HEADERS[name]!}"` }), mismatch(says), 'open'),
      wire(`${name} with a no-break space`, called({ [name]: `${HEADERS[name]!}\xa0` }), mismatch(says), 'open'),
    ]
  }),
  wire(
    'a revision of 2025 beside a claim of 2026',
    called({ 'mcp-protocol-version': '2025-11-25' }),
    mismatch(/2025-11-25/),
    'open',
  ),
  wire(
    'a content type and another',
    called({ 'content-type': ['application/json', 'text/plain'] }),
    refusal(415, 'unsupported_media_type'),
    'open',
  ),
  wire('white space around header values', called({ 'mcp-name': ' \tadd\t ' }), isThree, 'open'),

  ...['=?base64?b3JkZXI=?=', ' =?base64?b3JkZXI=?= '].map((name) =>
    wire(`the name ${name}`, order(name), isOrdered, 'open'),
  ),
  ...[
    ['without padding', '=?base64?b3JkZXI?='],
    ['with too much padding', '=?base64?b3JkZXI==?='],
    ['with a space', '=?base64?b3Jk ZXI=?='],
    ['of the wrong alphabet', '=?base64?b3JkZX-_?='],
    ['with bits left over', '=?base64?b3JkZXJ=?='],
    ['that is not UTF-8', '=?base64?//8=?='],
    ['of a surrogate half', '=?base64?7aCA?='],
    ['of nothing', '=?base64??='],
    ['without its end', '=?base64?b3JkZXI='],
    ['without its beginning', 'b3JkZXI=?='],
    ['that overlaps', '=?base64?='],
    ['in capitals', '=?BASE64?b3JkZXI=?='],
    ['twice', '=?base64?PT9iYXNlNjQ/YjNKa1pYST0/PQ==?='],
    ['of the name with a line break', '=?base64?b3JkZXIK?='],
    ['of the name and a null byte', '=?base64?b3JkZXIA?='],
  ].map(([how, name]) => wire(`base64 ${how!}`, order(name!), mismatch(/Mcp-Name/), 'open')),

  wire('a mirrored argument', region('eu', 'eu'), isOrdered, 'open'),
  wire('a mirrored argument, encoded', region('Zürich', '=?base64?WsO8cmljaA==?='), isOrdered, 'open'),
  wire('a mirrored argument in latin-1', region('Zürich', 'Zürich'), mismatch(/mcp-param-region/i), 'open'),
  wire('an argument without its header', region('eu', undefined), mismatch(/mcp-param-region/i), 'open'),
  wire('another argument than its header', region('eu', 'us'), mismatch(/mcp-param-region/i), 'open'),
  wire('a header without its argument', region(undefined, 'eu'), mismatch(/mcp-param-region/i), 'open'),
  wire('a mirrored argument twice', region('eu', ['eu', 'eu']), mismatch(/mcp-param-region/i), 'open'),

  wire('headers too large', called({ 'x-large': 'x'.repeat(20_000) }), refusal(431, 'headers_too_large'), 'closed'),
  wire(
    'too many headers',
    called(Object.fromEntries(Array.from({ length: 3000 }, (_, n) => [`x-${n}`, 'x']))),
    refusal(431, 'headers_too_large'),
    'closed',
  ),
  wire(
    'an endless path',
    post(BODY, HEADERS, { path: `/${'x'.repeat(20_000)}` }),
    refusal(431, 'headers_too_large'),
    'closed',
  ),
  wire('a header that goes on in the next line', called({ 'mcp-name': 'add\r\n folded' }), notHttp, 'closed'),
  wire('a header with a bare line feed', called({ 'mcp-name': 'add\nx-injected: 1' }), notHttp, 'closed'),
  wire('a header with a bare carriage return', called({ 'mcp-name': 'add\rx' }), notHttp, 'closed'),
  wire('a null byte in a header', called({ 'mcp-name': 'add\0' }), notHttp, 'closed'),
  wire('a header with a space before its colon', called({ 'mcp-name ': 'add' }), notHttp, 'closed'),
  wire(
    'a line that is no header',
    Buffer.from(called({}).toString().replace('\r\n', '\r\nnonsense\r\n')),
    notHttp,
    'closed',
  ),
  {
    sends: 'headers that never end',
    send: (connection) => connection.write(called({}).subarray(0, 60)),
    expected: refusal(408, 'body_too_slow', /headersTimeoutMs/),
    then: 'closed',
  },
]

const notAllowed = refusal(405, 'method_not_allowed')
const ALLOW = { headers: { allow: /POST/ } }

/** Methods and paths. */
export const TARGETS: readonly WireRow[] = [
  wire('GET without a session', bodiless('GET'), notAllowed, 'open', ALLOW),
  wire('GET with a body', post(BODY, HEADERS, { method: 'GET' }), notAllowed, 'open', ALLOW),
  wire(
    'GET of 2026-07-28',
    bodiless('GET', { 'mcp-protocol-version': '2026-07-28', 'mcp-session-id': 'x' }),
    notAllowed,
    'open',
    ALLOW,
  ),
  wire(
    'DELETE of 2026-07-28',
    bodiless('DELETE', { 'mcp-protocol-version': '2026-07-28', 'mcp-session-id': 'x' }),
    notAllowed,
    'open',
    ALLOW,
  ),
  wire(
    'DELETE of a session that nobody opened',
    bodiless('DELETE', { 'mcp-session-id': 'x' }),
    refusal(404, 'session_not_found'),
    'open',
  ),
  wire(
    'GET of a session that nobody opened',
    bodiless('GET', { 'mcp-session-id': 'x', accept: 'text/event-stream' }),
    refusal(404, 'session_not_found'),
    'open',
  ),
  {
    sends: 'GET that takes no stream',
    send: async (connection, session) =>
      connection.write(bodiless('GET', { 'mcp-session-id': await session('2025-11-25'), accept: 'application/json' })),
    expected: refusal(406, 'not_acceptable'),
    then: 'open',
  },
  ...[
    'p',
    'p.x',
    'p.x.1.!.1',
    'p.x.1.eyI.1',
    'p..1..-1',
    'p.x.1..1e999',
    'q.x.1..1',
    '..',
    `p.${'x'.repeat(500)}.1..1`,
  ].map((id) => ({
    sends: `the Last-Event-ID ${id.slice(0, 20)}`,
    send: async (connection: Parameters<WireRow['send']>[0], session: Parameters<WireRow['send']>[1]) =>
      connection.write(
        bodiless('GET', {
          'mcp-session-id': await session('2025-11-25'),
          accept: 'text/event-stream',
          'last-event-id': id,
        }),
      ),
    expected: refusal(400, 'invalid_request', /Last-Event-ID/),
    then: 'open' as const,
  })),
  ...['PUT', 'PATCH', 'TRACE', 'PROPFIND'].flatMap((method) => [
    wire(method, bodiless(method), notAllowed, 'open', ALLOW),
    wire(`${method} with a body`, post(BODY, HEADERS, { method }), notAllowed, 'open', ALLOW),
  ]),
  wire('HEAD', bodiless('HEAD'), bare(405), 'open', { ...ALLOW, isHead: true }),
  wire('OPTIONS without an origin', bodiless('OPTIONS'), notAllowed, 'open', ALLOW),
  wire(
    'OPTIONS of a foreign origin',
    bodiless('OPTIONS', { origin: 'http://evil.example' }),
    refusal(403, 'forbidden_origin'),
    'open',
  ),
  wire(
    'a preflight that asks for more than there is',
    bodiless('OPTIONS', {
      origin: 'http://localhost',
      'access-control-request-method': 'PUT',
      'access-control-request-headers': 'Mcp-Name, X-Evil, Cookie, mcp-param-a\tb, Mcp-Param-Region',
    }),
    bare(204),
    'open',
    {
      headers: {
        'access-control-allow-headers': /^mcp-name, mcp-param-region$/,
        'access-control-allow-methods': /^POST, GET, DELETE$/,
      },
    },
  ),
  wire('a method in small letters', post(BODY, HEADERS, { method: 'post' }), notHttp, 'closed'),
  wire('a method nobody knows', post(BODY, HEADERS, { method: 'BREW' }), notHttp, 'closed'),
  wire('CONNECT', 'CONNECT 127.0.0.1:1 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n', 'nobody', 'closed'),

  ...['/', '/mcp/', '//mcp', '/MCP', '/mcp/x', '/mcp%2f', '/%6dcp', '/./mcp', '/../mcp', '/mcp;x', '*', '/mcp\\'].map(
    (path) => wire(`the path ${path}`, post(BODY, HEADERS, { path }), refusal(404, 'not_found', /\/mcp/), 'open'),
  ),
  wire('GET of a path that is not there', bodiless('GET', {}, '/nope'), refusal(404, 'not_found'), 'open'),
  wire('a query behind the path', post(BODY, HEADERS, { path: '/mcp?x=1' }), isThree, 'open'),
  wire('an empty query behind the path', post(BODY, HEADERS, { path: '/mcp?' }), isThree, 'open'),
  // RFC 9112, 3.2.2: a server must accept the absolute form.
  wire('the whole URL as its target', post(BODY, HEADERS, { path: 'http://127.0.0.1/mcp' }), isThree, 'open'),
  wire(
    'a foreign URL as its target',
    post(BODY, HEADERS, { path: 'http://evil.example/mcp' }),
    refusal(403, 'forbidden_host'),
    'open',
  ),
  wire('a target that is not ASCII', post(BODY, HEADERS, { path: '/mcp\xff' }), notHttp, 'closed'),
  wire(
    'a request of 2025 without a session',
    post(text(legacy('ping'))),
    { ...refusal(400, 'session_required'), id: 1 } as Expected,
    'open',
  ),
]

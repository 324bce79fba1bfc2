import { modern } from './messages.ts'
import {
  add,
  addWithId,
  BOUNDS,
  echo,
  echoes,
  hasId,
  hostile,
  invalidRequest,
  isThree,
  LONE,
  parseError,
  SILENT,
  text,
  type MessageRow,
} from './rows.ts'

const nested = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels))

/** What is no message, or one too big. */
export const BODIES: readonly MessageRow[] = [
  hostile('an empty body', '', parseError, { stdio: SILENT }),
  hostile('a message longer than allowed', ' '.repeat(BOUNDS.maxBodyBytes) + text(add()), {
    status: 413,
    rpc: -32600,
    code: 'body_too_large',
    says: /524288/,
  }),
  hostile('white space alone', ' \t ', parseError),
  hostile('truncated JSON', text(add()).slice(0, -3), parseError),
  hostile('JSON with something behind it', `${text(add())}x`, parseError),
  hostile('two messages in one body', text(add()) + text(add()), parseError),
  hostile('a byte order mark', `\ufeff${text(add())}`, parseError),
  hostile('invalid UTF-8 in a string', Buffer.from(addWithId('"id":"\xff"'), 'latin1'), parseError),
  hostile(
    'overlong UTF-8',
    Buffer.concat([Buffer.from('{"a":"'), Buffer.of(0xc0, 0xaf), Buffer.from('"}')]),
    parseError,
  ),
  hostile(
    'a surrogate half encoded as UTF-8',
    Buffer.concat([Buffer.from('{"a":"'), Buffer.of(0xed, 0xa0, 0x80), Buffer.from('"}')]),
    parseError,
  ),
  hostile('UTF-16', Buffer.from(text(add()), 'utf16le'), parseError, { stdio: parseError }),
  hostile('bytes of nothing', Buffer.from([0, 1, 2, 0xfe, 0xff]), parseError),
  hostile('a request line of HTTP', 'GET /mcp HTTP/1.1', parseError),
  hostile('NaN, which JSON has not', addWithId('"id":NaN'), parseError),
  hostile('single quotes', "{'jsonrpc':'2.0'}", parseError),
  hostile('a comment', `/* hello */ ${text(add())}`, parseError),
  hostile('a raw control character in a string', addWithId('"id":"a\u0001b"'), parseError),
  hostile('a form, as a page of a browser would', 'jsonrpc=2.0&id=1', parseError),
  hostile('JSON as deep as allowed', echo(nested(BOUNDS.maxJsonDepth - 3)), echoes(nested(BOUNDS.maxJsonDepth - 3))),
  hostile('JSON one level too deep', echo(nested(BOUNDS.maxJsonDepth - 2)), {
    ...invalidRequest,
    code: 'json_too_deep',
    says: /16/,
  }),
  hostile('a hundred thousand brackets', '['.repeat(100_000), { ...invalidRequest, code: 'json_too_deep' }),
  hostile('JSON too wide', echo(Array.from({ length: BOUNDS.maxJsonElements }, () => 0)), {
    ...invalidRequest,
    code: 'json_too_many_elements',
    says: /50000/,
  }),
  hostile('commas without end', `[${','.repeat(100_000)}`, { ...invalidRequest, code: 'json_too_many_elements' }),
  hostile(
    'a string as long as allowed',
    echo('x'.repeat(BOUNDS.maxStringBytes)),
    echoes('x'.repeat(BOUNDS.maxStringBytes)),
  ),
  hostile('a string too long', echo('x'.repeat(BOUNDS.maxStringBytes + 1)), {
    ...invalidRequest,
    code: 'json_string_too_long',
    says: /20000/,
  }),
  hostile('a key too long', echo({ ['k'.repeat(BOUNDS.maxStringBytes + 1)]: 1 }), {
    ...invalidRequest,
    code: 'json_string_too_long',
  }),
  hostile('a string without an end', `{"a":"${'x'.repeat(BOUNDS.maxStringBytes + 1)}`, {
    ...invalidRequest,
    code: 'json_string_too_long',
  }),
]

/** Messages whose envelope is wrong. */
export const MESSAGES: readonly MessageRow[] = [
  ...['null', 'true', '5', '"x"'].map((scalar) => hostile(`${scalar} in place of a message`, scalar, invalidRequest)),
  hostile('an empty object', '{}', invalidRequest),
  hostile('no `jsonrpc`', { ...add(), jsonrpc: undefined }, { ...invalidRequest, id: 1 }),
  hostile('JSON-RPC 1.0', { ...add(), jsonrpc: '1.0' }, { ...invalidRequest, id: 1 }),
  hostile('`jsonrpc` as a number', { ...add(), jsonrpc: 2 }, { ...invalidRequest, id: 1 }),
  ...['null', '1.5', '{}', '[]', 'true', '1152921504606846976', '1e400', '-1e400', '[1]', '{"id":1}'].map((id) =>
    hostile(`the id ${id}`, addWithId(`"id":${id}`), invalidRequest),
  ),
  hostile('the largest whole id', addWithId('"id":9007199254740991'), isThree),
  hostile('an id of a lone surrogate', addWithId('"id":"\\ud800"'), hasId(LONE)),
  hostile('an empty id', addWithId('"id":""'), hasId('')),
  hostile('no method', { jsonrpc: '2.0', id: 1 }, invalidRequest),
  ...[null, 5, {}, ['tools/list']].map((method) =>
    hostile(`the method ${text(method)}`, { jsonrpc: '2.0', id: 1, method }, { ...invalidRequest, id: 1 }),
  ),
  ...[[], [1, 2], 'x', 5, true].map((params) =>
    hostile(
      `${text(params)} as params`,
      { jsonrpc: '2.0', id: 1, method: 'tools/list', params },
      { ...invalidRequest, id: 1 },
    ),
  ),
  ...['no/such', '', '__proto__', 'constructor', 'initialize', 'ping', 'tasks/list', 'resources/subscribe'].map(
    (method) =>
      hostile(`the method ${text(method)}, which 2026-07-28 has not`, modern(method), {
        status: 404,
        rpc: -32601,
        code: 'method_not_found',
        id: 1,
      }),
  ),
  hostile('a result that nobody waits for', { jsonrpc: '2.0', id: 1, result: {} }, invalidRequest, { stdio: SILENT }),
  hostile(
    'an error that nobody waits for',
    { jsonrpc: '2.0', id: 1, error: { code: 1, message: 'x' } },
    invalidRequest,
    {
      stdio: SILENT,
    },
  ),
  hostile('a notification nobody knows', { ...modern('notifications/nope'), id: undefined }, SILENT),
  hostile('a request as a notification', { ...add(), id: undefined }, SILENT),
  hostile(
    'a cancellation of nothing',
    { ...modern('notifications/cancelled', { requestId: 'x' }), id: undefined },
    SILENT,
  ),
  hostile(
    'a cancellation of an object',
    { ...modern('notifications/cancelled', { requestId: {} }), id: undefined },
    SILENT,
  ),
  hostile('the same key twice: the last counts', addWithId('"id":"first","id":"last"'), hasId('last')),
  hostile(
    'a method twice: the last counts, and headers must agree with it',
    text(add()).replace('"method"', '"method":"tools/list","method"'),
    isThree,
  ),
]

import { expect } from 'vitest'
import { legacy, modern, modernHeaders } from './messages.ts'
import {
  add,
  echo,
  echoes,
  hostile,
  invalidMeta,
  invalidParams,
  isThree,
  LONE,
  text,
  type Expected,
  type MessageRow,
} from './rows.ts'

/** Requests of 2026-07-28 whose `_meta` is wrong. */
export const META: readonly MessageRow[] = [
  ...[5, null, {}, ['2026-07-28'], true].map((version) =>
    hostile(
      `the version ${text(version)}`,
      modern('tools/list', { _meta: { 'io.modelcontextprotocol/protocolVersion': version } }),
      invalidMeta,
    ),
  ),
  ...[undefined, null, [], 'x', 5].map((capabilities) =>
    hostile(
      `the client capabilities ${text(capabilities) ?? 'left out'}`,
      modern('tools/list', { _meta: { 'io.modelcontextprotocol/clientCapabilities': capabilities } }),
      { ...invalidMeta, says: /clientCapabilities/ },
    ),
  ),
  hostile(
    'a version nobody serves',
    modern('tools/list', { _meta: { 'io.modelcontextprotocol/protocolVersion': 'v999' } }),
    {
      status: 400,
      rpc: -32022,
      code: 'unsupported_protocol_version',
      id: 1,
      data: { supported: ['2026-07-28'], requested: 'v999' },
    },
    { headers: { ...modernHeaders(modern('tools/list')), 'mcp-protocol-version': 'v999' } },
  ),
  hostile(
    'no `_meta` beside a header of 2026-07-28',
    legacy('tools/list', {}),
    { ...invalidMeta, says: /protocolVersion.*clientCapabilities/ },
    { headers: modernHeaders(modern('tools/list')), stdio: { ...invalidMeta, says: /initialize/ } },
  ),
  ...['loud', 5, null, {}].map((level) =>
    hostile(
      `the log level ${text(level)}`,
      modern('tools/list', { _meta: { 'io.modelcontextprotocol/logLevel': level } }),
      { ...invalidParams, says: /debug, info/ },
    ),
  ),
  ...[5, 'short', {}, null].map((key) =>
    hostile(`the idempotency key ${text(key)}`, add({ _meta: { 'dev.holdfast/idempotencyKey': key } }), {
      ...invalidParams,
      says: /idempotencyKey/,
    }),
  ),
  ...[{}, [], null, 1e300, LONE].map((token) =>
    hostile(`the progress token ${text(token)}`, add({ _meta: { progressToken: token } }), isThree),
  ),
  hostile(
    'a client that calls itself a number',
    add({ _meta: { 'io.modelcontextprotocol/clientInfo': { name: 5 } } }),
    isThree,
  ),
]

const LONG = 'x'.repeat(10_000)
/** An error, or a result that is one, in few words. */
const isShort: Expected = {
  status: [200, 400, 404],
  answers: (message: { error?: { message: string }; result?: { isError: boolean; content: [{ text: string }] } }) =>
    expect(message.error?.message ?? message.result?.content[0].text).toMatch(/^.{10,500}$/s),
}

/** Parameters that do not fit their method. */
export const PARAMS: readonly MessageRow[] = [
  ...[undefined, 5, null, {}, ['add']].map((name) =>
    hostile(`the tool ${text(name) ?? 'left out'}`, modern('tools/call', { name }), {
      ...invalidParams,
      says: /params\.name/,
    }),
  ),
  ...['nope', '', '__proto__', 'constructor', 'toString', 'Add', 'add '].map((name) =>
    hostile(`the unknown tool ${text(name)}`, modern('tools/call', { name }), {
      ...invalidParams,
      says: /tools\/list/,
    }),
  ),
  hostile(
    'a tool whose name no header can say',
    modern('tools/call', { name: LONE }),
    { status: 400, rpc: -32020, code: 'header_mismatch', id: 1 },
    { stdio: invalidParams },
  ),
  ...[[], 'x', 5, true].map((given) =>
    hostile(`${text(given)} as arguments`, add({ arguments: given }), { ...invalidParams, says: /params\.arguments/ }),
  ),
  hostile(
    'arguments that do not fit',
    modern('tools/call', { name: 'order', arguments: { order: { items: [{ amount: 1 }, { amount: 'many' }] } } }),
    {
      status: 200,
      answers: ({ result }: { result: { isError: boolean; content: [{ text: string }] } }) => {
        expect(result.isError).toBe(true)
        // The path of what is wrong, and what was expected there.
        expect(result.content[0].text).toContain('order.items[1].amount')
        expect(result.content[0].text).toContain('number')
      },
    },
  ),
  ...[5, null, {}, 'x', 'dG9vbHM6MA', 'dG9vbHM6OTk5', '__proto__', LONE].map((cursor) =>
    hostile(`the cursor ${text(cursor)}`, modern('tools/list', { cursor }), { ...invalidParams, says: /cursor/ }),
  ),
  ...[undefined, 5, {}].map((uri) =>
    hostile(`the resource ${text(uri) ?? 'left out'}`, modern('resources/read', { uri }), {
      ...invalidParams,
      says: /params\.uri/,
    }),
  ),
  ...['edge://nope', '', '__proto__', 'edge://items/%zz/parts/1', 'edge://items//parts/1', 'file:///etc/passwd'].map(
    (uri) =>
      hostile(`the unknown resource ${text(uri)}`, modern('resources/read', { uri }), {
        status: 200,
        rpc: -32602,
        code: 'resource_not_found',
        id: 1,
        data: { uri },
      }),
  ),
  ...[undefined, 'nope', '__proto__', 5].map((name) =>
    hostile(`the prompt ${text(name) ?? 'left out'}`, modern('prompts/get', { name }), invalidParams),
  ),
  ...[[], 'x', { diff: 5 }, { diff: null }, {}].map((given) =>
    hostile(`${text(given)} for a prompt`, modern('prompts/get', { name: 'review', arguments: given }), invalidParams),
  ),
  ...[
    undefined,
    null,
    'x',
    {},
    { type: 'ref/nope' },
    { type: { toString: 1, valueOf: 2 } },
    { type: 'ref/prompt' },
    { type: 'ref/prompt', name: 'nope' },
  ].map((ref) =>
    hostile(
      `a completion for ${text(ref) ?? 'nothing'}`,
      modern('completion/complete', { ref, argument: { name: 'diff', value: '' } }),
      invalidParams,
    ),
  ),
  ...[undefined, {}, { name: 'diff' }, { name: '__proto__', value: '' }, { name: 'diff', value: 5 }].map((argument) =>
    hostile(
      `a completion of ${text(argument) ?? 'nothing'}`,
      modern('completion/complete', { ref: { type: 'ref/prompt', name: 'review' }, argument }),
      invalidParams,
    ),
  ),
  ...[
    undefined,
    null,
    [],
    { toolsListChanged: 'yes' },
    { resourceSubscriptions: 'edge://fixed' },
    { resourceSubscriptions: [5] },
  ].map((notifications) =>
    hostile(
      `listening to ${text(notifications) ?? 'nothing'}`,
      modern('subscriptions/listen', { notifications }),
      invalidParams,
    ),
  ),
]

/** Keys and characters that are harmless only where nobody trips over them. */
export const POLLUTION: readonly MessageRow[] = [
  hostile(
    '`__proto__` among the arguments',
    text(echo(0)).replace('{"argument":0}', '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'),
    {
      status: 200,
      answers: ({ result }: { result: { content: [{ text: string }] } }) =>
        expect(result.content[0].text).toBe('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'),
    },
    { headers: modernHeaders(echo(0)) },
  ),
  hostile('`__proto__` in params', text(add()).replace('"params":{', '"params":{"__proto__":{"polluted":1},'), isThree),
  hostile('`__proto__` in `_meta`', text(add()).replace('"_meta":{', '"_meta":{"__proto__":{"polluted":1},'), isThree),
  hostile('`__proto__` in the message', text(add()).replace('{', '{"__proto__":{"polluted":1},'), isThree),
  hostile('params that hide in `__proto__`', text(add()).replace('"params":{', '"__proto__":{'), {
    ...invalidMeta,
    says: /protocolVersion/,
  }),
  hostile(
    'capabilities that hide in `__proto__`',
    text(add()).replace(
      '"io.modelcontextprotocol/clientCapabilities":{}',
      '"__proto__":{"io.modelcontextprotocol/clientCapabilities":{}}',
    ),
    invalidMeta,
  ),
  hostile('lone surrogates in arguments', echo(`a${LONE}b`), echoes(`a${LONE}b`)),
  hostile('line separators in arguments', echo('\u2028\u2029\r\n\u0000'), echoes('\u2028\u2029\r\n\u0000')),

  // Whoever reads a message (a person, a model, a log) reads it whole: what was sent is cut short in it.
  ...Object.entries({
    'a tool': modern('tools/call', { name: LONG }),
    'an argument of a tool that takes none': modern('tools/call', { name: 'chatty', arguments: { [LONG]: 1 } }),
    'a prompt': modern('prompts/get', { name: LONG }),
    'an argument of a prompt': modern('prompts/get', { name: 'review', arguments: { [LONG]: 1 } }),
    'a resource': modern('resources/read', { uri: LONG }),
    'a kind of reference': modern('completion/complete', { ref: { type: LONG }, argument: { name: 'x', value: '' } }),
    'a completed prompt': modern('completion/complete', {
      ref: { type: 'ref/prompt', name: LONG },
      argument: { name: 'x', value: '' },
    }),
    'a completed argument': modern('completion/complete', {
      ref: { type: 'ref/prompt', name: 'review' },
      argument: { name: LONG, value: '' },
    }),
    'a method': modern(LONG),
    'a revision': modern('tools/list', { _meta: { 'io.modelcontextprotocol/protocolVersion': LONG } }),
  }).map(([what, message]) =>
    hostile(`the name of ${what} of 10,000 characters`, message, isShort, {
      headers: { ...modernHeaders(message), ...(what === 'a revision' ? { 'mcp-protocol-version': LONG } : {}) },
    }),
  ),
]

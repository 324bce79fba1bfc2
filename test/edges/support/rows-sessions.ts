import { expect } from 'vitest'
import { legacy } from './messages.ts'
import {
  add,
  from,
  hostile,
  invalidParams,
  invalidRequest,
  SILENT,
  text,
  type MessageRow,
  type Sender,
} from './rows.ts'

const within = (as: Sender, rows: (row: ReturnType<typeof from>) => readonly MessageRow[]): readonly MessageRow[] =>
  rows(from(as))
const pings = (count: number): string => `[${Array.from({ length: count }, () => text(legacy('ping'))).join()}]`

/** What clients of the 2025 revisions get wrong, and batches. */
export const SESSIONS: readonly MessageRow[] = [
  ...within('2025-11-25', (row) => [
    row('an unknown method in a session', legacy('no/such'), {
      status: 200,
      rpc: -32601,
      code: 'method_not_found',
      id: 1,
    }),
    row('a method of 2026-07-28 in a session', legacy('server/discover'), {
      status: 200,
      rpc: -32601,
      code: 'method_not_found',
      id: 1,
    }),
    row('an unknown tool in a session', legacy('tools/call', { name: 'nope' }), invalidParams),
    row('an unknown resource in a session', legacy('resources/read', { uri: 'edge://nope' }), {
      status: 200,
      rpc: -32002,
      code: 'resource_not_found',
      id: 1,
      data: { uri: 'edge://nope' },
    }),
    row('an unknown log level in a session', legacy('logging/setLevel', { level: 'loud' }), invalidParams),
    row('a subscription to a number', legacy('resources/subscribe', { uri: 5 }), invalidParams),
    row(
      'params as an array in a session',
      { jsonrpc: '2.0', id: 1, method: 'ping', params: [] },
      { ...invalidRequest, id: 1 },
    ),
    row('an unknown notification in a session', { ...legacy('notifications/nope'), id: undefined }, SILENT),
    row('an answer to a question never asked', { jsonrpc: '2.0', id: 'q1', result: { action: 'accept' } }, SILENT),
    row('a batch in a session that has none', `[${text(legacy('ping'))}]`, { ...invalidRequest, says: /2025-03-26/ }),
    row('`initialize` without a revision', legacy('initialize', { capabilities: {} }), {
      ...invalidParams,
      says: /protocolVersion/,
    }),
    row(
      'the claim of a 2025 revision in its session, which is no claim',
      legacy('ping', { _meta: { 'io.modelcontextprotocol/protocolVersion': '2025-11-25' } }),
      { status: 200, answers: (message: { result: unknown }) => expect(message.result).toEqual({}) },
      // Without headers nothing says that a session is meant.
      { stdio: { status: 400, rpc: -32022, code: 'unsupported_protocol_version', id: 1 } },
    ),
  ]),
  ...within('2025-06-18', (row) => [
    row(
      'arguments that do not fit, before models were told',
      legacy('tools/call', { name: 'add', arguments: { a: 'x' } }),
      invalidParams,
    ),
  ]),
  ...within('2025-03-26', (row) => [
    row('an empty batch', '[]', invalidRequest),
    row('a batch of 10,000', pings(10_000), {
      ...invalidRequest,
      code: 'batch_too_large',
    }),
    row('a batch of 101', pings(101), {
      ...invalidRequest,
      code: 'batch_too_large',
      says: /101.*100/,
    }),
    row('a batch with a claim of 2026-07-28 in it', `[${text(add())}]`, invalidRequest),
    row(
      'a batch of rubbish',
      '[1,null,[],{},"x",{"jsonrpc":"2.0","id":{},"method":"ping"},{"jsonrpc":"2.0","id":7,"method":5}]',
      {
        status: 200,
        answers: (answers: { id?: unknown; error: { code: number } }[]) => {
          expect(answers.map(({ error }) => error.code)).toEqual(Array.from({ length: 7 }, () => -32600))
          expect(answers.map(({ id }) => id)).toEqual([
            undefined,
            undefined,
            undefined,
            undefined,
            undefined,
            undefined,
            7,
          ])
        },
      },
    ),
    row(
      'a batch with `initialize`, an unknown method, a notification and a ping',
      text([
        legacy('initialize', { protocolVersion: '2025-03-26', capabilities: {} }, 'i'),
        legacy('no/such', {}, 'n'),
        { jsonrpc: '2.0', method: 'notifications/nope' },
        legacy('ping', {}, 'p'),
      ]),
      {
        status: 200,
        answers: (answers: { id: string; error?: { code: number }; result?: unknown }[]) =>
          expect(answers.map(({ id, error, result }) => [id, error?.code ?? result])).toEqual([
            ['i', -32600],
            ['n', -32601],
            ['p', {}],
          ]),
      },
    ),
    row('a batch of notifications', '[{"jsonrpc":"2.0","method":"notifications/nope"}]', SILENT),
    row('a batch of answers', '[{"jsonrpc":"2.0","id":1,"result":{}}]', SILENT),
  ]),
  hostile('a batch under 2026-07-28', `[${text(add())}]`, invalidRequest),
  hostile('an empty batch under 2026-07-28', '[]', invalidRequest),
  ...within('nobody', (row) => [
    row(
      'no session and no claim',
      legacy('tools/list'),
      { status: 400, rpc: -32600, code: 'session_required', id: 1 },
      { stdio: 'none' },
    ),
    row(
      'a batch without a session',
      `[${text(legacy('ping'))}]`,
      { status: 400, rpc: -32600, code: 'session_required' },
      { stdio: 'none' },
    ),
    row(
      'a session that nobody opened',
      legacy('tools/list'),
      { status: 404, rpc: -32600, code: 'session_not_found', id: 1 },
      { headers: { 'mcp-session-id': 'made-up' }, stdio: 'none' },
    ),
    row(
      'a session id of eight thousand characters',
      legacy('tools/list'),
      { status: 404, rpc: -32600, code: 'session_not_found', id: 1 },
      { headers: { 'mcp-session-id': 'x'.repeat(8000) }, stdio: 'none' },
    ),
    row(
      'a revision nobody knows',
      legacy('tools/list'),
      { status: 400, rpc: -32022, code: 'unsupported_protocol_version', id: 1, data: { requested: '1999-01-01' } },
      { headers: { 'mcp-protocol-version': '1999-01-01' }, stdio: 'none' },
    ),
  ]),
]

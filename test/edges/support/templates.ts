import { legacy, modern, type Json } from './messages.ts'

/** Messages that are in order, of every method; what is wrong with them comes later. */
export const MODERN_TEMPLATES: readonly Json[] = [
  modern('server/discover'),
  modern('tools/list'),
  modern('tools/list', { cursor: 'dG9vbHM6Mw' }),
  modern('tools/call', { name: 'add', arguments: { a: 1, b: 2 } }),
  modern('tools/call', {
    name: 'add',
    arguments: { a: 1, b: 2 },
    _meta: { 'dev.holdfast/idempotencyKey': 'a key of seventeen' },
  }),
  modern('tools/call', { name: 'echo', arguments: { any: ['thing', { of: 1 }] } }),
  modern('tools/call', { name: 'order', arguments: { order: { items: [{ amount: 1 }, { amount: 2 }] } } }),
  modern('tools/call', { name: 'region', arguments: { region: 'eu' } }),
  modern('tools/call', {
    name: 'chatty',
    arguments: {},
    _meta: {
      progressToken: 'p',
      'io.modelcontextprotocol/logLevel': 'debug',
      'io.modelcontextprotocol/clientInfo': { name: 'edges', version: '1' },
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      tracestate: 'a=b',
      baggage: 'c=d',
    },
  }),
  modern('resources/list'),
  modern('resources/templates/list'),
  modern('resources/read', { uri: 'edge://fixed' }),
  modern('resources/read', { uri: 'edge://items/7/parts/8' }),
  modern('prompts/list'),
  modern('prompts/get', { name: 'review', arguments: { diff: 'x' } }),
  modern('completion/complete', {
    ref: { type: 'ref/prompt', name: 'review' },
    argument: { name: 'diff', value: 'x' },
    context: { arguments: { diff: 'y' } },
  }),
  modern('completion/complete', {
    ref: { type: 'ref/resource', uri: 'edge://items/{id}/parts/{part}' },
    argument: { name: 'id', value: '1' },
  }),
  modern('subscriptions/listen', {
    notifications: { toolsListChanged: true, promptsListChanged: true, resourceSubscriptions: ['edge://fixed'] },
  }),
  { ...modern('notifications/cancelled', { requestId: 'none', reason: 'x' }), id: undefined },
  { jsonrpc: '2.0', id: 'q', result: { resultType: 'complete' } },
]

/** The same for the 2025 revisions. */
export const LEGACY_TEMPLATES: readonly Json[] = [
  legacy('initialize', {
    protocolVersion: '2025-11-25',
    capabilities: { elicitation: { form: {}, url: {} }, sampling: { tools: {} }, roots: { listChanged: true } },
    clientInfo: { name: 'edges', version: '1' },
  }),
  { jsonrpc: '2.0', method: 'notifications/initialized' },
  legacy('ping'),
  legacy('tools/list', {}),
  legacy('tools/call', { name: 'add', arguments: { a: 1, b: 2 } }),
  legacy('tools/call', {
    name: 'add',
    arguments: { a: 1, b: 2 },
    _meta: { 'dev.holdfast/idempotencyKey': 'a key of seventeen' },
  }),
  legacy('tools/call', { name: 'echo', arguments: { any: ['thing'] }, task: { ttl: 1 } }),
  legacy('tools/call', { name: 'order', arguments: { order: { items: [{ amount: 1 }] } } }),
  legacy('tools/call', { name: 'chatty', arguments: {}, _meta: { progressToken: 5 } }),
  legacy('resources/list', {}),
  legacy('resources/templates/list', {}),
  legacy('resources/read', { uri: 'edge://fixed' }),
  legacy('resources/read', { uri: 'edge://items/7/parts/8' }),
  legacy('resources/subscribe', { uri: 'edge://fixed' }),
  legacy('resources/unsubscribe', { uri: 'edge://fixed' }),
  legacy('prompts/list', {}),
  legacy('prompts/get', { name: 'review', arguments: { diff: 'x' } }),
  legacy('completion/complete', {
    ref: { type: 'ref/prompt', name: 'review' },
    argument: { name: 'diff', value: 'x' },
  }),
  legacy('logging/setLevel', { level: 'debug' }),
  { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'none' } },
  { jsonrpc: '2.0', method: 'notifications/roots/list_changed' },
  { jsonrpc: '2.0', id: 'q', result: { action: 'accept' } },
  { jsonrpc: '2.0', id: 'q', error: { code: -1, message: 'no' } },
]

/** Batches of revision 2025-03-26. */
export const BATCH_TEMPLATES: readonly (readonly Json[])[] = [
  [legacy('ping', {}, 'b1'), legacy('tools/call', { name: 'add', arguments: { a: 1, b: 2 } }, 'b2')],
  [
    legacy('tools/call', { name: 'chatty', arguments: {}, _meta: { progressToken: 1 } }, 'b1'),
    { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'none' } },
    legacy('resources/read', { uri: 'edge://fixed' }, 'b2'),
    { jsonrpc: '2.0', id: 'q', result: {} },
  ],
  [{ jsonrpc: '2.0', method: 'notifications/nope' }],
]

// What the MCP semantic conventions of OpenTelemetry say of spans (docs/gen-ai/mcp.md, "Server").
import { expect } from 'vitest'
import type { Era, TransportName } from './transports.ts'

/** One request, and what the convention has a span say of it beside what every span says. */
export interface Case {
  /** What the request is. */
  what: string
  eras?: readonly Era[]
  method: string
  params?: Record<string, unknown>
  /** Span name. */
  span: string
  tool?: string
  prompt?: string
  resourceUri?: string
  /** `error.type`; the JSON-RPC code where it is a number. */
  error?: number | 'tool_error' | Partial<Record<Era, number>>
  /** `mcp.method.name`, where it is not the method. */
  as?: string
}

export const CASES: readonly Case[] = [
  {
    what: 'a call of a tool',
    method: 'tools/call',
    params: { name: 'add', arguments: { a: 1, b: 2 } },
    span: 'tools/call add',
    tool: 'add',
  },
  {
    what: 'a call whose tool tells the model of an error',
    method: 'tools/call',
    params: { name: 'refuse' },
    span: 'tools/call refuse',
    tool: 'refuse',
    error: 'tool_error',
  },
  {
    what: 'a call whose tool fails unexpectedly',
    method: 'tools/call',
    params: { name: 'crash' },
    span: 'tools/call crash',
    tool: 'crash',
    error: 'tool_error',
  },
  {
    what: 'a call with arguments that do not fit',
    method: 'tools/call',
    params: { name: 'add', arguments: { a: 'one' } },
    span: 'tools/call add',
    tool: 'add',
    error: 'tool_error',
  },
  {
    what: 'a call of a tool that does not exist',
    method: 'tools/call',
    params: { name: 'made-up-by-a-client' },
    span: 'tools/call _unknown',
    tool: '_unknown',
    error: -32602,
  },
  { what: 'a list of tools', method: 'tools/list', span: 'tools/list' },
  {
    what: 'a prompt',
    method: 'prompts/get',
    params: { name: 'greet "you"', arguments: { name: 'Ada' } },
    span: 'prompts/get greet "you"',
    prompt: 'greet "you"',
  },
  {
    what: 'a prompt that does not exist',
    method: 'prompts/get',
    params: { name: 'made-up' },
    span: 'prompts/get _unknown',
    prompt: '_unknown',
    error: -32602,
  },
  {
    what: 'a resource (its URI is no part of the name)',
    method: 'resources/read',
    params: { uri: 'doc://guide' },
    span: 'resources/read',
    resourceUri: 'doc://guide',
  },
  {
    what: 'a resource that does not exist',
    method: 'resources/read',
    params: { uri: 'doc://page/9' },
    span: 'resources/read',
    resourceUri: 'doc://page/9',
    error: { '2026-07-28': -32602, '2025-11-25': -32002 },
  },
  {
    what: 'a completion',
    method: 'completion/complete',
    params: { ref: { type: 'ref/prompt', name: 'greet "you"' }, argument: { name: 'name', value: 'Ad' } },
    span: 'completion/complete',
  },
  { what: 'a discovery', eras: ['2026-07-28'], method: 'server/discover', span: 'server/discover' },
  { what: 'a ping', eras: ['2025-11-25'], method: 'ping', span: 'ping' },
  {
    what: 'a log level',
    eras: ['2025-11-25'],
    method: 'logging/setLevel',
    params: { level: 'error' },
    span: 'logging/setLevel',
  },
  {
    what: 'a subscription',
    eras: ['2025-11-25'],
    method: 'resources/subscribe',
    params: { uri: 'doc://guide' },
    span: 'resources/subscribe',
    resourceUri: 'doc://guide',
  },
  {
    what: 'the end of a subscription',
    eras: ['2025-11-25'],
    method: 'resources/unsubscribe',
    params: { uri: 'doc://guide' },
    span: 'resources/unsubscribe',
    resourceUri: 'doc://guide',
  },
  {
    what: 'a method that does not exist (a name of the client’s is no label)',
    method: 'made/up',
    span: '_unknown',
    as: '_unknown',
    error: -32601,
  },
]

const errorOf = ({ error }: Case, era: Era): string | undefined =>
  typeof error === 'object' ? String(error[era]) : error === undefined ? undefined : String(error)

/** Marks attributes whose value differs from run to run. */
export const ANY_TEXT: unknown = expect.stringMatching(/./)
const ANY_NUMBER = expect.any(Number)

/**
 * The attributes of the span `mcp.server`, in the convention's order, with what each must be here (`undefined`: absent).
 * Opt-in attributes (arguments and results) and those that stand for other protocols are listed as absent.
 */
export const CONVENTION: readonly {
  attribute: string
  level: 'required' | 'conditionally required' | 'recommended' | 'opt-in'
  expected: (one: Case, era: Era, transport: TransportName) => unknown
}[] = [
  { attribute: 'mcp.method.name', level: 'required', expected: ({ as, method }) => as ?? method },
  { attribute: 'error.type', level: 'conditionally required', expected: errorOf },
  { attribute: 'gen_ai.prompt.name', level: 'conditionally required', expected: ({ prompt }) => prompt },
  { attribute: 'gen_ai.tool.name', level: 'conditionally required', expected: ({ tool }) => tool },
  { attribute: 'jsonrpc.request.id', level: 'conditionally required', expected: () => ANY_TEXT },
  { attribute: 'mcp.resource.uri', level: 'conditionally required', expected: ({ resourceUri }) => resourceUri },
  {
    attribute: 'rpc.response.status_code',
    level: 'conditionally required',
    expected: (one, era) => (one.error === 'tool_error' ? undefined : errorOf(one, era)),
  },
  {
    attribute: 'client.address',
    level: 'recommended',
    expected: (_one, _era, transport) => (transport === 'http' ? '127.0.0.1' : undefined),
  },
  {
    attribute: 'client.port',
    level: 'recommended',
    expected: (_one, _era, transport) => (transport === 'http' ? ANY_NUMBER : undefined),
  },
  {
    attribute: 'gen_ai.operation.name',
    level: 'recommended',
    expected: ({ tool }) => (tool === undefined ? undefined : 'execute_tool'),
  },
  { attribute: 'jsonrpc.protocol.version', level: 'recommended', expected: () => undefined }, // "when it's not 2.0"
  { attribute: 'mcp.protocol.version', level: 'recommended', expected: (_one, era) => era },
  {
    attribute: 'mcp.session.id',
    level: 'recommended',
    expected: (_one, era) => (era === '2026-07-28' ? undefined : ANY_TEXT),
  },
  {
    attribute: 'network.protocol.name',
    level: 'recommended',
    expected: (_one, _era, transport) => (transport === 'http' ? 'http' : undefined),
  },
  {
    attribute: 'network.protocol.version',
    level: 'recommended',
    expected: (_one, _era, transport) => (transport === 'http' ? '1.1' : undefined),
  },
  {
    attribute: 'network.transport',
    level: 'recommended',
    expected: (_one, _era, transport) => ({ http: 'tcp', stdio: 'pipe', memory: 'inproc' })[transport],
  },
  { attribute: 'gen_ai.tool.call.arguments', level: 'opt-in', expected: () => undefined },
  { attribute: 'gen_ai.tool.call.result', level: 'opt-in', expected: () => undefined },
]

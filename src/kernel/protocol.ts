/** Names and numbers of the Model Context Protocol that more than one file needs. */

/** Revisions served without a session: each request says all of itself. */
export const MODERN = ['2026-07-28'] as const
/** Revisions served with an `initialize` handshake. Newest first. */
export const LEGACY = ['2025-11-25', '2025-06-18', '2025-03-26'] as const

export type ModernRevision = (typeof MODERN)[number]
export type LegacyRevision = (typeof LEGACY)[number]
/** A protocol revision that is served. */
export type Revision = ModernRevision | LegacyRevision

export const LATEST_MODERN: ModernRevision = '2026-07-28'
export const LATEST_LEGACY: LegacyRevision = '2025-11-25'

export const isModern = (version: unknown): version is ModernRevision => version === '2026-07-28'
export const isLegacy = (version: unknown): version is LegacyRevision =>
  version === '2025-11-25' || version === '2025-06-18' || version === '2025-03-26'

/** Keys of `params._meta` (MCP 2026-07-28, basic, "General fields"). */
export const META = {
  protocolVersion: 'io.modelcontextprotocol/protocolVersion',
  clientCapabilities: 'io.modelcontextprotocol/clientCapabilities',
  clientInfo: 'io.modelcontextprotocol/clientInfo',
  logLevel: 'io.modelcontextprotocol/logLevel',
  serverInfo: 'io.modelcontextprotocol/serverInfo',
  subscriptionId: 'io.modelcontextprotocol/subscriptionId',
} as const

/** The extension by which calls of tools become tasks (SEP-2663), as both sides declare it. */
export const TASKS_EXTENSION = 'io.modelcontextprotocol/tasks'

/** Keys of `_meta` of our own. */
export const OWN_META = {
  /** On `tools/call`: a repeated call with the same key and arguments gets the first outcome. */
  idempotencyKey: 'dev.holdfast/idempotencyKey',
  /** On a request to a client of a 2025 session: the name that the handler gave the question. */
  question: 'dev.holdfast/question',
} as const

/** A JSON object. */
export type JsonObject = { [key: string]: unknown }
export type RequestId = string | number

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'

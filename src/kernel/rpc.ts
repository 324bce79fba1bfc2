import type { HoldfastError } from '../errors/holdfast-error.ts'
import { ERRORS, type ErrorCode } from '../errors/table.ts'
import type { RequestId } from './protocol.ts'

/** The two ways in which MCP is spoken: each request by itself (2026), or within a session (2025). */
export type Era = 'modern' | 'legacy'

/** A JSON-RPC error response. Without an id (none was read) the member is left out: revision 2026-07-28 forbids `null`. */
export function errorBody(error: HoldfastError, id: RequestId | undefined, requestId: string, era: Era): string {
  return JSON.stringify({
    jsonrpc: '2.0',
    ...(id === undefined ? {} : { id }),
    error: errorObject(error, requestId, era),
  })
}

/** Codes that 2025 has others for, or none. */
const LEGACY_CODES: Partial<Record<ErrorCode, number>> = {
  resource_not_found: -32002,
  client_capability_missing: -32603,
}

/** JSON-RPC code of an error. */
export function rpcCode({ code, rpc }: HoldfastError, era: Era): number {
  return rpc ?? (era === 'legacy' ? LEGACY_CODES[code] : undefined) ?? ERRORS[code].rpc
}

/** The `error` member: code, message, and our data: `{ code, retryable, retryAfterMs?, requestId }`. */
export function errorObject(
  error: HoldfastError,
  requestId: string,
  era: Era,
): { code: number; message: string; data: object } {
  const { retryable } = ERRORS[error.code]
  return {
    code: rpcCode(error, era),
    message: error.message,
    data: { ...error.data, code: error.code, retryable, requestId },
  }
}

/** A JSON-RPC response whose `result` is already JSON. */
export function resultBody(id: RequestId, result: string): string {
  return `{"jsonrpc":"2.0","id":${typeof id === 'number' ? id : JSON.stringify(id)},"result":${result}}`
}

/** A JSON-RPC notification. */
export function notificationBody(method: string, params?: object): string {
  return JSON.stringify(params === undefined ? { jsonrpc: '2.0', method } : { jsonrpc: '2.0', method, params })
}

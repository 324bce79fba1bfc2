import type { JsonObject } from '../kernel/protocol.ts'

/** A JSON-RPC error that a test client got as an answer. */
export class RpcError extends Error {
  override readonly name = 'RpcError'
  /** JSON-RPC code. */
  readonly code: number
  /** `error.data`: `{ code, retryable, requestId, … }`. */
  readonly data: JsonObject
  constructor(code: number, message: string, data: JsonObject) {
    super(message)
    this.code = code
    this.data = data
  }
}

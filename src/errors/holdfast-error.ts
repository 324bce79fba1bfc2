import { ERRORS, type ErrorCode } from './table.ts'

/** What an error may carry beside its message. */
interface HoldfastErrorOptions {
  data?: Record<string, unknown>
  /** JSON-RPC code, where it is not that of the table. */
  rpc?: number
  headers?: Record<string, string>
  cause?: unknown
}

/**
 * An error of Holdfast's own, with its entry in the error table.
 *
 * Thrown at construction for mistakes in a definition or in configuration, and by backends. Handlers don't need it:
 * they throw {@link toolError} for what the model should read.
 */
export class HoldfastError extends Error {
  override readonly name = 'HoldfastError'
  readonly code: ErrorCode
  /** Extra facts for the client, merged into `error.data`. */
  readonly data: Readonly<Record<string, unknown>> | undefined
  /** JSON-RPC code, where it is not that of the table. */
  readonly rpc: number | undefined
  /** Headers of the HTTP answer that go with it, such as `www-authenticate`. */
  readonly headers: Readonly<Record<string, string>> | undefined

  constructor(code: ErrorCode, message?: string, options: HoldfastErrorOptions = {}) {
    super(message ?? ERRORS[code].summary, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.data = options.data
    this.rpc = options.rpc
    this.headers = options.headers
  }

  /** Whether the same request may succeed later. */
  get retryable(): boolean {
    return ERRORS[this.code].retryable
  }
}

/** An error that the model should read; see {@link toolError}. */
export class ToolError extends Error {
  override readonly name = 'ToolError'
}

/**
 * Makes an error whose message is shown to the model, as a tool result with `isError: true`
 * (MCP 2026-07-28, tools, "Error handling"). Any other error that a handler throws is shown as a neutral sentence with
 * the request id, since its message may hold what the client must not see; the log has the details.
 *
 * @example
 * if (!customer) throw toolError(`There is no customer ${id}.`)
 */
export function toolError(message: string, options?: ErrorOptions): ToolError {
  return new ToolError(message, options)
}

/** What a client is told where a backend that its request needs could not answer. */
export function stateUnavailable(cause?: unknown): HoldfastError {
  return new HoldfastError('state_unavailable', undefined, { data: { retryAfterMs: 1000 }, cause })
}

import { ERRORS, type ErrorCode } from './table.ts'

/** What an error may carry beside its message. */
interface HoldfastErrorOptions {
  data?: Record<string, unknown>
  headers?: Record<string, string>
  /** Takes the place of the table's JSON-RPC code. */
  rpc?: number
  cause?: unknown
}

/**
 * An error of Holdfast's own, with its entry in the error table.
 *
 * Thrown at construction for mistakes in a definition or in configuration, and by backends. Handlers don't need it:
 * they throw {@link toolError} for what the model should read, {@link protocolError} for what the client should.
 */
export class HoldfastError extends Error {
  override readonly name = 'HoldfastError'
  readonly code: ErrorCode
  /** Extra facts for the client, merged into `error.data`. */
  readonly data: Readonly<Record<string, unknown>> | undefined
  /** Headers of the HTTP answer that go with it, such as `www-authenticate`. */
  readonly headers: Readonly<Record<string, string>> | undefined
  /** JSON-RPC code in place of that of the table. */
  readonly rpc: number | undefined

  constructor(code: ErrorCode, message?: string, options: HoldfastErrorOptions = {}) {
    super(message ?? ERRORS[code].summary, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.data = options.data
    this.headers = options.headers
    this.rpc = options.rpc
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

/** Settings of {@link protocolError}. */
export interface ProtocolErrorOptions {
  /**
   * JSON-RPC code: one of your own outside −32768…−32000, which JSON-RPC and MCP keep for themselves, or -32602 (invalid
   * params) or -32603 (internal error). Default -32603.
   */
  code?: number
  /** Facts for the client, merged into `error.data`; the names `code`, `retryable` and `requestId` are taken. */
  data?: Record<string, unknown>
  cause?: unknown
}

/**
 * Makes an error that a handler throws to answer with a JSON-RPC error instead of a result: for what the calling program
 * must handle, and the model should not read. Of a task it makes one that ends `failed`, and is not tried again.
 * For what the model should read, and can mend, throw {@link toolError}.
 *
 * @example
 * if (!quota.has(ctx.principal.tenant)) throw protocolError('The contract of this tenant has ended.', { code: 4020 })
 * @throws {HoldfastError} `invalid_option` for a code that may not be used.
 */
export function protocolError(message: string, { code, data, cause }: ProtocolErrorOptions = {}): HoldfastError {
  const isAllowed =
    code === undefined ||
    (Number.isSafeInteger(code) && (code < -32768 || code > -32000 || code === -32602 || code === -32603))
  if (!isAllowed)
    throw new HoldfastError(
      'invalid_option',
      `protocolError: the code ${String(code)} can't be used. Use a whole number outside -32768…-32000, which are reserved, or -32602 or -32603.`,
    )
  return new HoldfastError('handler_error', message, {
    cause,
    ...(code === undefined ? {} : { rpc: code }),
    ...(data === undefined ? {} : { data }),
  })
}

/** Wait that clients are told who are refused together, in milliseconds: about a second, so that they do not come back together. */
export const retrySoonMs = (): number => Math.round(1000 * (0.5 + Math.random()))

/** What a client is told where a backend that its request needs could not answer. */
export function stateUnavailable(cause?: unknown): HoldfastError {
  return new HoldfastError('state_unavailable', undefined, { data: { retryAfterMs: retrySoonMs() }, cause })
}

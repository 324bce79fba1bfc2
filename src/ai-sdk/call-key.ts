import { createHash, type Hash } from 'node:crypto'

/** A call of a model, as far as its answer depends on it. */
export interface KeyedCall {
  /** `generate`, `stream`, `embed`: each is kept in a form of its own. */
  readonly operation: string
  readonly provider: string
  readonly modelId: string
  /** Everything that the model is given: what is not named in {@link NOT_KEYED} counts. */
  readonly params: Readonly<Record<string, unknown>>
}

/** Parameters that say how a call is made, and not what is asked. */
const NOT_KEYED: ReadonlySet<string> = new Set(['abortSignal', 'headers'])
/**
 * Headers that no answer depends on: who pays, what traces and names the request, and which version of the SDK sends it. Any
 * other header may change the answer (a beta feature, an organization's settings), so it counts.
 */
const PLAIN_HEADERS =
  /^(user-agent|accept|content-type|content-length|traceparent|tracestate|baggage|b3|x-b3-.*|idempotency-key|date|.*request-id|.*correlation-id|x-client-.*)$/
/** By how the name ends, so that nothing else is taken for one: a credential that is not known as such costs a miss. */
const CREDENTIALS =
  /(^|-)(auth|authorization|cookie|token|secret|signature|credential|credentials|password|api-?key|access-?key|subscription-key)$/

/**
 * Digest of everything that the answer of a model depends on: SHA-256, so that neither a prompt nor a secret in it can be read
 * from a key. Equal calls have equal digests, whatever the order of their properties.
 *
 * @throws {TypeError} where a parameter holds something that has no value of its own, such as a function.
 */
export function callKey({ operation, provider, modelId, params }: KeyedCall): string {
  const hash = createHash('sha256')
  const settings = Object.entries(params).filter(([name]) => !NOT_KEYED.has(name))
  feed(hash, [operation, provider, modelId, Object.fromEntries(settings), keyedHeaders(params['headers'])], 'params')
  return hash.digest('base64url')
}

function keyedHeaders(headers: unknown): Record<string, unknown> {
  const entries = Object.entries((headers ?? {}) as Record<string, unknown>).map(([name, value]): [string, unknown] => [
    name.toLowerCase(),
    value,
  ])
  return Object.fromEntries(entries.filter(([name]) => !PLAIN_HEADERS.test(name) && !CREDENTIALS.test(name)))
}

/** Feeds a value as text that no other value has: each part says its kind and its length. */
function feed(hash: Hash, value: unknown, path: string): void {
  switch (typeof value) {
    case 'string':
      hash.update(`s${Buffer.byteLength(value)}:`).update(value)
      return
    case 'number':
    case 'boolean':
    case 'undefined':
    case 'bigint':
      hash.update(`${typeof value} ${String(value)};`)
      return
    case 'object':
      if (value === null) hash.update('null;')
      else feedObject(hash, value, path)
      return
    default:
      throw new TypeError(
        `The call of a model can't be cached, because \`${path}\` is a ${typeof value}. Pass a value that JSON can hold, or wrap this model without \`cache\`.`,
      )
  }
}

function feedObject(hash: Hash, value: object, path: string): void {
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    const bytes = ArrayBuffer.isView(value)
      ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
      : new Uint8Array(value)
    hash.update(`bytes ${bytes.byteLength}:`).update(bytes)
    return
  }
  if (Array.isArray(value)) {
    hash.update(`[${value.length}:`)
    value.forEach((item, index) => feed(hash, item, `${path}[${index}]`))
    return
  }
  // Dates and URLs, and what else says how it is written.
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') return feed(hash, (toJSON as () => unknown).call(value), path)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== null && prototype !== Object.prototype)
    throw new TypeError(
      `The call of a model can't be cached, because \`${path}\` is a ${value.constructor.name}. Pass a value that JSON can hold, or wrap this model without \`cache\`.`,
    )
  const entries = Object.entries(value)
    .filter(([, inner]) => inner !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  hash.update(`{${entries.length}:`)
  for (const [name, inner] of entries) {
    feed(hash, name, path)
    feed(hash, inner, `${path}.${name}`)
  }
}

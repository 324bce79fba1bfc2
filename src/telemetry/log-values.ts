/** Bounds of one logged value: a handler may hand over anything, and a log line must stay a line. */
const MAX_DEPTH = 6
const MAX_VALUES = 1000
const MAX_TEXT = 8192
const MAX_CAUSES = 5

/** Names of members whose values are never logged, at whatever depth; compared without case, `-` and `_`. */
const SECRET =
  /(token|secret|password|passwd|pwd|passphrase|jwt|apikey|privatekey|accesskey|authorization|cookie|credentials?|sessionid)$/
const isSecret = (name: string): boolean => SECRET.test(name.toLowerCase().replaceAll(/[-_\s]/g, ''))

/**
 * Credentials that stand inside texts: passwords of URLs, and authorization headers. Each pattern begins with a literal and
 * has bounds, so that no text takes more than linear time.
 */
const URL_PASSWORD = /:\/\/([^\s/:@]{0,200}):[^\s/@]{1,500}@/g
const BEARER = /\b(bearer)\s+[\w.~+/-]{6,}=*/gi
const BASIC = /\b([Bb]asic)\s+(?=\S*[A-Z\d=])[\w+/]{6,}={0,2}/g

/** A text as the log may have it: without the credentials that can be told by their form, and not endless. */
export function toLogText(text: string): string {
  const short = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}… (${text.length} characters)` : text
  return short
    .replace(URL_PASSWORD, '://$1:[redacted]@')
    .replace(BEARER, '$1 [redacted]')
    .replace(BASIC, '$1 [redacted]')
}

/** A value as the log may have it: plain JSON, bounded, members with secret names left out. Never throws. */
export function toLogValue(value: unknown): unknown {
  return new Writer().value(value, 0)
}

/** What an error becomes in the log. Own members besides `code` are left out: drivers put whole requests there. */
export interface LoggedError {
  type: string
  message: string
  stack?: string
  code?: string | number
  cause?: LoggedError
  errors?: LoggedError[]
}

/** An error as the log may have it; whatever was thrown, this does not throw. */
export function toLogError(error: unknown, depth = 0): LoggedError {
  try {
    if (!(error instanceof Error)) {
      const value = toLogValue(error)
      return { type: typeof error, message: typeof value === 'string' ? value : (JSON.stringify(value) ?? 'undefined') }
    }
    const { name, message, stack, code, cause, errors } = error as Error & { code?: unknown; errors?: unknown }
    const isDeep = depth >= MAX_CAUSES
    return {
      type: toLogText(String(name)),
      message: toLogText(String(message)),
      ...(typeof stack === 'string' ? { stack: toLogText(stack) } : {}),
      ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
      ...(cause === undefined || isDeep ? {} : { cause: toLogError(cause, depth + 1) }),
      ...(Array.isArray(errors) && !isDeep
        ? { errors: errors.slice(0, MAX_CAUSES).map((inner) => toLogError(inner, depth + 1)) }
        : {}),
    }
  } catch {
    return { type: 'unreadable', message: 'What was thrown throws when it is read.' }
  }
}

class Writer {
  #left = MAX_VALUES

  value(value: unknown, depth: number): unknown {
    return this.#guarded(() => this.#read(value, depth))
  }

  /** Getters and `toJSON` are others' code. */
  #guarded(read: () => unknown): unknown {
    if (this.#left-- <= 0) return '[…]'
    try {
      return read()
    } catch {
      return '[unreadable]'
    }
  }

  #read(value: unknown, depth: number): unknown {
    if (typeof value === 'string') return toLogText(value)
    if (typeof value === 'bigint') return value.toString()
    if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`
    if (typeof value !== 'object' || value === null) return value
    if (value instanceof Error) return toLogError(value)
    if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
    if (depth >= MAX_DEPTH) return '[…]'
    const { toJSON } = value as { toJSON?: unknown }
    if (typeof toJSON === 'function') return this.value((toJSON as () => unknown).call(value), depth + 1)
    if (Array.isArray(value)) return this.#list(value, depth)
    if (value instanceof Set) return this.#list([...value], depth)
    if (value instanceof Map) return this.#members(new Map([...value].map(([key, item]) => [String(key), item])), depth)
    const keys = Object.keys(value)
    return this.#members({ size: keys.length, keys: () => keys, get: (key) => (value as never)[key] }, depth)
  }

  #list(items: readonly unknown[], depth: number): unknown[] {
    const kept = items.slice(0, Math.max(this.#left, 0)).map((item) => this.value(item, depth + 1))
    if (kept.length < items.length) kept.push(`[${items.length - kept.length} more]`)
    return kept
  }

  #members(members: Members, depth: number): Record<string, unknown> {
    const kept = new Map<string, unknown>()
    for (const name of members.keys()) {
      if (this.#left <= 0) {
        kept.set('…', `${members.size - kept.size} more`)
        break
      }
      kept.set(name, isSecret(name) ? '[redacted]' : this.#guarded(() => this.#read(members.get(name), depth + 1)))
    }
    return Object.fromEntries(kept)
  }
}

/** The members of an object, each read when it is asked for. */
interface Members {
  readonly size: number
  keys(): Iterable<string>
  get(name: string): unknown
}

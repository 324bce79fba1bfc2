/** Nobody waits for longer than this, whatever a server says. */
const LONGEST_MS = 24 * 3_600_000

/**
 * What an answer or an error says about when to come again (RFC 9110, section 10.2.3): seconds, or a date. Clients carry the
 * headers of an answer in their errors in different places.
 * @param nowMs since the epoch
 */
export function retryAfterMs(error: object, nowMs: number): number | undefined {
  const { headers, responseHeaders, response } = error as {
    headers?: unknown
    responseHeaders?: unknown
    response?: { headers?: unknown } | null
  }
  for (const one of [headers, responseHeaders, response?.headers]) {
    const text = header(one)
    const ms = text === undefined ? undefined : parseRetryAfter(text, nowMs)
    if (ms !== undefined) return ms
  }
  return undefined
}

/** @returns milliseconds from now, 0 at least; `undefined` for what is neither a number of seconds nor a date. */
export function parseRetryAfter(text: string, nowMs: number): number | undefined {
  const trimmed = text.trim()
  // RFC 9110 allows whole seconds alone; fractions are sent too.
  const ms = /^\d+(\.\d+)?$/.test(trimmed)
    ? Number(trimmed) * 1000
    : /^[A-Z][a-z]{2}/.test(trimmed)
      ? Date.parse(trimmed) - nowMs
      : NaN
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, ms), LONGEST_MS)
}

function header(headers: unknown): string | undefined {
  if (typeof headers !== 'object' || headers === null) return undefined
  const value =
    headers instanceof Headers
      ? headers.get('retry-after')
      : Object.entries(headers).find(([name]) => name.toLowerCase() === 'retry-after')?.[1]
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
}

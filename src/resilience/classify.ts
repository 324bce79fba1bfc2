import { HoldfastError } from '../errors/holdfast-error.ts'
import { retryAfterMs } from './retry-after.ts'
import type { Outcome, Repeatable, Settled } from './settled.ts'

/** An answer with an error status, as `isFailure`, `retryable` and `fallback` of a dependency see it. */
export class ResponseError extends Error {
  override readonly name = 'ResponseError'
  readonly status: number
  readonly response: Response

  constructor(dependency: string, response: Response) {
    super(`${dependency} answered ${response.status}${response.statusText === '' ? '' : ` ${response.statusText}`}.`)
    this.status = response.status
    this.response = response
  }
}

/** No connection was made: surely nothing was carried out. */
const UNSENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ENETDOWN',
  'EHOSTDOWN',
  'UND_ERR_CONNECT_TIMEOUT',
  // Postgres: it could not be connected to, has too many connections, or is starting.
  '08001',
  '08004',
  '53300',
  '57P03',
])
/** System calls before anything is sent. */
const UNSENT_CALLS = new Set(['connect', 'getaddrinfo', 'getnameinfo'])
/** The connection was lost, or stayed silent: whether it was carried out nobody knows. */
const UNCLEAR = new Set([
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ESOCKETTIMEDOUT',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_HTTP2_STREAM_ERROR',
  'ERR_HTTP2_SESSION_ERROR',
  'UND_ERR_SOCKET',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_CLOSED',
  'UND_ERR_DESTROYED',
  // Postgres: the connection was lost, or the server is shutting down.
  '08000',
  '08003',
  '08006',
  '57P01',
  '57P02',
])
const MOST_CAUSES = 5

type Verdict = Pick<Settled<never>, 'isFailure' | 'repeatable' | 'retryAfterMs'> & { readonly outcome: Outcome }

const ANSWERED: Verdict = { outcome: 'error', isFailure: false, repeatable: 'never' }
const failed = (repeatable: Repeatable, ms?: number): Verdict => ({
  outcome: 'failed',
  isFailure: true,
  repeatable,
  retryAfterMs: ms,
})

/** What an error of an attempt means, where nobody has said otherwise. */
export function classify(error: unknown, nowMs: number): Verdict {
  if (typeof error !== 'object' || error === null) return ANSWERED
  return verdictOf(error as Facts, nowMs)
}

/** What is known of errors of many makes. */
interface Facts {
  readonly name?: unknown
  readonly code?: unknown
  readonly syscall?: unknown
  readonly cause?: unknown
  readonly status?: unknown
  readonly statusCode?: unknown
  readonly response?: { readonly status?: unknown } | null
}

function verdictOf(error: Facts, nowMs: number): Verdict {
  if (error instanceof HoldfastError) {
    if (error.code === 'dependency_timeout') return { outcome: 'timeout', isFailure: true, repeatable: 'if_idempotent' }
    return error.code === 'dependency_unavailable' ? failed('never') : ANSWERED
  }
  const status = [error.status, error.statusCode, error.response?.status].find((one) => typeof one === 'number')
  if (status !== undefined && status >= 400 && status <= 599) return verdictOfStatus(status, error, nowMs)
  if (error.name === 'TimeoutError') return { outcome: 'timeout', isFailure: true, repeatable: 'if_idempotent' }
  let cause: Facts = error
  for (let depth = 0; depth <= MOST_CAUSES && typeof cause === 'object' && cause !== null; depth++) {
    const { code, syscall } = cause
    if (typeof code === 'string') {
      if (UNSENT.has(code) || (typeof syscall === 'string' && UNSENT_CALLS.has(syscall))) return failed('always')
      if (UNCLEAR.has(code)) return failed('if_idempotent')
    }
    cause = cause.cause as Facts
  }
  return ANSWERED
}

/** RFC 9110, section 15; RFC 6585, section 4 (429). */
function verdictOfStatus(status: number, error: Facts, nowMs: number): Verdict {
  // Turned away before it was carried out, and no sign of ill health.
  if (status === 429) return { ...ANSWERED, repeatable: 'always', retryAfterMs: retryAfterMs(error, nowMs) }
  if (status === 503) {
    const ms = retryAfterMs(error, nowMs)
    return failed(ms === undefined ? 'if_idempotent' : 'always', ms)
  }
  if (status === 408) return { ...ANSWERED, repeatable: 'if_idempotent' }
  // What it can't do it can't do the next time either.
  if (status === 501 || status === 505) return ANSWERED
  return status >= 500 ? failed('if_idempotent') : ANSWERED
}

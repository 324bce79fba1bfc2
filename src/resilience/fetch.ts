import { HoldfastError } from '../errors/holdfast-error.ts'
import { currentAttempt, type Attempt } from './attempt.ts'
import { guardBody } from './body.ts'
import { ResponseError } from './classify.ts'
import type { Guard, GuardedUse } from './guard.ts'
import { eitherSignal, type User } from './guards.ts'

/** Methods that do the same when they are repeated (RFC 9110, section 9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

/** A `fetch` that a guard is around. */
export async function guardedFetch(
  guard: Guard,
  input: string | URL | Request,
  init: RequestInit | undefined,
  user: User,
): Promise<Response> {
  const request = input instanceof Request ? input : undefined
  const own = eitherSignal(init?.signal ?? request?.signal, user.signal)
  const outer = currentAttempt()
  if (outer?.host === guard && outer.isRunning)
    return fetch(input, { ...init, signal: eitherSignal(own, outer.signal)! })
  const use: GuardedUse<unknown> = {
    operation: user.operation,
    ...(own === undefined ? {} : { signal: own }),
    idempotent: guard.dependency.idempotent || isIdempotent(request, init),
    isRepeatable: isRepeatable(request, init),
  }
  /** An answer with an error status, which is the caller's if it is the last. */
  let last: Response | undefined
  const discard = (): void => {
    // Its stream may be broken already; nobody waits for it.
    last?.body?.cancel().catch(() => undefined)
    last = undefined
  }
  const work = async (attempt: Attempt): Promise<Response> => {
    discard()
    const answer = guardBody(await fetch(input, { ...init, signal: attempt.signal }), attempt)
    if (answer.status < 400) return answer
    last = answer
    throw new ResponseError(guard.dependency.name, answer)
  }
  try {
    const answer = await guard.run<Response, unknown>(work, use)
    // A fallback may have stood in for an answer.
    if (answer !== last) discard()
    return checkResponse(guard.dependency.name, answer)
  } catch (error) {
    if (error instanceof ResponseError && error.response === last) return error.response
    discard()
    throw error
  }
}

function isIdempotent(request: Request | undefined, init: RequestInit | undefined): boolean {
  const method = (init?.method ?? request?.method ?? 'GET').toUpperCase()
  if (IDEMPOTENT.has(method)) return true
  // draft-ietf-httpapi-idempotency-key-header
  return new Headers(init?.headers ?? request?.headers).has('idempotency-key')
}

/** A stream can be sent once. */
function isRepeatable(request: Request | undefined, init: RequestInit | undefined): boolean {
  const body: unknown = init?.body ?? request?.body
  if (typeof body !== 'object' || body === null) return true
  return !(body instanceof ReadableStream) && !(Symbol.asyncIterator in body)
}

function checkResponse(dependency: string, answer: unknown): Response {
  if (answer instanceof Response) return answer
  throw new HoldfastError(
    'invalid_definition',
    `The \`fallback\` of defineDependency("${dependency}") gave something other than a Response for a \`fetch\`. Return one: Response.json(…).`,
  )
}

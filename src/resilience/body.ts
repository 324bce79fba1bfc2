import type { UnderlyingByteSource } from 'node:stream/web'
import type { Attempt } from './attempt.ts'

/** So much of a body is read ahead: short answers that nobody looks at then hold no connection, and no place. */
const READ_AHEAD_BYTES = 64 * 1024

/** What `new Response` takes for a reason phrase; servers send others, and statuses that it does not take either (999). */
const LATIN_1 = /^[\t\x20-\x7e\x80-\xff]*$/

/** The same answer, whose body counts as part of the attempt: its pieces come in time, and the caller's abort ends it. */
export function guardBody(response: Response, attempt: Attempt): Response {
  const { body, status, statusText, headers, url, redirected, type } = response
  if (body === null) return response
  attempt.keep()
  const reader = body.getReader()
  const source: UnderlyingByteSource = {
    type: 'bytes',
    async pull(controller) {
      attempt.read()
      try {
        const { done, value } = await reader.read()
        attempt.rest()
        if (!done) return controller.enqueue(value)
        attempt.release()
        controller.close()
        controller.byobRequest?.respond(0)
      } catch (error) {
        attempt.release(error)
        throw error
      }
    },
    async cancel(reason) {
      attempt.release()
      await reader.cancel(reason)
    },
  }
  const stream = new ReadableStream(source, { highWaterMark: READ_AHEAD_BYTES })
  const isUsual = status >= 200 && status <= 599 && LATIN_1.test(statusText)
  const guarded = new Response(stream, isUsual ? { status, statusText, headers } : { headers })
  // What a response made by hand does not know of itself, or can't be made with.
  return Object.defineProperties(guarded, {
    status: { value: status },
    statusText: { value: statusText },
    ok: { value: status >= 200 && status <= 299 },
    url: { value: url },
    redirected: { value: redirected },
    type: { value: type },
  })
}

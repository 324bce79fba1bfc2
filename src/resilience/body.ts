import type { UnderlyingByteSource } from 'node:stream/web'
import type { Attempt } from './attempt.ts'

/** So much of a body is read ahead: short answers that nobody looks at then hold no connection, and no place. */
const READ_AHEAD_BYTES = 64 * 1024

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
  const guarded = new Response(stream, { status, statusText, headers })
  // What a response made by hand does not know of itself.
  return Object.defineProperties(guarded, {
    url: { value: url },
    redirected: { value: redirected },
    type: { value: type },
  })
}

import type { IncomingMessage } from 'node:http'

/** Requests that wait to be told to go on; only a server of our own leaves that to the handler. */
const waiting = new WeakSet<IncomingMessage>()

/** Notes that nobody has answered this request's `Expect: 100-continue` yet. */
export function awaitContinue(request: IncomingMessage): void {
  waiting.add(request)
}

/** Whether the client waits for `100 Continue`, and its body is one that will be read (RFC 9110, 10.1.1). */
export function asksToContinue(request: IncomingMessage, maxBodyBytes: number): boolean {
  return waiting.delete(request) && Number(request.headers['content-length'] ?? 0) <= maxBodyBytes
}

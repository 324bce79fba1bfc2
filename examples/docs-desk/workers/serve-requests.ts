import { parentPort } from 'node:worker_threads'
import { errorMessage } from '../desk-error.ts'

/** What a worker is sent. */
export interface WorkerRequest<Request> {
  id: number
  request: Request
}
/** What a worker sends back. */
export type WorkerReply<Response> = { id: number; response: Response } | { id: number; error: string }

/** Answers the requests of a `WorkerClient`, one after the other. Called once, in the worker's module. */
export function serveRequests(answer: (request: never) => Promise<unknown>): void {
  const port = parentPort
  if (!port) throw new Error('This module runs in a worker thread only.')
  let last: Promise<void> = Promise.resolve()
  port.on('message', ({ id, request }: WorkerRequest<never>) => {
    last = last
      .then(() => answer(request))
      .then(
        (response): WorkerReply<unknown> => ({ id, response }),
        (error: unknown): WorkerReply<unknown> => ({ id, error: errorMessage(error) }),
      )
      .then((reply) => port.postMessage(reply))
  })
}

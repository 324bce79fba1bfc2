import { Worker } from 'node:worker_threads'
import type { WorkerReply, WorkerRequest } from './serve-requests.ts'

/** Settings of a {@link WorkerClient}. */
export interface WorkerClientOptions {
  /** For one request. A worker that takes longer is ended, and the next request starts a new one. */
  timeoutMs: number
  /** Bound of the worker's heap, in mebibytes. A worker that outgrows it ends, and this process does not. */
  maxHeapMebibytes: number
}

interface Pending<Response> {
  resolve: (response: Response) => void
  reject: (error: Error) => void
}

/**
 * Sends requests to a worker thread. The thread starts with the first request, is started anew after a crash or a
 * timeout, and keeps the process alive only while a request is under way.
 *
 * Requests are handed over one at a time, so a timeout hits the request that caused it; others wait in line.
 */
export class WorkerClient<Request, Response> {
  readonly #module: URL
  readonly #options: WorkerClientOptions
  #worker: Worker | undefined
  #current: Pending<Response> | undefined
  #line: Promise<void> = Promise.resolve()
  #lastId = 0
  #closed = false

  constructor(module: URL, options: WorkerClientOptions) {
    this.#module = module
    this.#options = options
  }

  /**
   * @throws the error that the worker reports; an error for a timeout, a crash or a closed client; the reason of `signal`.
   * An abort leaves the worker to finish what it does, and drops the answer.
   */
  async call(request: Request, signal?: AbortSignal): Promise<Response> {
    const turn = this.#line
    const done = Promise.withResolvers<void>()
    this.#line = done.promise
    const answer = turn.then(() => {
      signal?.throwIfAborted()
      return this.#exchange(request)
    })
    const release = (): void => done.resolve()
    answer.then(release, release)
    return signal ? raceAbort(answer, signal) : answer
  }

  /** Ends the thread. A request under way fails, and so does every later one. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#end(new Error('Docs desk was closed.'))
  }

  async #exchange(request: Request): Promise<Response> {
    if (this.#closed) throw new Error('Docs desk was closed.')
    const worker = (this.#worker ??= this.#start())
    const { promise, resolve, reject } = Promise.withResolvers<Response>()
    this.#current = { resolve, reject }
    worker.ref()
    const { timeoutMs } = this.#options
    const timer = setTimeout(() => void this.#end(new Error(`It took longer than ${timeoutMs} ms.`)), timeoutMs)
    try {
      // The empty list says that nothing is handed over; all is copied.
      worker.postMessage({ id: ++this.#lastId, request } satisfies WorkerRequest<Request>, [])
      return await promise
    } finally {
      clearTimeout(timer)
      this.#current = undefined
      worker.unref()
    }
  }

  #start(): Worker {
    const worker = new Worker(this.#module, {
      // Flags of the process, such as those of a test runner or a debugger, are not meant for this thread.
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: this.#options.maxHeapMebibytes },
    })
    worker.on('message', (reply: WorkerReply<Response>) => {
      if (reply.id !== this.#lastId) return
      if ('error' in reply) this.#current?.reject(new Error(reply.error))
      else this.#current?.resolve(reply.response)
    })
    const lost = (error: Error): void => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      this.#current?.reject(error)
    }
    worker.on('error', lost)
    worker.on('exit', (code) => lost(new Error(`The worker thread ended by itself (exit code ${code}).`)))
    return worker
  }

  async #end(error: Error): Promise<void> {
    const worker = this.#worker
    this.#worker = undefined
    this.#current?.reject(error)
    await worker?.terminate()
  }
}

function raceAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(signal.reason as Error)
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', onAbort))
}

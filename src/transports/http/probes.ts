import type { IncomingMessage, ServerResponse } from 'node:http'

/** Where probes and metrics get their answers. */
export interface ProbeSources {
  /** Whether the node takes requests: not while starting or draining. */
  isReady(): boolean
  metrics(): Promise<{ contentType: string; body: string }>
  onError(error: unknown): void
}

/** `/livez` (the process runs; touches nothing), `/readyz` (503 while starting or draining), `/metrics` (Prometheus). */
export class Probes {
  readonly #sources: ProbeSources

  constructor(sources: ProbeSources) {
    this.#sources = sources
  }

  metrics(): Promise<{ contentType: string; body: string }> {
    return this.#sources.metrics()
  }

  /** The answer for a path, or `undefined` where the path is not one of theirs. */
  answer(
    path: string,
  ):
    | { status: number; contentType: string; body: string }
    | Promise<{ status: number; contentType: string; body: string }>
    | undefined {
    const text = 'text/plain; charset=utf-8'
    if (path === '/livez') return { status: 200, contentType: text, body: 'ok\n' }
    if (path === '/readyz')
      return this.#sources.isReady()
        ? { status: 200, contentType: text, body: 'ready\n' }
        : { status: 503, contentType: text, body: 'not ready\n' }
    if (path === '/metrics') return this.#sources.metrics().then((metrics) => ({ status: 200, ...metrics }))
    return undefined
  }

  /** Serves a request if its path is one of theirs. */
  serve(path: string, request: IncomingMessage, response: ServerResponse): boolean {
    const answer = this.answer(path)
    if (answer === undefined) return false
    request.resume()
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD', 'content-length': 0 }).end()
      return true
    }
    Promise.resolve(answer).then(
      ({ status, contentType, body }) =>
        response
          .writeHead(status, {
            'content-type': contentType,
            'content-length': Buffer.byteLength(body),
            'cache-control': 'no-store',
          })
          .end(request.method === 'HEAD' ? undefined : body),
      (error: unknown) => {
        this.#sources.onError(error)
        response.writeHead(500, { 'content-length': 0 }).end()
      },
    )
    return true
  }
}

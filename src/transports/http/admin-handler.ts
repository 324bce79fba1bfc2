import type { NodeHandler } from './node-handler.ts'
import type { Probes } from './probes.ts'

/** Serves probes and metrics alone: for a port that operators reach, and callers do not. */
export function createAdminHandler(probes: Probes): NodeHandler {
  return (request, response) => {
    const path = (request.url ?? '').split('?', 1)[0]!
    if (probes.serve(path, request, response)) return
    request.resume()
    const body = 'There are /livez, /readyz and /metrics.\n'
    response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8', 'content-length': body.length }).end(body)
  }
}

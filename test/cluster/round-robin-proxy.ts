// A strict round-robin proxy without affinity: each request goes to the next node, whatever connection it came on.
//
// 1. The body is read whole, then sent on a connection of its own; the answer is passed on as it comes, unbuffered.
// 2. A node that refuses the connection was sent nothing, so the next one is tried, each node once.
// 3. Whatever breaks later breaks the client's connection: the proxy repeats no request that a node may have seen.
// 4. A client that leaves is a node's client that leaves.
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

/** A running proxy. */
export interface RoundRobinProxy extends AsyncDisposable {
  readonly origin: string
  /** Requests that each node was sent. */
  readonly counts: readonly number[]
}

/** Where a node listens. */
export interface Target {
  readonly host: string
  readonly port: number
}

/** Headers of one connection, which are not passed on. */
const HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length'])

function passedOn(raw: readonly string[]): string[] {
  const kept: string[] = []
  for (let index = 0; index < raw.length; index += 2)
    if (!HOP.has(raw[index]!.toLowerCase())) kept.push(raw[index]!, raw[index + 1]!)
  return kept
}

/** Starts a proxy before these nodes, on the loopback address: on a free port, or the one asked for. */
export async function startRoundRobinProxy(nodes: readonly Target[], port = 0): Promise<RoundRobinProxy> {
  const counts = nodes.map(() => 0)
  let turn = 0
  const forward = (request: IncomingMessage, response: ServerResponse, body: Buffer, triesLeft: number): void => {
    const index = turn++ % nodes.length
    const { host, port } = nodes[index]!
    const headers = passedOn(request.rawHeaders)
    if (body.length > 0 || request.method === 'POST') headers.push('content-length', String(body.length))
    let isConnected = false
    const upstream = httpRequest({ host, port, method: request.method, path: request.url, headers, agent: false })
    const leave = (): void => void upstream.destroy()
    upstream.on('socket', (socket) =>
      socket.once('connect', () => {
        isConnected = true
        counts[index]!++
      }),
    )
    upstream.on('response', (answer) => {
      response.writeHead(answer.statusCode!, passedOn(answer.rawHeaders))
      response.flushHeaders()
      answer.on('error', () => response.destroy())
      answer.pipe(response)
    })
    upstream.on('error', () => {
      response.off('close', leave)
      if (!isConnected && triesLeft > 0 && !response.destroyed) forward(request, response, body, triesLeft - 1)
      else response.destroy()
    })
    response.once('close', leave)
    upstream.end(body)
  }
  const server = createServer({ keepAliveTimeout: 65_000 }, (request, response) => {
    buffer(request).then(
      (body) => forward(request, response, body, nodes.length - 1),
      () => response.destroy(), // the client has gone before it had said everything
    )
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    counts,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

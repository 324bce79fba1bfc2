import type { IncomingMessage, ServerResponse } from 'node:http'
import { ANONYMOUS } from '../../define/context.ts'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import type { Ticker } from '../../kernel/ticker.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Telemetry } from '../../ports/telemetry.ts'
import { bodyReadBefore, readBody } from './body.ts'
import { asksToContinue } from './continue.ts'
import { corsHeaders, Gate, preflightHeaders } from './gate.ts'
import { isJson } from './head.ts'
import type { HttpOptions } from './http-options.ts'
import { NodeExchange, type NodeExchangeHost } from './node-exchange.ts'
import type { Probes } from './probes.ts'

/** What the HTTP transport works with. */
export interface HttpParts {
  readonly kernel: Kernel
  readonly options: HttpOptions
  readonly telemetry: Telemetry
  readonly clock: Clock
  readonly ticker: Ticker
  readonly probes: Probes
}

/**
 * A request listener for `node:http`, Express, Fastify and their like. `body` is what a body parser made of the body, where
 * one has read it and put it elsewhere than `request.body`.
 */
export type NodeHandler = (request: IncomingMessage, response: ServerResponse, body?: unknown) => void

/** A body up to this size that nobody wants is read to its end, so that the connection can be used again. */
const DRAIN_BYTES = 64 * 1024

/**
 * Serves the endpoint, the probes and the metrics. In this order: path, `Host` and `Origin`, method, content type, declared
 * length, and only then the body.
 *
 * @param anyPath serve MCP on whatever path the request has, and nothing else: for frameworks that route themselves.
 */
export function createNodeHandler(parts: HttpParts, anyPath: boolean): NodeHandler {
  const { kernel, options, probes, telemetry } = parts
  const gate = new Gate(options)
  const host: NodeExchangeHost = {
    maxBufferedBytes: options.maxBufferedBytes,
    onSlowReader: () => telemetry.count('slow_readers', 'http'),
    corsHeaders: (origin) => (origin !== undefined && gate.allowsOrigin(origin) ? corsHeaders(origin) : undefined),
  }
  const onRequest = (
    request: IncomingMessage,
    response: ServerResponse,
    exchange: NodeExchange,
    body: unknown,
  ): void => {
    const { headers, method } = request
    gate.check(headers.host ?? (headers[':authority'] as string | undefined), headers.origin)
    if (method === 'OPTIONS' && headers.origin !== undefined)
      return void response
        .writeHead(204, preflightHeaders(headers.origin, headers['access-control-request-headers']))
        .end()
    const admitting = kernel.admit(exchange)
    if (admitting === undefined) return serve(request, response, exchange, body)
    admitting
      .then(() => serve(request, response, exchange, body))
      .catch((error: unknown) => refuse(request, exchange, error))
  }
  const serve = (request: IncomingMessage, response: ServerResponse, exchange: NodeExchange, body: unknown): void => {
    const { method } = request
    if (method === 'POST') return onPost(request, response, exchange, body)
    if (method === 'GET') return kernel.openStream(exchange)
    if (method === 'DELETE') return kernel.endSession(exchange)
    throw new HoldfastError('method_not_allowed', `The method ${method ?? ''} is not served here.`)
  }
  const onPost = (request: IncomingMessage, response: ServerResponse, exchange: NodeExchange, body: unknown): void => {
    if (!isJson(request.headers['content-type']))
      throw new HoldfastError('unsupported_media_type', 'Send the body as `Content-Type: application/json`.')
    if (!exchange.head.acceptsJson && !exchange.head.acceptsStream)
      throw new HoldfastError('not_acceptable', 'Accept application/json and text/event-stream.')
    const before = bodyReadBefore(request, body, options.maxBodyBytes)
    if (before !== undefined) return kernel.receive(exchange, before)
    if (asksToContinue(request, options.maxBodyBytes)) response.writeContinue()
    readBody(
      request,
      options,
      parts.ticker,
      (bytes) => kernel.receive(exchange, bytes),
      (error) => refuse(request, exchange, error),
    )
  }
  const refuse = (request: IncomingMessage, exchange: NodeExchange, error: unknown): void => {
    discard(request, exchange, options.maxBodyBytes, error)
    kernel.refuse(exchange, error, undefined)
  }
  return (request, response, body) => {
    const exchange = new NodeExchange(request, response, ANONYMOUS, host)
    try {
      if (!anyPath && request.url !== options.path) {
        const path = pathOf(request)
        if (path !== options.path) {
          // Balancers ask for health by address; metrics are for who may name this host.
          if (path === '/metrics') gate.check(request.headers.host, request.headers.origin)
          if (probes.serve(path, request, response)) return
          throw new HoldfastError(
            'not_found',
            `Nothing is served at ${path.slice(0, 100)}; the MCP endpoint is ${options.path}.`,
          )
        }
      }
      onRequest(request, response, exchange, body)
    } catch (error) {
      refuse(request, exchange, error)
    }
  }
}

/** The path of a request. A target that is a whole URL says the host too, in place of the header (RFC 9112, 3.2.2). */
function pathOf(request: IncomingMessage): string {
  const target = request.url!
  if (target.startsWith('/')) return target.split('?', 1)[0]!
  const url = URL.parse(target)
  if (url === null) return target
  request.headers.host = url.host
  return url.pathname
}

/**
 * Gets rid of a body that nobody will read. A small one is drained, so that the connection stays of use; with a big one, or
 * one that does not come, the connection is closed after the answer, and what still comes is thrown away meanwhile: to close
 * at once would reset it, and the client would never read why.
 */
function discard(request: IncomingMessage, exchange: NodeExchange, maxBodyBytes: number, error: unknown): void {
  const { 'content-length': declared, 'transfer-encoding': encoding } = request.headers
  if (request.complete || (declared === undefined && encoding === undefined)) return
  const isLate = error instanceof HoldfastError && error.code === 'body_too_slow'
  if (!isLate && Number(declared) <= DRAIN_BYTES) return void request.resume()
  exchange.closeAfterAnswer()
  let length = 0
  request.on('data', (chunk: Buffer) => {
    length += chunk.length
    if (length > maxBodyBytes) request.destroy()
  })
}

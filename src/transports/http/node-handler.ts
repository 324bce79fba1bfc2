import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Artifacts } from '../../artifacts/artifacts.ts'
import type { Authenticator } from '../../auth/authenticator.ts'
import { WELL_KNOWN, type ResourceMetadata } from '../../auth/resource-metadata.ts'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import { callerOf } from '../../kernel/caller.ts'
import { isPromise } from '../../kernel/protocol.ts'
import type { Ticker } from '../../kernel/ticker.ts'
import type { Admission } from '../../limits/admission.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Telemetry } from '../../ports/telemetry.ts'
import { bodyReadBefore, readBody } from './body.ts'
import type { ClientAddress } from './client-address.ts'
import { asksToContinue } from './continue.ts'
import { corsHeaders, Gate, preflightHeaders } from './gate.ts'
import { isJson } from './head.ts'
import { linkIn, serveDownload } from './download-route.ts'
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
  /** Absent where they have a port of their own. */
  readonly probes: Probes | undefined
  /** Whether the node takes requests: not while it drains. */
  isReady(): boolean
  readonly admission: Admission
  /** Absent where nobody has to authenticate. */
  readonly authenticator: Authenticator | undefined
  /** Absent where there is no authorization server to point to. */
  readonly metadata: ResourceMetadata | undefined
  /** Absent where no proxy is declared. */
  readonly addresses: ClientAddress | undefined
  /** Absent where there are none to download. */
  readonly artifacts: Artifacts | undefined
}

/**
 * A request listener for `node:http`, Express, Fastify and their like. `body` is what a body parser made of the body, where
 * one has read it and put it elsewhere than `request.body`.
 */
export type NodeHandler = (request: IncomingMessage, response: ServerResponse, body?: unknown) => void

/** A body up to this size that nobody wants is read to its end, so that the connection can be used again. */
const DRAIN_BYTES = 64 * 1024

/**
 * Serves the endpoint, the probes and the metrics. In this order: path, `Host` and `Origin`, method, who calls, content type,
 * whether there is room, limits, declared length, and only then the body.
 *
 * @param anyPath serve MCP on whatever path the request has, and nothing else: for frameworks that route themselves.
 */
export function createNodeHandler(parts: HttpParts, anyPath: boolean): NodeHandler {
  const { kernel, options, probes, telemetry, admission, authenticator, metadata } = parts
  const gate = new Gate(options)
  const host: NodeExchangeHost = {
    maxBufferedBytes: options.maxBufferedBytes,
    addresses: parts.addresses,
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
    if (authenticator === undefined) return onCaller(request, response, exchange, body)
    const principal = authenticator.authenticate(exchange, request.url!)
    if (!isPromise(principal)) {
      exchange.principal = principal
      return onCaller(request, response, exchange, body)
    }
    principal
      .then((found) => {
        if (response.destroyed) return // the client did not wait
        exchange.principal = found
        onCaller(request, response, exchange, body)
      })
      .catch((error: unknown) => refuse(request, exchange, error))
  }
  /** The caller is known: `exchange.principal`. The body is not read yet. */
  const onCaller = (
    request: IncomingMessage,
    response: ServerResponse,
    exchange: NodeExchange,
    body: unknown,
  ): void => {
    const { method } = request
    if (method === 'POST') checkPost(request, exchange)
    else if (method !== 'GET' && method !== 'DELETE')
      throw new HoldfastError('method_not_allowed', `The method ${method ?? ''} is not served here.`)
    const admitting = kernel.admit(exchange)
    if (admitting === undefined) return onAdmitted(request, response, exchange, body)
    if (body === undefined && isSmall(request)) return whileAdmitting(request, response, exchange, admitting)
    admitting
      .then(() => {
        if (!response.destroyed) onAdmitted(request, response, exchange, body)
      })
      .catch((error: unknown) => refuse(request, exchange, error))
  }
  /** A small body came with the head, as a rule: it is taken while the limits are asked, and served only if they admit it. */
  const whileAdmitting = (
    request: IncomingMessage,
    response: ServerResponse,
    exchange: NodeExchange,
    admitting: Promise<void>,
  ): void => {
    let bytes: Buffer | undefined
    let isAdmitted = false
    let isRefused = false
    const refuseOnce = (error: unknown): void => {
      if (isRefused) return // a body that did not come, of a request that is over a limit
      isRefused = true
      refuse(request, exchange, error)
    }
    const onBody = (all: Buffer): void => {
      if (isAdmitted) kernel.receive(exchange, all)
      else bytes = all
    }
    read(request, exchange, onBody, refuseOnce)
    admitting
      .then(() => {
        isAdmitted = true
        if (bytes !== undefined && !response.destroyed) kernel.receive(exchange, bytes)
      })
      .catch(refuseOnce)
  }
  const onAdmitted = (
    request: IncomingMessage,
    response: ServerResponse,
    exchange: NodeExchange,
    body: unknown,
  ): void => {
    if (request.method === 'POST') return onPost(request, response, exchange, body)
    return request.method === 'GET' ? kernel.openStream(exchange) : kernel.endSession(exchange)
  }
  const checkPost = (request: IncomingMessage, exchange: NodeExchange): void => {
    if (!isJson(request.headers['content-type']))
      throw new HoldfastError('unsupported_media_type', 'Send the body as `Content-Type: application/json`.')
    if (!exchange.head.acceptsJson && !exchange.head.acceptsStream)
      throw new HoldfastError('not_acceptable', 'Accept application/json and text/event-stream.')
    const declared = request.headers['content-length']
    kernel.screen(exchange, declared === undefined ? undefined : Number(declared))
  }
  const onPost = (request: IncomingMessage, response: ServerResponse, exchange: NodeExchange, body: unknown): void => {
    const before = bodyReadBefore(request, body, options.maxBodyBytes)
    if (before !== undefined) return kernel.receive(exchange, before)
    if (asksToContinue(request, options.maxBodyBytes)) response.writeContinue()
    const onBody = (bytes: Buffer): void => kernel.receive(exchange, bytes)
    read(request, exchange, onBody, (error) => refuse(request, exchange, error))
  }
  const read = (
    request: IncomingMessage,
    exchange: NodeExchange,
    onBody: (bytes: Buffer) => void,
    onError: (error: unknown) => void,
  ): void =>
    readBody(
      request,
      options,
      parts.ticker,
      (onEvict) => admission.pending.open(callerOf(exchange), () => onEvict(admission.evicted())),
      onBody,
      onError,
    )
  /** Serves a download if the request is for one. The link is the credential. */
  const serveArtifact = (request: IncomingMessage, response: ServerResponse, exchange: NodeExchange): boolean => {
    const { method, headers } = request
    const target = anyPath ? ((request as { originalUrl?: string }).originalUrl ?? request.url!) : request.url!
    const link = target.includes('/artifacts/')
      ? linkIn(pathOf(request, target), anyPath ? undefined : options.path)
      : undefined
    if (link === undefined) return false
    gate.check(headers.host ?? (headers[':authority'] as string | undefined), headers.origin)
    if (method !== 'GET' && method !== 'HEAD')
      throw new HoldfastError('method_not_allowed', `The method ${method ?? ''} is not served here.`)
    const told = {
      onBegin: () => telemetry.count('artifacts', 'downloaded'),
      onFailure: (error: unknown) => telemetry.failure(undefined, 'A download was cut off.', error),
    }
    const serve = async (): Promise<void> => {
      await kernel.admit(exchange)
      await serveDownload(parts.artifacts!, link, request, response, host.corsHeaders(headers.origin), told)
    }
    serve().catch((error: unknown) => refuse(request, exchange, error))
    return true
  }
  const refuse = (request: IncomingMessage, exchange: NodeExchange, error: unknown): void => {
    discard(request, exchange, options.maxBodyBytes, error)
    kernel.refuse(exchange, error, undefined)
  }
  return (request, response, body) => {
    // A balancer must not keep a connection to a node that is about to go.
    if (!parts.isReady()) response.shouldKeepAlive = false
    const exchange = new NodeExchange(request, response, host)
    try {
      if (metadata !== undefined && serveMetadata(metadata, request, response)) return
      if (parts.artifacts !== undefined && request.method !== 'POST' && serveArtifact(request, response, exchange))
        return
      if (!anyPath && request.url !== options.path) {
        const path = pathOf(request)
        if (path !== options.path) {
          // Balancers ask for health by address; metrics are for who may name this host.
          if (path === '/metrics' && probes !== undefined) gate.check(request.headers.host, request.headers.origin)
          if (probes?.serve(path, request, response) === true) return
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

/** Whether a body is declared, and no bigger than what is read to its end in any case; and whether it is on its way. */
function isSmall({ method, headers, complete }: IncomingMessage): boolean {
  const declared = headers['content-length']
  return (
    method === 'POST' &&
    !complete &&
    declared !== undefined &&
    Number(declared) <= DRAIN_BYTES &&
    headers.expect === undefined
  )
}

/** Serves the protected-resource metadata if the request is for it, also where a framework has cut the path that it routed by. */
function serveMetadata(metadata: ResourceMetadata, request: IncomingMessage, response: ServerResponse): boolean {
  const target = (request as { originalUrl?: string }).originalUrl ?? request.url!
  if (!target.includes(WELL_KNOWN) || !metadata.isAt(pathOf(request, target))) return false
  request.resume()
  const { status, headers, body } = metadata.answer(request.method!)
  response.writeHead(status, headers).end(body)
  return true
}

/** The path of a request. A target that is a whole URL says the host too, in place of the header (RFC 9112, 3.2.2). */
function pathOf(request: IncomingMessage, target = request.url!): string {
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

import type { IncomingMessage, ServerResponse } from 'node:http'
import { ANONYMOUS, type Principal } from '../../define/context.ts'
import type { Body, Exchange, RateLimitFields } from '../../kernel/exchange.ts'
import type { ClientAddress } from './client-address.ts'
import { HttpHead, rateLimitHeaders, SSE_HEADERS, SSE_KEEP_ALIVE, sseEvent, sseRetry } from './head.ts'

/** What an exchange needs of the handler that made it. */
export interface NodeExchangeHost {
  readonly maxBufferedBytes: number
  /** Absent where no proxy is declared. */
  readonly addresses: ClientAddress | undefined
  onSlowReader(): void
  /** Headers that this answer carries besides its own (CORS), or `undefined`. */
  corsHeaders(origin: string | undefined): Readonly<Record<string, string>> | undefined
}

/** Time for a client to read a refusal before its connection is cut. */
const CLOSE_MS = 2000

/** An exchange over `node:http`. */
export class NodeExchange implements Exchange {
  readonly transport = 'http'
  readonly connection = undefined
  /** Set by the handler once it is known. */
  principal: Principal = ANONYMOUS
  readonly head: HttpHead
  rateLimit: RateLimitFields | undefined
  isPrepaid = false
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #host: NodeExchangeHost
  #onDisconnect: (() => void) | undefined
  #isWatched = false
  #address: string | undefined

  constructor(request: IncomingMessage, response: ServerResponse, host: NodeExchangeHost) {
    this.#request = request
    this.#response = response
    this.#host = host
    const headers = request.headers
    this.head = new HttpHead((name) => headers[name] as string | undefined)
  }

  get httpVersion(): string {
    return this.#request.httpVersion
  }
  get address(): string | undefined {
    const { headers, socket } = this.#request
    const { addresses } = this.#host
    if (addresses === undefined) return socket.remoteAddress
    // Joined by Node where the header comes more than once.
    return (this.#address ??= addresses.of(socket.remoteAddress, headers['x-forwarded-for'] as string | undefined))
  }
  get port(): number | undefined {
    const { remoteAddress, remotePort } = this.#request.socket
    return this.#host.addresses === undefined || this.address === remoteAddress ? remotePort : undefined
  }

  get onDisconnect(): (() => void) | undefined {
    return this.#onDisconnect
  }
  /** Watching costs a listener, so it begins when somebody wants to know. */
  set onDisconnect(callback: (() => void) | undefined) {
    this.#onDisconnect = callback
    if (this.#isWatched || callback === undefined) return
    this.#isWatched = true
    const response = this.#response
    // The client may have gone while the kernel was still waiting for a store.
    if (response.destroyed || response.closed) {
      queueMicrotask(() => this.#onDisconnect?.())
      return
    }
    response.on('close', () => {
      if (!response.writableFinished) this.#onDisconnect?.()
    })
    // A reset connection is a disconnection, not a failure of the process.
    response.on('error', () => this.#onDisconnect?.())
  }

  /** The connection will not be used again. */
  closeAfterAnswer(): void {
    this.#response.shouldKeepAlive = false
    this.#response.once('finish', () => {
      // A client that goes on sending without reading must not hold the connection.
      const socket = this.#request.socket
      socket.setTimeout(CLOSE_MS, () => socket.destroy())
    })
  }

  respond(status: number, body: Body | undefined, headers?: Readonly<Record<string, string>>): void {
    const response = this.#response
    if (response.headersSent || response.destroyed) return
    const raw: (string | number)[] = []
    if (body !== undefined) raw.push('content-type', 'application/json')
    if (status !== 204) raw.push('content-length', body === undefined ? 0 : byteLength(body))
    this.#addHeaders(raw, headers)
    response.writeHead(status, raw as string[])
    if (body === undefined || typeof body === 'string') return void response.end(body)
    response.cork()
    for (const part of body) response.write(part)
    response.end()
  }

  openStream(headers?: Readonly<Record<string, string>>): void {
    const response = this.#response
    if (response.headersSent || response.destroyed) return
    const raw = Object.entries(SSE_HEADERS).flat()
    this.#addHeaders(raw, headers)
    response.writeHead(200, raw)
    response.flushHeaders()
  }

  #addHeaders(raw: (string | number)[], headers: Readonly<Record<string, string>> | undefined): void {
    const cors = this.#host.corsHeaders(this.#request.headers.origin)
    if (cors !== undefined) for (const name in cors) raw.push(name, cors[name]!)
    const limits = rateLimitHeaders(this.rateLimit)
    if (limits !== undefined) for (const name in limits) raw.push(name, limits[name]!)
    if (headers !== undefined) for (const name in headers) raw.push(name, headers[name]!)
  }

  writeRequest(message: string): void {
    this.write(message)
  }
  write(message: string, eventId?: string): void {
    this.#send(sseEvent(message, eventId))
  }
  writeRetry(retryMs: number, eventId?: string): void {
    this.#send(sseRetry(retryMs, eventId))
  }
  keepAlive(): void {
    this.#send(SSE_KEEP_ALIVE)
  }

  #send(text: string): void {
    const response = this.#response
    if (response.destroyed || response.writableEnded) return
    // What waited before counts: one message of any size must get through to a reader that reads.
    if (response.writableLength <= this.#host.maxBufferedBytes) return void response.write(text)
    this.#host.onSlowReader()
    response.destroy()
  }

  drained(): Promise<void> | undefined {
    const response = this.#response
    if (!response.writableNeedDrain || response.destroyed) return undefined
    return new Promise((resolve) => {
      const done = (): void => {
        response.off('drain', done)
        response.off('close', done)
        resolve()
      }
      response.on('drain', done)
      response.on('close', done)
    })
  }

  abandon(): void {
    if (this.head.acceptsStream) this.openStream()
    else this.respond(202, undefined)
    this.end()
  }

  end(answer?: string): void {
    if (answer !== undefined) this.write(answer)
    if (!this.#response.writableEnded) this.#response.end()
  }
}

function byteLength(body: Body): number {
  return typeof body === 'string' ? Buffer.byteLength(body) : body.reduce((sum, part) => sum + part.length, 0)
}

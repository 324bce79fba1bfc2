import { createServer, STATUS_CODES, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { awaitContinue } from './continue.ts'
import type { NodeHandler } from './node-handler.ts'

/** Where to listen, and how much of connections to take. */
export interface ServerOptions {
  host: string
  port: number
  /** Bytes of a request's headers. */
  maxHeaderBytes: number
  /** Time for a request's headers to arrive. */
  headersTimeoutMs: number
  /** How long an idle connection is kept. Longer than the 60 s of common balancers, which else hit closing connections. */
  keepAliveTimeoutMs: number
  /** Connections at once; more wait in the kernel's backlog or are refused. */
  maxConnections: number
}

/** Says no to what never became a request; `send` writes the status and the JSON body. */
export type RefuseClient = (error: HoldfastError, send: (status: number, body: string) => void) => void

/** A listening server. */
export interface HttpServer {
  readonly host: string
  readonly port: number
  /** Takes no new connections; open ones end with their request. Resolves when all are closed. */
  close(): Promise<void>
  /** Closes connections that carry no request now. */
  closeIdle(): void
  /** Cuts what is still open. */
  cut(): void
}

/** @throws {HoldfastError} `port_in_use`, `invalid_option` (an address that this machine does not have, or a port it may not take). */
export async function listen(handler: NodeHandler, options: ServerOptions, refuse: RefuseClient): Promise<HttpServer> {
  const server = createServer(
    {
      maxHeaderSize: options.maxHeaderBytes,
      headersTimeout: options.headersTimeoutMs,
      keepAliveTimeout: options.keepAliveTimeoutMs,
      requestTimeout: 0, // the body has a time-out of its own
      connectionsCheckingInterval: 1000,
      // Without it Node keeps the first of two equal headers; joined they are equal to nothing, and are refused.
      joinDuplicateHeaders: true,
    },
    handler,
  )
  server.maxConnections = options.maxConnections
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => refuseClient(error, socket, refuse))
  server.on('checkContinue', (request, response) => {
    awaitContinue(request)
    handler(request, response)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, options)))
    server.listen(options.port, options.host, resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    host: options.host,
    port,
    close: () => close(server),
    closeIdle: () => server.closeIdleConnections(),
    cut: () => server.closeAllConnections(),
  }
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
  })
}

function listenError(error: NodeJS.ErrnoException, { host, port }: ServerOptions): HoldfastError {
  const cause = { cause: error }
  if (error.code === 'EADDRINUSE')
    return new HoldfastError(
      'port_in_use',
      `Port ${port} on ${host} is taken by another process. Choose another with --port or PORT, or stop that process.`,
      cause,
    )
  if (error.code === 'EACCES')
    return new HoldfastError(
      'invalid_option',
      `This user may not listen on port ${port}. Choose one above 1023.`,
      cause,
    )
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND')
    return new HoldfastError(
      'invalid_option',
      `This machine has no address ${JSON.stringify(host)} to listen on. Use 127.0.0.1, 0.0.0.0, or an address of its own.`,
      cause,
    )
  return new HoldfastError('invalid_option', `Can't listen on ${host}:${port} (${error.code ?? error.message}).`, cause)
}

/** What never became a request: answered in the little HTTP that is left to say. */
function refuseClient(error: NodeJS.ErrnoException, socket: Socket, refuse: RefuseClient): void {
  // With an answer under way, ours would land in the middle of it.
  const { _httpMessage: answering } = socket as { _httpMessage?: { headersSent: boolean } | null }
  if (error.code === 'ECONNRESET' || !socket.writable || answering?.headersSent === true) return void socket.destroy()
  const refusal =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? new HoldfastError('headers_too_large', 'The headers are larger than `maxHeaderBytes`.')
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? new HoldfastError('body_too_slow', 'The headers did not arrive within `headersTimeoutMs`.')
        : new HoldfastError('invalid_request', 'This is not an HTTP/1.1 request.')
  refuse(refusal, (status, body) => {
    const head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`
    socket.end(
      `${head}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    )
  })
}

/**
 * One client connection over a raw socket: sends a request, waits for its answer, one at a time.
 *
 * `onread` with one shared buffer skips the readable-stream machinery, which would cost the generator more than
 * parsing does. Sharing is safe: the kernel fills the buffer and the callback empties it in the same turn.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { ResponseParser } from './response-parser.ts'
import type { ResponseHandler, ResponseHead } from './response-parser.ts'

const sharedBuffer = Buffer.allocUnsafeSlow(256 * 1024)

export class Connection {
  readonly #socket: Socket
  readonly #parser: ResponseParser
  /** Whether its end is still to be reported. */
  #open = false

  private constructor(socket: Socket, parser: ResponseParser) {
    this.#socket = socket
    this.#parser = parser
  }

  /**
   * Opens a connection to the loopback.
   *
   * @param handler gets the answers; `onClose` is called once when an open connection ends, with the reason, unless
   *   {@link destroy} came first.
   * @param from address of this end.
   * @throws Error when nobody listens.
   */
  static open(
    port: number,
    handler: ResponseHandler & { onClose(reason: Error | undefined): void },
    from = '127.0.0.1',
  ): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const parser = new ResponseParser(handler)
      const socket = connect({
        port,
        host: '127.0.0.1',
        localAddress: from,
        noDelay: true,
        onread: {
          buffer: sharedBuffer,
          callback: (bytesRead: number): boolean => {
            try {
              parser.push(sharedBuffer, bytesRead)
            } catch (error) {
              socket.destroy(error as Error)
            }
            return true
          },
        },
      })
      const connection = new Connection(socket, parser)
      let failure: Error | undefined
      socket.once('connect', () => {
        connection.#open = true
        resolve(connection)
      })
      socket.on('error', (error) => {
        failure = error
        reject(error)
      })
      socket.on('end', () => {
        try {
          parser.close()
        } catch (error) {
          failure ??= error as Error
        }
      })
      socket.on('close', () => {
        if (!connection.#open) return
        connection.#open = false
        handler.onClose(failure)
      })
    })
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  /** Keeps only the first `bytes` of each body from now on (see {@link ResponseParser.keepBytes}). */
  keepOnly(bytes: number): void {
    this.#parser.keepBytes = bytes
  }

  /** Closes at once; nothing is reported any more. */
  destroy(): void {
    this.#open = false
    this.#socket.destroy()
  }
}

/** An answer that takes longer than this ends an {@link exchange}. */
const exchangeTimeoutMs = 10_000

/**
 * Sends one request on a connection of its own and returns the whole answer.
 *
 * @throws Error when nobody listens, the connection ends without an answer, or none comes within 10 s.
 */
export async function exchange(port: number, bytes: Buffer): Promise<{ head: ResponseHead; body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ head: ResponseHead; body: string }>()
  const timer = setTimeout(() => reject(new Error(`no answer within ${exchangeTimeoutMs} ms`)), exchangeTimeoutMs)
  let connection: Connection | undefined
  try {
    connection = await Connection.open(port, {
      onEnd: (head, body) => resolve({ head, body }),
      onClose: (reason) => reject(reason ?? new Error('connection closed without an answer')),
    })
    connection.send(bytes)
    return await promise
  } finally {
    clearTimeout(timer)
    connection?.destroy()
  }
}

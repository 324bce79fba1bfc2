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
  #closed = false

  private constructor(socket: Socket, parser: ResponseParser) {
    this.#socket = socket
    this.#parser = parser
  }

  /**
   * Opens a connection to the loopback.
   *
   * @param handler gets the answers; `onClose` is called once, with the reason, unless {@link destroy} came first.
   */
  static open(
    port: number,
    handler: ResponseHandler & { onClose(reason: Error | undefined): void },
  ): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const parser = new ResponseParser(handler)
      const socket = connect({
        port,
        host: '127.0.0.1',
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
      socket.once('connect', () => resolve(connection))
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
        if (connection.#closed) return
        connection.#closed = true
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
    this.#closed = true
    this.#socket.destroy()
  }
}

/** Sends one request on a connection of its own and returns the whole answer. */
export function exchange(port: number, bytes: Buffer): Promise<{ head: ResponseHead; body: string }> {
  return new Promise((resolve, reject) => {
    let opened: Connection | undefined
    const handler = {
      onEnd: (head: ResponseHead, body: string) => {
        opened?.destroy()
        resolve({ head, body })
      },
      onClose: (reason: Error | undefined) => reject(reason ?? new Error('connection closed without an answer')),
    }
    Connection.open(port, handler).then((connection) => {
      opened = connection
      connection.send(bytes)
    }, reject)
  })
}

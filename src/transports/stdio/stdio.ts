import { randomUUID } from 'node:crypto'
import type { Readable, Writable } from 'node:stream'
import type { Principal } from '../../define/context.ts'
import { HoldfastError } from '../../errors/holdfast-error.ts'
import { bodyText, type Body, type Connection, type Exchange } from '../../kernel/exchange.ts'
import type { Kernel } from '../../kernel/kernel.ts'

/** Where messages come from and go to: one JSON-RPC message a line (MCP 2026-07-28, stdio). */
export interface StdioStreams {
  readonly input: Readable
  readonly output: Writable
  /** Who is on the other end. */
  readonly principal: Principal
  /** Bytes of one line. */
  readonly maxBodyBytes: number
  /** Bytes that may wait for the reader of the output: beyond them notifications are dropped, and no input is read. */
  readonly maxBufferedBytes: number
  /** A notification was dropped. */
  onDrop(): void
}

const NEWLINE = 0x0a

/** Serves one client on a pair of streams; resolves when the input ends. */
export async function serveStdio(kernel: Kernel, streams: StdioStreams): Promise<void> {
  const { input, output, principal, maxBodyBytes, maxBufferedBytes } = streams
  const send = (text: string): void => void output.write(`${text}\n`)
  // Below its own mark the output gives no sign when it has been read.
  const isFull = (): boolean => output.writableNeedDrain && output.writableLength > maxBufferedBytes
  const onDropped = new Set<() => void>()
  let hasDropped = false
  const notify = (text: string): void => {
    if (!isFull()) return send(text)
    streams.onDrop()
    if (hasDropped) return
    hasDropped = true
    output.once('drain', () => {
      hasDropped = false
      for (const tell of onDropped) tell()
    })
  }
  const connection: Connection = {
    scope: `stdio-${randomUUID()}`,
    transport: 'stdio',
    write: notify,
    onDropped,
    session: undefined,
  }
  // The client has closed its end: what is left to say has no reader.
  output.on('error', () => input.destroy())
  const receive = (line: Buffer): void => {
    if (line.length > 0) kernel.receive(new LineExchange('stdio', connection, principal, send, notify), line)
  }
  let parts: Buffer[] = []
  let length = 0
  let isSkipping = false
  const take = (part: Buffer): void => {
    length += part.length
    if (length <= maxBodyBytes) parts.push(part)
    else if (!isSkipping) {
      isSkipping = true
      parts = []
      kernel.refuse(
        new LineExchange('stdio', connection, principal, send, notify),
        new HoldfastError('body_too_large', `A line is longer than ${maxBodyBytes} bytes.`),
        undefined,
      )
    }
  }
  try {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      let from = 0
      for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
        take(chunk.subarray(from, end))
        if (!isSkipping) receive(trimReturn(parts.length === 1 ? parts[0]! : Buffer.concat(parts)))
        parts = []
        length = 0
        isSkipping = false
        from = end + 1
      }
      take(chunk.subarray(from))
      if (isFull()) await drained(output)
    }
  } catch (error) {
    // The input was ended by the client's going away, which is an end like any other.
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error
  } finally {
    await connection.session?.close()
  }
}

/** Resolves when the output has been read, or has ended. */
function drained(output: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of ['drain', 'close', 'error']) output.off(event, done)
      resolve()
    }
    for (const event of ['drain', 'close', 'error']) output.on(event, done)
  })
}

function trimReturn(line: Buffer): Buffer {
  return line.at(-1) === 0x0d ? line.subarray(0, -1) : line
}

/** An exchange whose answer and notifications are messages on one channel: stdio, and clients in memory. */
export class LineExchange implements Exchange {
  readonly transport: 'stdio' | 'memory'
  readonly connection: Connection
  readonly head = undefined
  readonly principal: Principal
  readonly address = undefined
  readonly port = undefined
  onDisconnect: (() => void) | undefined
  readonly #send: (text: string) => void
  readonly #notify: (text: string) => void

  /** @param notify sends what may be dropped; default: as `send`. */
  constructor(
    transport: 'stdio' | 'memory',
    connection: Connection,
    principal: Principal,
    send: (text: string) => void,
    notify: (text: string) => void = send,
  ) {
    this.transport = transport
    this.connection = connection
    this.principal = principal
    this.#send = send
    this.#notify = notify
  }
  respond(_status: number, body: Body | undefined): void {
    if (body !== undefined) this.#send(bodyText(body))
  }
  openStream(): void {}
  write(message: string): void {
    this.#notify(message)
  }
  writeRequest(message: string): void {
    this.#send(message)
  }
  drained(): undefined {}
  writeRetry(): void {}
  keepAlive(): void {}
  abandon(): void {}
  end(answer?: string): void {
    if (answer !== undefined) this.#send(answer)
  }
}

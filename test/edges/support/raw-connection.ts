import { connect, type Socket } from 'node:net'

/** An HTTP answer as it came over a socket. */
export interface Answer {
  readonly status: number
  /** By lower-case name; repeated ones joined by `, `. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

/**
 * A connection that says exactly the bytes it is given: for requests that no HTTP client would send. Reads answers one by
 * one, also when the peer resets the connection behind them.
 */
export class RawConnection {
  readonly #socket: Socket
  #received: Buffer = Buffer.alloc(0)
  #isClosed = false
  #wake: () => void = () => undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk])
      this.#wake()
    })
    socket.on('end', () => this.#close())
    socket.on('close', () => this.#close())
    // A reset is one of the ways in which a server closes; `isClosed` says so.
    socket.on('error', () => this.#close())
  }

  static open(port: number): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new RawConnection(socket))
      })
    })
  }

  /** Whether the peer has closed its side. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  write(data: string | Buffer): void {
    if (!this.#socket.destroyed) this.#socket.write(data)
  }

  /** Stops to read: what the peer sends from here on piles up on its side. */
  pause(): void {
    this.#socket.pause()
  }
  resume(): void {
    this.#socket.resume()
  }

  /** Goes away without a word. */
  destroy(): void {
    this.#socket.destroy()
  }

  /**
   * The next final answer (1xx ones are kept in {@link interim}).
   * @throws {Error} where none comes in time, or the connection ends before.
   */
  async next(options: { isHead?: boolean; timeoutMs?: number } = {}): Promise<Answer> {
    const { isHead = false, timeoutMs = 5000 } = options
    const deadlineMs = performance.now() + timeoutMs
    for (;;) {
      const parsed = parseAnswer(this.#received, isHead, this.#isClosed)
      if (parsed !== undefined) {
        this.#received = this.#received.subarray(parsed.length)
        if (parsed.answer.status >= 200) return parsed.answer
        this.interim.push(parsed.answer)
        continue
      }
      if (this.#isClosed)
        throw new Error(`The connection ended without an answer: ${this.#received.toString('latin1')}`)
      await this.#changed(deadlineMs, `No answer within ${timeoutMs} ms: ${this.#received.toString('latin1')}`)
    }
  }
  readonly interim: Answer[] = []

  /** What has come and was not taken by {@link next}. */
  get unread(): string {
    return this.#received.toString('latin1')
  }

  /** Resolves when a text has come, wherever it stands. @throws {Error} where it does not in time. */
  async saw(text: string, timeoutMs = 5000): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs
    while (!this.#received.includes(text)) await this.#changed(deadlineMs, `No ${text} within ${timeoutMs} ms.`)
  }

  /** Resolves when the peer has closed. @throws {Error} where it does not in time. */
  async closed(timeoutMs = 5000): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs
    while (!this.#isClosed) await this.#changed(deadlineMs, `The connection was not closed within ${timeoutMs} ms.`)
  }

  #changed(deadlineMs: number, message: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(message)), Math.max(0, deadlineMs - performance.now()))
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
  #close(): void {
    this.#isClosed = true
    this.#wake()
  }
}

function parseAnswer(
  bytes: Buffer,
  isHead: boolean,
  isClosed: boolean,
): { answer: Answer; length: number } | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd === -1) return undefined
  const [statusLine, ...lines] = bytes.subarray(0, headEnd).toString('latin1').split('\r\n')
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine!)?.[1])
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers.set(name, headers.has(name) ? `${headers.get(name)!}, ${value}` : value)
  }
  const start = headEnd + 4
  const done = (body: Buffer, length: number): { answer: Answer; length: number } => ({
    answer: { status, headers, body: body.toString() },
    length,
  })
  if (isHead || status < 200 || status === 204) return done(Buffer.alloc(0), start)
  const declared = headers.get('content-length')
  if (declared !== undefined) {
    const end = start + Number(declared)
    return bytes.length < end ? undefined : done(bytes.subarray(start, end), end)
  }
  if (headers.get('transfer-encoding') === 'chunked') return parseChunks(bytes, start, done)
  return isClosed ? done(bytes.subarray(start), bytes.length) : undefined
}

function parseChunks<T>(bytes: Buffer, start: number, done: (body: Buffer, length: number) => T): T | undefined {
  const chunks: Buffer[] = []
  for (let at = start; ;) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd === -1) return undefined
    const size = Number.parseInt(bytes.subarray(at, lineEnd).toString('latin1'), 16)
    const end = lineEnd + 2 + size + 2
    if (bytes.length < end) return undefined
    if (size === 0) return done(Buffer.concat(chunks), end)
    chunks.push(bytes.subarray(lineEnd + 2, end - 2))
    at = end
  }
}

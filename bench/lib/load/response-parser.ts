/**
 * Incremental HTTP/1.1 response parser of the load generator.
 *
 * It reads what MCP servers answer with: `Content-Length`, `chunked` (SSE included), statuses without a body, and
 * bodies that end with the connection. Text is byte strings (`latin1`, one character a byte): the generator compares
 * ASCII, and pays for no decoding. Heads repeat byte for byte from answer to answer, but for the clock, so the last
 * parsed head is reused while its text stays the same.
 */

/** The status line and headers of one response. */
export interface ResponseHead {
  status: number
  /** Values by lower-case name; repeated headers are joined with a comma. */
  headers: ReadonlyMap<string, string>
}

/** What the parser reports, in order: a head, pieces of the body if asked for, one end. */
export interface ResponseHandler {
  onHead?(head: ResponseHead): void
  /** With this handler, bodies are handed over as they come and not collected: for streams that stay open. */
  onBody?(piece: string): void
  /** The response is complete. `body` is `''` where `onBody` took the pieces. */
  onEnd(head: ResponseHead, body: string): void
}

type State = 'head' | 'fixed' | 'chunk-size' | 'chunk' | 'trailer' | 'until-close'

interface ParsedHead extends ResponseHead {
  state: State
  bodyBytes: number
}

export class ResponseParser {
  readonly #handler: ResponseHandler
  #state: State = 'head'
  #buffer = ''
  #body = ''
  #bytesLeft = 0
  #head: ParsedHead | undefined
  #headText = ''

  constructor(handler: ResponseHandler) {
    this.#handler = handler
  }

  /**
   * Takes the next bytes of the connection, however they were cut.
   *
   * @throws Error when they are not an HTTP/1.1 response.
   */
  push(bytes: string): void {
    this.#buffer = this.#buffer === '' ? bytes : this.#buffer + bytes
    while (this.#buffer !== '' && this.#step()) {
      // Each step consumes one element: a head, a body, a chunk size, a chunk, a trailer line.
    }
  }

  /**
   * The peer closed the connection: completes a body that only the close delimits.
   *
   * @throws Error when a response was cut short.
   */
  close(): void {
    if (this.#state === 'until-close') this.#end()
    else if (this.#state !== 'head' || this.#buffer !== '') {
      throw new Error(`connection closed inside a response (${this.#state}, ${this.#buffer.length} bytes unread)`)
    }
  }

  /** Reads one element; false when the buffer does not hold a whole one yet. */
  #step(): boolean {
    switch (this.#state) {
      case 'head':
        return this.#readHead()
      case 'fixed':
        if (this.#buffer.length < this.#bytesLeft) return false
        this.#takeBody(this.#bytesLeft)
        this.#end()
        return true
      case 'chunk-size':
        return this.#readChunkSize()
      case 'chunk':
        // The chunk and the line end behind it.
        if (this.#buffer.length < this.#bytesLeft + 2) return false
        this.#takeBody(this.#bytesLeft)
        this.#buffer = this.#buffer.slice(2)
        this.#state = 'chunk-size'
        return true
      case 'trailer':
        return this.#readTrailer()
      case 'until-close':
        this.#takeBody(this.#buffer.length)
        return true
    }
  }

  #readHead(): boolean {
    const end = this.#buffer.indexOf('\r\n\r\n')
    if (end < 0) return false
    const text = this.#buffer.slice(0, end)
    if (this.#head === undefined || text !== this.#headText) {
      this.#head = parseHead(text)
      this.#headText = text
    }
    this.#buffer = this.#buffer.slice(end + 4)
    const head = this.#head
    if (head.status < 200) return true
    this.#handler.onHead?.(head)
    this.#state = head.state
    this.#bytesLeft = head.bodyBytes
    if (head.state === 'fixed' && head.bodyBytes === 0) this.#end()
    return true
  }

  #readChunkSize(): boolean {
    const end = this.#buffer.indexOf('\r\n')
    if (end < 0) return false
    const line = this.#buffer.slice(0, end)
    const size = Number.parseInt(line, 16)
    if (!/^[\da-f]+\s*(;|$)/i.test(line)) throw new Error(`bad chunk size ${JSON.stringify(line.slice(0, 40))}`)
    this.#buffer = this.#buffer.slice(end + 2)
    this.#bytesLeft = size
    this.#state = size === 0 ? 'trailer' : 'chunk'
    return true
  }

  #readTrailer(): boolean {
    const end = this.#buffer.indexOf('\r\n')
    if (end < 0) return false
    this.#buffer = this.#buffer.slice(end + 2)
    if (end === 0) this.#end()
    return true
  }

  #takeBody(length: number): void {
    const piece = this.#buffer.slice(0, length)
    this.#buffer = this.#buffer.slice(length)
    if (this.#handler.onBody === undefined) this.#body = this.#body === '' ? piece : this.#body + piece
    else this.#handler.onBody(piece)
  }

  #end(): void {
    const body = this.#body
    this.#body = ''
    this.#state = 'head'
    this.#handler.onEnd(this.#head!, body)
  }
}

function parseHead(text: string): ParsedHead {
  const [statusLine = '', ...lines] = text.split('\r\n')
  const status = Number(/^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(statusLine)?.[1])
  if (Number.isNaN(status)) throw new Error(`not an HTTP/1.1 status line: ${JSON.stringify(statusLine.slice(0, 80))}`)
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    if (colon <= 0) throw new Error(`not an HTTP header: ${JSON.stringify(line.slice(0, 80))}`)
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    const earlier = headers.get(name)
    headers.set(name, earlier === undefined ? value : `${earlier}, ${value}`)
  }
  return { status, headers, ...bodyOf(status, headers) }
}

/** How the body is delimited: RFC 9112 section 6.3, as far as answers to POST and GET need it. */
function bodyOf(status: number, headers: ReadonlyMap<string, string>): { state: State; bodyBytes: number } {
  if (status === 204 || status === 304) return { state: 'fixed', bodyBytes: 0 }
  const encoding = headers.get('transfer-encoding')
  if (encoding !== undefined) {
    if (!/(^|,\s*)chunked$/i.test(encoding))
      throw new Error(`unsupported transfer-encoding ${JSON.stringify(encoding)}`)
    return { state: 'chunk-size', bodyBytes: 0 }
  }
  const length = headers.get('content-length')
  if (length === undefined) return { state: 'until-close', bodyBytes: 0 }
  if (!/^\d+$/.test(length)) throw new Error(`bad content-length ${JSON.stringify(length)}`)
  return { state: 'fixed', bodyBytes: Number(length) }
}

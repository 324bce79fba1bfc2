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
  /**
   * The response is complete.
   *
   * @param body what was kept of it: `''` where `onBody` took the pieces, its beginning where `keepBytes` was less.
   * @param bodyBytes length of the whole body.
   */
  onEnd(head: ResponseHead, body: string, bodyBytes: number): void
}

type State = 'head' | 'fixed' | 'until-close' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailer'

interface ParsedHead extends ResponseHead {
  state: State
  contentLength: number
}

/** A head longer than this is refused. */
const maxHeadBytes = 64 * 1024
/** How much is decoded at a time while looking for the end of a head or a line. */
const lookAheadBytes = 2048

export class ResponseParser {
  /** Bytes of a body that are kept; the rest is counted and skipped, undecoded. */
  keepBytes = Infinity
  readonly #handler: ResponseHandler
  #state: State = 'head'
  /** Beginning of a head or a line whose end has not arrived. */
  #pending = ''
  #body = ''
  #bodyBytes = 0
  /** Bytes to come of the body or the chunk. */
  #bytesLeft = 0
  #head: ParsedHead | undefined
  #headText = ''

  constructor(handler: ResponseHandler) {
    this.#handler = handler
  }

  /**
   * Takes the next bytes of the connection, however they were cut. The buffer may be reused afterwards.
   *
   * @throws Error when they are not an HTTP/1.1 response.
   */
  push(bytes: Buffer, length = bytes.length): void {
    let at = 0
    while (at < length) {
      at = this.#inBody() ? this.#takeBody(bytes, at, length) : this.#takeText(bytes, at, length)
    }
  }

  /**
   * The peer closed the connection: completes a body that only the close delimits.
   *
   * @throws Error when a response was cut short.
   */
  close(): void {
    if (this.#state === 'until-close') this.#end()
    else if (this.#state !== 'head' || this.#pending !== '') {
      throw new Error(`connection closed inside a response (in its ${this.#state}, ${this.#bytesLeft} bytes to come)`)
    }
  }

  #inBody(): boolean {
    return this.#state === 'fixed' || this.#state === 'chunk' || this.#state === 'until-close'
  }

  #takeBody(bytes: Buffer, at: number, length: number): number {
    const end = Math.min(length, at + this.#bytesLeft)
    const kept = Math.min(end, at + this.keepBytes - this.#bodyBytes)
    if (this.#handler.onBody !== undefined) this.#handler.onBody(bytes.toString('latin1', at, end))
    else if (kept > at) {
      const piece = bytes.toString('latin1', at, kept)
      this.#body = this.#body === '' ? piece : this.#body + piece
    }
    this.#bodyBytes += end - at
    this.#bytesLeft -= end - at
    if (this.#bytesLeft === 0) {
      if (this.#state === 'fixed') this.#end()
      else this.#state = 'chunk-end'
    }
    return end
  }

  /** Reads a head or a line, or keeps what there is of it; returns where the next element begins. */
  #takeText(bytes: Buffer, at: number, length: number): number {
    const decodedTo = Math.min(length, at + lookAheadBytes)
    const text = this.#pending + bytes.toString('latin1', at, decodedTo)
    const delimiter = this.#state === 'head' ? '\r\n\r\n' : '\r\n'
    const end = text.indexOf(delimiter)
    if (end < 0) {
      if (text.length > maxHeadBytes) throw new Error(`a ${this.#state} of more than ${maxHeadBytes} bytes`)
      this.#pending = text
      return decodedTo
    }
    const next = at + end + delimiter.length - this.#pending.length
    this.#pending = ''
    this.#onText(text.slice(0, end))
    return next
  }

  #onText(text: string): void {
    switch (this.#state) {
      case 'head':
        this.#onHeadText(text)
        break
      case 'chunk-size': {
        if (!/^[\da-f]+\s*(;|$)/i.test(text)) throw new Error(`bad chunk size ${JSON.stringify(text.slice(0, 40))}`)
        this.#bytesLeft = Number.parseInt(text, 16)
        this.#state = this.#bytesLeft === 0 ? 'trailer' : 'chunk'
        break
      }
      case 'chunk-end':
        if (text !== '') throw new Error(`a chunk is longer than its size: ${JSON.stringify(text.slice(0, 40))}`)
        this.#state = 'chunk-size'
        break
      default:
        // Trailer fields are of no interest; the empty line ends them.
        if (text === '') this.#end()
    }
  }

  #onHeadText(text: string): void {
    if (this.#head === undefined || text !== this.#headText) {
      this.#head = parseHead(text)
      this.#headText = text
    }
    const head = this.#head
    // Interim responses announce the real one.
    if (head.status < 200) return
    this.#handler.onHead?.(head)
    this.#state = head.state
    this.#bytesLeft = head.contentLength
    if (head.state === 'fixed' && head.contentLength === 0) this.#end()
  }

  #end(): void {
    const [body, bodyBytes] = [this.#body, this.#bodyBytes]
    this.#body = ''
    this.#bodyBytes = 0
    this.#state = 'head'
    this.#handler.onEnd(this.#head!, body, bodyBytes)
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
function bodyOf(status: number, headers: ReadonlyMap<string, string>): { state: State; contentLength: number } {
  if (status === 204 || status === 304) return { state: 'fixed', contentLength: 0 }
  const encoding = headers.get('transfer-encoding')
  if (encoding !== undefined) {
    if (!/(^|,\s*)chunked$/i.test(encoding))
      throw new Error(`unsupported transfer-encoding ${JSON.stringify(encoding)}`)
    return { state: 'chunk-size', contentLength: 0 }
  }
  const length = headers.get('content-length')
  if (length === undefined) return { state: 'until-close', contentLength: Infinity }
  if (!/^\d+$/.test(length)) throw new Error(`bad content-length ${JSON.stringify(length)}`)
  return { state: 'fixed', contentLength: Number(length) }
}

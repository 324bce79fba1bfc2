import { bodyText, type Body, type Reply } from '../kernel/exchange.ts'

/**
 * Gathers the answers of a JSON-RPC batch (revision 2025-03-26): one array, or, from the first notification on, a stream
 * with a message each.
 */
export class BatchReply {
  readonly #reply: Reply
  #open: number
  #isStreaming = false
  readonly #bodies: string[] = []

  /** @param size how many requests will be answered. */
  constructor(reply: Reply, size: number) {
    this.#reply = reply
    this.#open = size
  }

  /** The way back for one request of the batch. */
  element(): Reply {
    return {
      respond: (_status, body) => this.#answer(body),
      openStream: () => this.#stream(),
      write: (message) => this.#reply.write(message),
      keepAlive: () => this.#reply.keepAlive(),
      end: () => this.#close(),
      abandon: () => this.#close(),
    }
  }

  #answer(body: Body | undefined): void {
    if (body !== undefined) {
      const text = bodyText(body)
      if (this.#isStreaming) this.#reply.write(text)
      else this.#bodies.push(text)
    }
    this.#close()
  }

  #stream(): void {
    if (this.#isStreaming) return
    this.#isStreaming = true
    this.#reply.openStream()
    for (const body of this.#bodies.splice(0)) this.#reply.write(body)
  }

  #close(): void {
    if (--this.#open > 0) return
    if (this.#isStreaming) this.#reply.end()
    else if (this.#bodies.length === 0) this.#reply.abandon()
    else this.#reply.respond(200, `[${this.#bodies.join(',')}]`)
  }
}

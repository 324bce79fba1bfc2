import { HoldfastError } from '../errors/holdfast-error.ts'
import { bodyText, type Body, type Exchange, type LegacySession, type Reply } from '../kernel/exchange.ts'
import { checkId } from '../kernel/message.ts'
import { isObject, type JsonObject } from '../kernel/protocol.ts'
import type { Services } from '../kernel/services.ts'
import { receiveNotification, serveLegacy } from './legacy.ts'

/**
 * Serves a batch (revision 2025-03-26): each element as if it had come alone, the answers gathered.
 * @param refuse answers for an element that is no message.
 */
export function serveBatch(
  services: Services,
  exchange: Exchange,
  reply: Reply,
  messages: readonly unknown[],
  session: LegacySession | undefined,
  refuse: (reply: Reply, error: unknown, message: unknown) => void,
): void {
  const answered = messages.filter(isAnswered)
  const taken = messages
    .filter((message) => !isAnswered(message))
    .map((message) => take(services, exchange, session, message as JsonObject))
  if (answered.length === 0)
    return void Promise.all(taken).then(
      () => exchange.respond(202, undefined),
      // It may be sent again as a whole: an answer is taken once.
      (error: unknown) => refuse(exchange, error, undefined),
    )
  // The rest of the batch is served all the same; that an answer was lost stands in the log, and the question expires.
  for (const one of taken) one.catch(() => services.telemetry.count('degraded', 'answer'))
  const batch = new BatchReply(reply, answered.length)
  for (const message of answered) {
    const element = batch.element()
    try {
      if (!isObject(message) || message.jsonrpc !== '2.0' || typeof message.method !== 'string')
        throw new HoldfastError('invalid_request', 'An element of the batch is not a JSON-RPC 2.0 message.')
      const { id, method, params = {} } = message
      checkId(id)
      if (method === 'initialize') throw new HoldfastError('invalid_request', '`initialize` may not stand in a batch.')
      if (!isObject(params)) throw new HoldfastError('invalid_request', '`params` must be an object.')
      serveLegacy(services, exchange, element, session, '2025-03-26', id, message.method, params)
    } catch (error) {
      refuse(element, error, message)
    }
  }
}

/** Everything is answered but notifications and responses; what is no message at all is answered with an error. */
function isAnswered(message: unknown): boolean {
  if (!isObject(message) || message.jsonrpc !== '2.0') return true
  return 'method' in message ? 'id' in message : !('result' in message || 'error' in message)
}

/** Notifications, and the client's answers. */
async function take(
  services: Services,
  exchange: Exchange,
  session: LegacySession | undefined,
  message: JsonObject,
): Promise<void> {
  const { method, params } = message
  if (typeof method === 'string')
    return receiveNotification(services, exchange, session, method, isObject(params) ? params : {})
  if (session !== undefined) await services.clientRequests.receive(session.sid, message)
}

/**
 * Gathers the answers of a JSON-RPC batch (revision 2025-03-26): one array, or, from the first notification on, a stream
 * with a message each.
 */
class BatchReply {
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
      writeRequest: (message) => this.#reply.writeRequest(message),
      keepAlive: () => this.#reply.keepAlive(),
      end: (answer) => this.#answer(answer),
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

import type { Notify } from '../define/context.ts'
import { HoldfastError, stateUnavailable } from '../errors/holdfast-error.ts'
import { ERRORS } from '../errors/table.ts'
import { serveBatch } from '../sessions/batch.ts'
import { initialize, receiveNotification, serveLegacy } from '../sessions/legacy.ts'
import { SessionStore, type StoredSession } from '../sessions/session-store.ts'
import { SessionStreams } from '../sessions/session-streams.ts'
import type { Origin } from '../ports/telemetry.ts'
import { callerOf } from './caller.ts'
import type { Exchange, LegacySession, Reply } from './exchange.ts'
import { errorHeaders } from './invocation.ts'
import { parseJson } from './json.ts'
import { keepSubscribed } from './keep-subscribed.ts'
import { CANCEL_CHANNEL } from './keys.ts'
import { checkId, claimOf, isAnswerOrNotification, isId } from './message.ts'
import { draining, unsupported } from './refusals.ts'
import { DISCOVER, isAlwaysTaken, takesSlot } from './methods.ts'
import { serveModern } from './modern.ts'
import { OpenStreams } from './open-streams.ts'
import { isLegacy, isModern, isObject, META, type JsonObject, type LegacyRevision, type RequestId } from './protocol.ts'
import { errorBody, resultBody, type Era } from './rpc.ts'
import type { Services } from './services.ts'
import { StreamLimit } from './stream-limit.ts'

/**
 * The protocol: takes messages from transports, decides which era serves each, and answers. The numbers in comments are
 * those of the rules in `docs/design/protocol-eras.md`; the body decides the era, headers confirm it.
 */
export class Kernel {
  readonly #services: Services
  readonly #sessions: SessionStore
  readonly #streams: SessionStreams
  readonly #openStreams = new OpenStreams()
  readonly #limit: StreamLimit
  #isDraining = false
  #unsubscribeCancel: (() => Promise<void>) | undefined

  constructor(services: Services) {
    this.#services = services
    this.#limit = new StreamLimit(services.options.maxStreamsPerPrincipal)
    this.#sessions = new SessionStore(services)
    this.#streams = new SessionStreams(services, this.#sessions, this.#limit, this.#openStreams, services.inbox)
  }

  /** Subscribes to what other nodes tell this one. */
  async start(): Promise<void> {
    const { bus, cancellable, clock, telemetry } = this.#services
    // A lost cancellation is a call that runs to its end, as the specification allows.
    this.#unsubscribeCancel = await keepSubscribed(
      bus,
      CANCEL_CHANNEL,
      (message) => cancellable.get(Buffer.from(message).toString())?.abandon('cancelled'),
      clock,
      (error) => telemetry.failure(undefined, 'Cancellations of other nodes are not heard yet.', error),
    )
  }

  get notify(): Notify {
    return this.#services.changes.notify
  }
  /** Requests that have not been answered yet. */
  get runningCount(): number {
    return this.#services.running.size
  }
  /** Streams that follow changes now. */
  get openStreamCount(): number {
    return this.#openStreams.size
  }

  /**
   * HTTP, before anything of the body is read: takes a request's cost from the limits. Nothing is returned where that is
   * done at once.
   * @throws {HoldfastError} `rate_limited`, `limits_unavailable`
   */
  admit(exchange: Exchange): undefined | Promise<void> {
    const { limits } = this.#services
    // If the body asks for something else, it is paid for then.
    if (limits === undefined || exchange.head?.mcpMethod === DISCOVER) return undefined
    const charging = limits.chargeRequest(exchange)
    if (charging === undefined) exchange.isPrepaid = true
    return charging?.then(() => {
      exchange.isPrepaid = true
    })
  }

  /**
   * Looks at a request before its body is read, and sheds what would be shed anyway.
   *
   * In 2026-07-28 headers say what it is. In 2025 they do not: a small body is read, since it may be an answer or a
   * cancellation, which free what others wait for; a bigger one is taken for a call.
   *
   * @param bytes what its headers say of its length; `undefined`: nothing.
   * @throws {HoldfastError} `overloaded`
   */
  screen(exchange: Exchange, bytes: number | undefined): void {
    const { admission } = this.#services
    const { mcpMethod, mcpName, protocolVersion } = exchange.head!
    const isKnown = mcpMethod !== undefined && isModern(protocolVersion)
    const tool = isKnown && mcpMethod === 'tools/call' ? mcpName : undefined
    if (!admission.isStrained(tool)) return
    if (isKnown ? !isAlwaysTaken(mcpMethod) : !(bytes! <= MAYBE_ANSWER_BYTES))
      admission.screen(callerOf(exchange), tool, !isKnown || takesSlot(mcpMethod))
  }

  /** A message: the body of a POST, or a line of stdio. Never throws. */
  receive(exchange: Exchange, bytes: Buffer): void {
    let message: unknown
    exchange.bodyBytes = bytes.length
    try {
      message = parseJson(bytes, this.#services.options)
      // Calls that still run may wait for an answer, or be cancelled.
      if (this.#isDraining && !isAnswerOrNotification(message)) throw draining()
      this.#route(exchange, message)
    } catch (error) {
      this.refuse(exchange, error, message)
    }
  }

  /** GET: a stream of a 2025 session (rule 1). */
  openStream(exchange: Exchange): void {
    this.#sessionOperation(exchange, 'GET', async (session) => {
      if (exchange.head?.acceptsStream === false)
        throw new HoldfastError('not_acceptable', 'A GET is answered with text/event-stream: accept it.')
      const { lastEventId } = exchange.head!
      await (lastEventId === undefined
        ? this.#streams.open(exchange, session)
        : this.#streams.resume(exchange, session, lastEventId))
    })
  }

  /** DELETE: ends a 2025 session (rule 1). */
  endSession(exchange: Exchange): void {
    this.#sessionOperation(exchange, 'DELETE', async (session) => {
      await session.end()
      const { clock, telemetry } = this.#services
      const { issuedAtMs, revision } = session.facts
      telemetry.sessionEnded({
        durationSeconds: (clock.now() - issuedAtMs) / 1000,
        protocolVersion: revision,
        transport: 'http',
      })
      exchange.respond(204, undefined)
    })
  }

  #sessionOperation(
    exchange: Exchange,
    method: 'GET' | 'DELETE',
    serve: (session: StoredSession) => Promise<void>,
  ): void {
    const { protocolVersion: version, sessionId } = exchange.head!
    if (this.#isDraining) return this.refuse(exchange, draining(), undefined)
    if (sessionId !== undefined && version !== undefined && !isLegacy(version) && !isModern(version))
      return this.refuse(exchange, unsupported(version), undefined)
    if (sessionId === undefined || isModern(version)) {
      const isDelete = method === 'DELETE' && !isModern(version)
      const error = isDelete
        ? new HoldfastError('session_required', 'DELETE ends the session that Mcp-Session-Id names; there is none.')
        : new HoldfastError(
            'method_not_allowed',
            `${method} is for sessions of the 2025 revisions; send requests with POST.`,
          )
      return this.refuse(exchange, error, undefined)
    }
    this.#sessions
      .open(sessionId, exchange.principal)
      .then(serve)
      .catch((error: unknown) => this.refuse(exchange, error, undefined))
  }

  #route(exchange: Exchange, message: unknown): void {
    const { head } = exchange
    if (Array.isArray(message)) return this.#batch(exchange, message) // 3
    if (!isObject(message) || message.jsonrpc !== '2.0')
      throw new HoldfastError(
        'invalid_request',
        'The body must be a JSON-RPC 2.0 message: an object with `"jsonrpc": "2.0"`.',
      )
    const { id, method } = message
    if (method === undefined && ('result' in message || 'error' in message)) return this.#response(exchange, message) // 4
    if (typeof method !== 'string') throw new HoldfastError('invalid_request', '`method` must be a string.') // 5
    const isNotification = !('id' in message)
    if (!isNotification) checkId(id)
    const params = message.params ?? {}
    if (!isObject(params)) throw new HoldfastError('invalid_request', '`params` must be an object.')
    const claim = claimOf(params)
    const version = head?.protocolVersion
    const sessionId = head?.sessionId
    if (claim !== undefined && !(isLegacy(claim) && sessionId !== undefined)) {
      if (typeof claim !== 'string')
        throw new HoldfastError('invalid_meta', `\`params._meta["${META.protocolVersion}"]\` must be a string.`) // 6
      if (isNotification) return this.#modernNotification(exchange, method, params)
      return serveModern(
        this.#services,
        exchange,
        this.#openStreams,
        this.#limit,
        id as RequestId,
        method,
        params,
        params._meta as JsonObject,
      )
    }
    if (head === undefined) return this.#connectionMessage(exchange, isNotification, id as RequestId, method, params)
    if (method === 'initialize' && !isNotification)
      return initialize(this.#services, exchange, this.#sessions, id as RequestId, params) // 7
    if (version !== undefined && isModern(version)) {
      if (isNotification) return exchange.respond(202, undefined) // 8
      throw new HoldfastError(
        'invalid_meta',
        `Revision ${version} needs \`params._meta["${META.protocolVersion}"]\` and \`params._meta["${META.clientCapabilities}"]\`.`,
      )
    }
    if (version !== undefined && !isLegacy(version)) throw unsupported(version) // 9
    this.#inSession(exchange, sessionId, version, message, (session, revision) => {
      if (isNotification) {
        this.#notification(exchange, session, method, params)
        return exchange.respond(202, undefined)
      }
      const reply = session === undefined ? exchange : this.#streams.replyFor(exchange, session, id as RequestId)
      serveLegacy(this.#services, exchange, reply, session, revision, id as RequestId, method, params)
    }) // 10
  }

  /** Opens the session that a request names, or serves it alone where that is allowed. */
  #inSession(
    exchange: Exchange,
    sessionId: string | undefined,
    version: LegacyRevision | undefined,
    message: unknown,
    serve: (session: StoredSession | undefined, revision: LegacyRevision) => void,
  ): void {
    if (sessionId === undefined) {
      if (this.#services.options.sessions === 'required')
        throw new HoldfastError(
          'session_required',
          'Send `initialize` first, and its Mcp-Session-Id with each request; or use revision 2026-07-28.',
        )
      return serve(undefined, version ?? '2025-03-26')
    }
    this.#sessions
      .open(sessionId, exchange.principal)
      .then((session) => serve(session, session.revision))
      .catch((error: unknown) => this.refuse(exchange, error, message))
  }

  #notification(exchange: Exchange, session: LegacySession | undefined, method: string, params: JsonObject): void {
    receiveNotification(this.#services, exchange, session, method, params)
  }

  #modernNotification(exchange: Exchange, method: string, params: JsonObject): void {
    // Over HTTP a client cancels by closing the stream; the notification is for stdio (MCP 2026-07-28, cancellation).
    this.#notification(exchange, undefined, method, params)
    exchange.respond(202, undefined)
  }

  /** stdio and memory: no headers, and one session at most. */
  #connectionMessage(
    exchange: Exchange,
    isNotification: boolean,
    id: RequestId,
    method: string,
    params: JsonObject,
  ): void {
    const connection = exchange.connection!
    if (isNotification) {
      this.#notification(exchange, connection.session, method, params)
      return exchange.respond(202, undefined)
    }
    if (method === 'initialize') return initialize(this.#services, exchange, this.#sessions, id, params)
    const { session } = connection
    if (session === undefined) {
      if (method === 'ping') return exchange.respond(200, resultBody(id, '{}'))
      throw new HoldfastError(
        'invalid_meta',
        `Send \`params._meta["${META.protocolVersion}"]\` and \`params._meta["${META.clientCapabilities}"]\`, or \`initialize\` first.`,
      )
    }
    serveLegacy(this.#services, exchange, exchange, session, session.revision, id, method, params)
  }

  /** A client's answer to a request of ours (2025 revisions). */
  #response(exchange: Exchange, message: JsonObject): void {
    const { head, connection } = exchange
    const { clientRequests } = this.#services
    const take = (session: LegacySession | undefined): Promise<void> =>
      (session === undefined ? Promise.resolve() : clientRequests.receive(session.sid, message)).then(
        () => exchange.respond(202, undefined),
        (error: unknown) => this.refuse(exchange, error, undefined),
      )
    if (head === undefined) return void take(connection?.session)
    const { protocolVersion: version, sessionId } = head
    if (sessionId === undefined || !(version === undefined || isLegacy(version)))
      throw new HoldfastError(
        'invalid_request',
        'A response belongs to a session of the 2025 revisions; this request names none.',
      )
    this.#inSession(exchange, sessionId, undefined, undefined, (session) => void take(session))
  }

  #batch(exchange: Exchange, messages: readonly unknown[]): void {
    const { head, connection } = exchange
    const version = head?.protocolVersion
    if (
      (version !== undefined && !isLegacy(version)) ||
      messages.some((message) => isObject(message) && claimOf(message.params) !== undefined)
    )
      throw new HoldfastError('invalid_request', 'Batches exist in revision 2025-03-26 alone.')
    if (messages.length === 0) throw new HoldfastError('invalid_request', 'The batch is empty.')
    const { maxBatch } = this.#services.options
    if (messages.length > maxBatch)
      throw new HoldfastError('batch_too_large', `The batch has ${messages.length} messages; ${maxBatch} are allowed.`)
    exchange.bodyBytes! /= messages.length
    const serve = (session: LegacySession | undefined, revision: LegacyRevision): void => {
      if (revision !== '2025-03-26')
        throw new HoldfastError(
          'invalid_request',
          `Batches exist in revision 2025-03-26 alone; this session is of ${revision}.`,
        )
      const isStored = session !== undefined && head !== undefined
      serveBatch(
        this.#services,
        exchange,
        isStored ? this.#streams.replyFor(exchange, session as StoredSession, undefined) : exchange,
        messages,
        session,
        (reply, error, message) => this.#answerError(reply, error, message, 'legacy', exchange),
      )
    }
    if (head === undefined) serve(connection?.session, connection?.session?.revision ?? '2025-11-25')
    else this.#inSession(exchange, head.sessionId, version, undefined, serve)
  }

  /** Answers with an error that comes before any method is served. */
  refuse(exchange: Refusable, error: unknown, message: unknown): void {
    const era: Era =
      isObject(message) && claimOf(message.params) === undefined && isLegacy(exchange.head?.protocolVersion)
        ? 'legacy'
        : 'modern'
    this.#answerError(exchange, error, message, era, exchange)
  }

  #answerError(reply: Pick<Reply, 'respond'>, error: unknown, message: unknown, era: Era, from: Origin): void {
    const { telemetry } = this.#services
    const requestId = this.#services.nextRequestId()
    let told: HoldfastError
    if (error instanceof HoldfastError && ERRORS[error.code].kind === 'wire') told = error
    else if (error instanceof HoldfastError && error.code === 'backend_failed') {
      telemetry.failure(undefined, `A message could not be served (request ${requestId}).`, error)
      told = stateUnavailable()
    } else {
      telemetry.failure(undefined, `A message could not be served (request ${requestId}).`, error)
      told = new HoldfastError('internal_error', `The server failed (request ${requestId}).`)
    }
    const { http } = ERRORS[told.code]
    // Before a method is served, an error is one of the exchange: a status of 200 would hide it.
    const status = told.code === 'internal_error' ? 500 : http === 200 ? 400 : http
    telemetry.refused(requestId, told.code, status, from)
    const headers = {
      ...errorHeaders(told),
      ...(told.code === 'method_not_allowed' ? { allow: 'POST, GET, DELETE, OPTIONS' } : {}),
    }
    const id = isObject(message) && isId(message.id) && 'method' in message ? message.id : undefined
    reply.respond(status, errorBody(told, id, requestId, era), headers)
  }

  /** Ends the streams in order, and takes no new requests. */
  shutdown(): void {
    this.#isDraining = true
    this.#openStreams.shutdown()
    for (const { onDrain } of this.#services.running) onDrain?.()
  }
  /** Tells every handler that still runs to stop. */
  stopRunning(): void {
    const reason = new HoldfastError('draining', 'The server is stopping.')
    for (const invocation of this.#services.running) invocation.stop(reason)
  }

  async close(): Promise<void> {
    this.shutdown()
    this.stopRunning()
    this.#services.ticker.close()
    this.#services.admission.close()
    await this.#unsubscribeCancel?.()
    await this.#services.inbox.close()
    await this.#services.changes.close()
  }
}

/** A body of 2025 up to this size may be an answer of the client's. */
const MAYBE_ANSWER_BYTES = 64 * 1024

/** Where a refusal can go. */
export type Refusable = Pick<Exchange, 'respond'> & Partial<Pick<Exchange, 'head' | 'transport' | 'address'>>

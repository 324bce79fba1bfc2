import { quote } from '../define/names.ts'
import { HoldfastError, retrySoonMs, stateUnavailable } from '../errors/holdfast-error.ts'
import type { Invocation } from '../kernel/invocation.ts'
import { answerKey, inboxChannel, sessionKey } from '../kernel/keys.ts'
import { isObject, OWN_META, type JsonObject } from '../kernel/protocol.ts'
import type { ClientRequest } from '../kernel/question.ts'
import { notificationBody } from '../kernel/rpc.ts'
import type { Services } from '../kernel/services.ts'
import type { Ticking } from '../kernel/ticker.ts'
import type { NodeInbox } from './node-inbox.ts'
import { isEnded } from './session-store.ts'

const LOOK_EVERY_MS = 2_000
/** Handlers on one node that wait for their client; they hold memory, but no slot. */
const MAX_WAITING = 10_000
const PREFIX = 'answer:'

/** What an id of ours says to the node that its answer reaches: who waits, and until when, by the wall clock. */
type SealedId = [nodeId: string, expiresMs: number]
/** An id opens only in the session that was asked. */
const idPurpose = (sid: string): string => `client-request ${sid}`

type AskingServices = Pick<Services, 'bus' | 'clock' | 'keys' | 'options' | 'state' | 'telemetry' | 'ticker' | 'nodeId'>

/** A request that waits for its answer. */
interface Waiting {
  readonly invocation: Invocation
  readonly id: string
  readonly request: ClientRequest
  readonly expiresMs: number
  /** Answers may come through other nodes: over HTTP, where each message may reach any of them. */
  readonly isShared: boolean
  resolve(answer: unknown): void
  reject(error: unknown): void
}

/**
 * Requests to clients of 2025 sessions (`elicitation/create`, `sampling/createMessage`, `roots/list`), sent on the stream of
 * the call that asks. The id of a request is a seal that names the node that waits, so a node that receives the answer stores
 * it, and tells that one: an answer is accepted once, whichever node it comes to. Ids that no node made are dropped, so that
 * nobody fills the store with answers to nothing.
 *
 * The waiting node also looks by itself every few seconds, so that a lost word delays an answer and loses none. An answer for
 * a node that is gone expires in the store; the resumed stream of the call says that the call was lost.
 */
export class ClientRequests implements Ticking {
  readonly #services: AskingServices
  readonly #inbox: NodeInbox
  /** By the key of the answer. */
  readonly #waiting = new Map<string, Waiting>()
  #lookedMs = 0
  /** Answers may wait in a store that could not be read: looked for again at the next tick. */
  #isBehind = false
  #isLooking = false

  constructor(services: AskingServices, inbox: NodeInbox) {
    this.#services = services
    this.#inbox = inbox
    inbox.on(
      PREFIX,
      (key) => this.#look([key]),
      () => this.#look(this.#shared()),
    )
  }

  /**
   * Asks, and waits for the answer as it comes. A form or page that nobody answers in `questionTtlMs` is as good as cancelled.
   * @throws {HoldfastError} `client_refused` for an error as answer, or none in time; `handler_aborted` when the call ends.
   */
  async ask(invocation: Invocation, name: string, request: ClientRequest): Promise<{ id: string; answer: unknown }> {
    const { clock, keys, nodeId, options, telemetry, ticker } = this.#services
    const { sid } = invocation.facts.session!
    const sealed: SealedId = [nodeId, clock.now() + options.questionTtlMs]
    const id = keys.seal(Buffer.from(JSON.stringify(sealed)), idPurpose(sid))
    const key = answerKey(sid, id)
    const isShared = invocation.exchange.head !== undefined
    // Listen first, then ask: the answer may come at once.
    if (isShared) await this.#inbox.ready().catch(() => telemetry.count('degraded', 'inbox'))
    else await Promise.resolve() // the handler has its slot once it has returned its promise
    const { signal, hold } = invocation
    signal.throwIfAborted()
    if (this.#waiting.size >= MAX_WAITING)
      throw new HoldfastError('overloaded', `${MAX_WAITING} questions wait for answers on this node.`, {
        data: { retryAfterMs: retrySoonMs() },
      })
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const expiresMs = clock.monotonic() + options.questionTtlMs
    this.#waiting.set(key, { invocation, id, request, expiresMs, isShared, resolve, reject })
    ticker.add(this)
    telemetry.count('questions', request.method)
    const onAbort = (): void => reject(signal.reason)
    signal.addEventListener('abort', onAbort)
    try {
      const params = {
        ...request.params,
        ...(request.params.mode === 'url' ? { elicitationId: id } : {}),
        _meta: { [OWN_META.question]: name },
      }
      if (!invocation.sendRequest(JSON.stringify({ jsonrpc: '2.0', id, method: request.method, params })))
        throw new HoldfastError('client_refused', 'The client takes no stream on which it could be asked.')
      hold?.rest()
      try {
        return { id, answer: await promise }
      } finally {
        hold?.resume()
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#forget(key)
    }
  }

  /** Takes a client's answer, at whichever node it arrives. What answers nothing is dropped. */
  async receive(sid: string, message: JsonObject): Promise<void> {
    const { id } = message
    if (typeof id !== 'string') return
    const key = answerKey(sid, id)
    const waiting = this.#waiting.get(key)
    if (waiting !== undefined) return settle(waiting, message)
    const { state, bus, clock, keys, telemetry } = this.#services
    const plain = keys.open(id, idPurpose(sid))
    if (plain === undefined) return telemetry.count('late_answers', 'unknown')
    const [nodeId, expiresMs] = JSON.parse(plain.toString()) as SealedId
    const ttlMs = expiresMs - clock.now()
    if (nodeId === this.#services.nodeId || ttlMs <= 0) return telemetry.count('late_answers', 'late')
    const { result, error } = message
    const bytes = Buffer.from(JSON.stringify(error === undefined ? { result } : { error }))
    let isFirst: boolean
    try {
      isFirst = await state.set(key, bytes, { ttlMs, onlyIf: 'absent' })
    } catch (cause) {
      telemetry.failure(undefined, 'The answer of a client could not be stored.', cause)
      throw stateUnavailable()
    }
    if (!isFirst) return telemetry.count('late_answers', 'repeated')
    // A word that is lost: the waiting node looks by itself.
    await bus.publish(inboxChannel(nodeId), Buffer.from(key)).catch(() => telemetry.count('degraded', 'answer'))
  }

  tick(nowMs: number): void {
    for (const [key, waiting] of this.#waiting) {
      if (waiting.invocation.isDone) this.#forget(key)
      else if (nowMs > waiting.expiresMs) expire(waiting)
    }
    if (this.#isLooking || (!this.#isBehind && nowMs - this.#lookedMs < LOOK_EVERY_MS)) return
    this.#lookedMs = nowMs
    const shared = this.#shared()
    this.#look(shared)
    this.#endWithSessions(shared)
  }

  /** Nobody can answer in a session that was ended, at whichever node: the calls that ask there have nothing to wait for. */
  #endWithSessions(keys: readonly string[]): void {
    if (keys.length === 0) return
    const calls = Map.groupBy(
      keys.map((key) => this.#waiting.get(key)!.invocation),
      ({ facts }) => facts.session!.sid,
    )
    const end = async (): Promise<void> => {
      const sids = [...calls.keys()]
      const records = await this.#services.state.getMany(sids.map(sessionKey))
      for (const [index, record] of records.entries())
        if (isEnded(record)) for (const call of calls.get(sids[index]!)!) call.abandon('cancelled')
    }
    end().catch(() => this.#services.telemetry.count('degraded', 'session_record'))
  }

  #shared(): string[] {
    return [...this.#waiting].flatMap(([key, { isShared }]) => (isShared ? [key] : []))
  }

  #look(keys: readonly string[]): void {
    const open = keys.filter((key) => this.#waiting.has(key))
    if (open.length === 0) return
    this.#isLooking = true
    this.#read(open)
      .then(() => (this.#isBehind = false))
      .catch((error: unknown) => {
        const { telemetry } = this.#services
        telemetry.count('degraded', 'answer')
        if (!this.#isBehind) telemetry.failure(undefined, 'The answers of clients could not be read.', error)
        this.#isBehind = true
      })
      .finally(() => (this.#isLooking = false))
  }

  async #read(keys: readonly string[]): Promise<void> {
    const values = await this.#services.state.getMany(keys)
    for (const [index, bytes] of values.entries()) {
      const waiting = this.#waiting.get(keys[index]!)
      if (bytes !== undefined && waiting !== undefined)
        settle(waiting, JSON.parse(Buffer.from(bytes).toString()) as JsonObject)
    }
  }

  #forget(key: string): void {
    this.#waiting.delete(key)
    if (this.#waiting.size === 0) this.#services.ticker.delete(this)
  }
}

function settle(waiting: Waiting, { result, error }: JsonObject): void {
  if (error === undefined) return waiting.resolve(result)
  const message = isObject(error) ? error.message : undefined
  waiting.reject(
    new HoldfastError(
      'client_refused',
      `The client answered ${waiting.request.method} with an error: ${quote(message)}.`,
    ),
  )
}

function expire({ invocation, id, request, resolve, reject }: Waiting): void {
  invocation.emit(notificationBody('notifications/cancelled', { requestId: id, reason: 'The question has expired.' }))
  if (request.method === 'elicitation/create') resolve({ action: 'cancel' })
  else reject(new HoldfastError('client_refused', `The client did not answer ${request.method} in time.`))
}

/** Tells the client that the page of an accepted question is done with (2025-11-25, elicitation, "Completion Notifications"). */
export function tellUrlComplete(invocation: Invocation, elicitationId: string): void {
  invocation.emit(notificationBody('notifications/elicitation/complete', { elicitationId }))
}

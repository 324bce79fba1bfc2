import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Exchange, Reply } from '../kernel/exchange.ts'
import { inboxChannel, presenceKey, streamKey } from '../kernel/keys.ts'
import type { OpenStreams } from '../kernel/open-streams.ts'
import type { RequestId } from '../kernel/protocol.ts'
import type { Services } from '../kernel/services.ts'
import type { StreamLimit } from '../kernel/stream-limit.ts'
import type { Ticking } from '../kernel/ticker.ts'
import type { NodeInbox } from './node-inbox.ts'
import { RemoteStream, UNKNOWN_STREAM } from './remote-stream.ts'
import { LOG_BOUNDS, ResumableStream } from './resumable-stream.ts'
import { SessionReply } from './session-reply.ts'
import type { SessionStore, StoredSession } from './session-store.ts'
import { StandAloneStream } from './stand-alone-stream.ts'
import { takeOver } from './take-over.ts'
import { WaitingCalls } from './waiting-calls.ts'

const PRESENCE_TTL_MS = 15_000
const PRESENCE_EVERY_MS = 5_000
/** Streams of sessions on one node, beyond which those without a client are left. */
const MAX_LIVE = 20_000

/**
 * The streams of 2025 sessions that this node runs: those of calls (`p.…`), and the stand-alone GET streams (`g.…`).
 *
 * A stream's id says which node runs it, and which request it answers; so any node that is asked to resume it knows whom to
 * tell, and what to end it with if that node is gone.
 */
export class SessionStreams implements Ticking {
  readonly #services: Services
  readonly #sessions: SessionStore
  readonly #limit: StreamLimit
  readonly #openStreams: OpenStreams
  readonly #inbox: NodeInbox
  readonly #waiting: WaitingCalls
  readonly #live = new Map<string, ResumableStream>()
  #counter = 0
  #presentMs = -Infinity
  #renewedMs = 0

  constructor(
    services: Services,
    sessions: SessionStore,
    limit: StreamLimit,
    openStreams: OpenStreams,
    inbox: NodeInbox,
  ) {
    this.#services = services
    this.#inbox = inbox
    this.#waiting = new WaitingCalls(services)
    inbox.on(
      'stream:',
      (key) => this.#onFollowed(key),
      () => undefined, // a resumer that was not heard looks into the log by itself
    )
    this.#sessions = sessions
    this.#limit = limit
    this.#openStreams = openStreams
  }

  /** The way back for a request of a session: its stream, if it becomes one, can be resumed. */
  replyFor(exchange: Exchange, session: StoredSession, rpcId: RequestId | undefined): Reply {
    let id: string | undefined
    const streamId = (): string =>
      (id ??= `p.${this.#services.nodeId}.${(++this.#counter).toString(36)}.${rpcId === undefined ? '' : encodeId(rpcId)}`)
    return new SessionReply(exchange, {
      open: () => {
        const stream = this.#create(session, streamId(), 0)
        stream.open(exchange)
        return stream
      },
      share: (call) => this.#waiting.take(session.sid, streamId(), call),
      onDegraded: () => this.#services.telemetry.count('degraded', 'waiting'),
    })
  }

  /** GET with `Last-Event-ID`: goes on with a stream where the client lost it. */
  async resume(exchange: Exchange, session: StoredSession, lastEventId: string): Promise<void> {
    const dot = lastEventId.lastIndexOf('.')
    const id = lastEventId.slice(0, dot)
    const after = Number(lastEventId.slice(dot + 1))
    const [kind, nodeId, , rpcId] = id.split('.')
    if (dot === -1 || (kind !== 'p' && kind !== 'g') || !Number.isSafeInteger(after) || after < 0 || id.length > 400)
      throw new HoldfastError('invalid_request', 'The header Last-Event-ID is not an id of this server.')
    const key = streamKey(session.sid, id)
    const answers = decodeId(rpcId ?? '')
    const local = this.#live.get(key)
    if (local !== undefined) {
      const giveBack = this.#limit.take(exchange)
      exchange.openStream()
      return local.attach(exchange, after, giveBack)
    }
    if (kind === 'g') return this.#standAlone(exchange, session, id, after)
    const { state, bus, tasks } = this.#services
    const [{ entries, closed }, found] = await Promise.all([
      state.readAfter(key, after, 1),
      this.#waiting.find(session.sid, id),
    ])
    const runner = found?.runner ?? nodeId!
    // Nothing more will come. Clients take a 405 as "there is no stream", and an empty stream as a reason to ask again.
    if (entries.length === 0 && (closed || runner === this.#services.nodeId)) throw streamIsOver()
    const giveBack = this.#limit.take(exchange)
    // Until it is clear who waits for the task, this node does.
    const unattend = found === undefined ? undefined : tasks?.attend(found.call.task)
    const resumed = { exchange, session, id, onDetach: giveBack }
    const remote = new RemoteStream(
      this.#services,
      exchange,
      { id, key, after, answers, runner },
      {
        tellRunner: (node) => bus.publish(inboxChannel(node), Buffer.from(key)),
        takeOver: (last, gone) =>
          takeOver(this.#services, this.#waiting, resumed, last, gone, (from) => this.#create(session, id, from)),
        onEnd(isTakenOver) {
          unattend?.()
          if (!isTakenOver) giveBack()
        },
      },
    )
    try {
      await remote.start()
    } catch (error) {
      unattend?.()
      giveBack()
      throw error
    }
  }

  /** GET without `Last-Event-ID`: the session's stand-alone stream; the newest wins. */
  async open(exchange: Exchange, session: StoredSession): Promise<void> {
    await this.#standAlone(exchange, session, `g.${this.#services.nodeId}.${(++this.#counter).toString(36)}`, undefined)
  }

  async #standAlone(exchange: Exchange, session: StoredSession, id: string, after: number | undefined): Promise<void> {
    let last = 0
    if (after !== undefined) {
      const { entries, closed } = await this.#services.state.readAfter(
        streamKey(session.sid, id),
        after,
        LOG_BOUNDS.maxEntries,
      )
      // A newer stream took its place: its client must not take it back.
      if (closed) throw streamIsOver()
      last = entries.at(-1)?.id ?? after
    }
    const giveBack = this.#limit.take(exchange)
    const stream = this.#create(session, id, last, () => {
      giveBack()
      this.#openStreams.delete(standAlone)
      standAlone.close()
    })
    const standAlone = new StandAloneStream(this.#services, this.#sessions, session, stream)
    this.#openStreams.add(standAlone)
    try {
      await standAlone.start()
    } catch (error) {
      stream.leave() // gives back its place, and all that it had begun to follow
      throw error
    }
    if (after === undefined) standAlone.open(exchange, giveBack)
    else standAlone.takeUp(exchange, after, giveBack)
  }

  #create(session: StoredSession, id: string, last: number, onEnd?: () => void): ResumableStream {
    if (this.#live.size >= MAX_LIVE) this.#leaveOldestDetached()
    const key = streamKey(session.sid, id)
    const stream = new ResumableStream(this.#services, session, id, last, () => {
      this.#live.delete(key)
      if (this.#live.size === 0) this.#services.ticker.delete(this)
      onEnd?.()
    })
    this.#live.set(key, stream)
    this.#services.ticker.add(this)
    this.#announce()
    return stream
  }

  /** A stream that waits for its client makes room for one that has a client; another request may still take it up. */
  #leaveOldestDetached(): void {
    for (const stream of this.#live.values())
      if (stream.detachedMs !== undefined) {
        this.#services.telemetry.count('dropped_notifications', 'too_many_detached_streams')
        return stream.leave()
      }
  }

  /** While this node runs streams, the others can see that it lives, and tell it who follows. */
  tick(nowMs: number): void {
    if (nowMs - this.#presentMs >= PRESENCE_EVERY_MS) this.#announce()
    if (nowMs - this.#renewedMs < this.#services.options.resumeTtlMs / 3) return
    this.#renewedMs = nowMs
    for (const stream of this.#live.values()) stream.renew()
  }
  #announce(): void {
    const { state, nodeId, clock, telemetry } = this.#services
    this.#presentMs = clock.monotonic()
    const onError = (): void => telemetry.count('degraded', 'presence')
    state.set(presenceKey(nodeId), Buffer.of(1), { ttlMs: PRESENCE_TTL_MS }).catch(onError)
    this.#inbox.ready().catch(onError)
  }

  /** A client went on with one of our streams at another node. */
  #onFollowed(key: string): void {
    const { bus, telemetry } = this.#services
    const stream = this.#live.get(key)
    if (stream !== undefined) stream.follow()
    else bus.publish(key, Buffer.of(UNKNOWN_STREAM)).catch(() => telemetry.count('degraded', 'presence'))
  }

  /** Streams of sessions that are open here. */
  get size(): number {
    return this.#live.size
  }
}

const streamIsOver = (): HoldfastError =>
  new HoldfastError('method_not_allowed', 'The stream that Last-Event-ID names is over.')

/** A request id inside a stream id; one too long to carry is left out, and the error that may end the stream has no id. */
function encodeId(rpcId: RequestId): string {
  const text = Buffer.from(JSON.stringify(rpcId)).toString('base64url')
  return text.length > 200 ? '' : text
}
function decodeId(text: string): RequestId | undefined {
  if (text === '') return undefined
  try {
    const id: unknown = JSON.parse(Buffer.from(text, 'base64url').toString())
    if (typeof id === 'string' || typeof id === 'number') return id
  } catch {
    // not JSON: refused below, as any other text that is no id of ours
  }
  throw new HoldfastError('invalid_request', 'The header Last-Event-ID is not an id of this server.')
}

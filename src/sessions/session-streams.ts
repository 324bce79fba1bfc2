import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Unsubscribe } from '../ports/event-bus.ts'
import { changeNotification, type ChangeListener } from '../kernel/changes.ts'
import type { Body, Exchange, Reply } from '../kernel/exchange.ts'
import type { OpenStream } from '../kernel/listen.ts'
import type { RequestId } from '../kernel/protocol.ts'
import { notificationBody } from '../kernel/rpc.ts'
import type { Services } from '../kernel/services.ts'
import type { StreamLimit } from '../kernel/stream-limit.ts'
import type { Ticking } from '../kernel/ticker.ts'
import { RemoteStream, UNKNOWN_STREAM } from './remote-stream.ts'
import { ResumableStream, streamLogKey } from './resumable-stream.ts'
import { sessionChannel, type SessionStore, type StoredSession } from './session-store.ts'

const PRESENCE_TTL_MS = 15_000
const PRESENCE_EVERY_MS = 5_000
const LISTS = new Set(['tools', 'prompts', 'resources'] as const)

export const presenceKey = (nodeId: string): string => `node:${nodeId}`
const inbox = (nodeId: string): string => `inbox:${nodeId}`

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
  readonly #openStreams: Set<OpenStream>
  readonly #live = new Map<string, ResumableStream>()
  #counter = 0
  #presentMs = -Infinity
  #inbox: Promise<Unsubscribe> | undefined

  constructor(services: Services, sessions: SessionStore, limit: StreamLimit, openStreams: Set<OpenStream>) {
    this.#services = services
    this.#sessions = sessions
    this.#limit = limit
    this.#openStreams = openStreams
  }

  /** The way back for a request of a session: its stream, if it becomes one, can be resumed. */
  replyFor(exchange: Exchange, session: StoredSession, rpcId: RequestId | undefined): Reply {
    return new SessionReply(exchange, () => {
      const id = `p.${this.#services.nodeId}.${(++this.#counter).toString(36)}.${rpcId === undefined ? '' : encodeId(rpcId)}`
      const stream = this.#create(session, id, 0)
      stream.open(exchange)
      return stream
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
    const key = streamLogKey(session.sid, id)
    const answers = decodeId(rpcId ?? '')
    const local = this.#live.get(key)
    if (local !== undefined) {
      const giveBack = this.#limit.take(exchange)
      exchange.openStream()
      return local.attach(exchange, after, giveBack)
    }
    if (kind === 'g') return this.#standAlone(exchange, session, id, after)
    const { entries, closed } = await this.#services.state.readAfter(key, after, 1)
    // Nothing more will come. Clients take a 405 as "there is no stream", and an empty stream as a reason to ask again.
    if (entries.length === 0 && (closed || nodeId === this.#services.nodeId)) throw streamIsOver()
    const giveBack = this.#limit.take(exchange)
    const tellRunner = (): Promise<void> => this.#services.bus.publish(inbox(nodeId!), Buffer.from(key))
    await new RemoteStream(
      this.#services,
      exchange,
      { id, key, after, answers, runner: nodeId! },
      tellRunner,
      giveBack,
    ).start()
  }

  /** GET without `Last-Event-ID`: the session's stand-alone stream; the newest wins. */
  async open(exchange: Exchange, session: StoredSession): Promise<void> {
    await this.#standAlone(exchange, session, `g.${this.#services.nodeId}.${(++this.#counter).toString(36)}`, undefined)
  }

  async #standAlone(exchange: Exchange, opened: StoredSession, id: string, after: number | undefined): Promise<void> {
    const services = this.#services
    let session = opened
    let isEnded = false
    let last = 0
    let replay: [message: string, eventId: string][] = []
    if (after !== undefined) {
      // Another node's stream, or one that lingered too long here: what was logged is sent, then this node writes on.
      const { entries, closed } = await services.state.readAfter(streamLogKey(session.sid, id), after, 1000)
      // A newer stream took its place: its client must not take it back.
      if (closed) throw streamIsOver()
      replay = entries.map((entry) => [Buffer.from(entry.value).toString(), `${id}.${entry.id}`])
      last = entries.at(-1)?.id ?? after
    }
    const giveBack = this.#limit.take(exchange)
    const stream = this.#create(session, id, last, () => finish())
    const listen = (): ChangeListener => ({
      lists: LISTS,
      uris: new Set(session.uris),
      onChange: (change) => {
        const { method, params } = changeNotification(change)
        stream.write(notificationBody(method, params))
      },
    })
    let listener = listen()
    const onRecord = async (): Promise<void> => {
      if (isEnded) return
      try {
        session = await this.#sessions.reopen(session)
      } catch {
        return stream.end() // ended by DELETE
      }
      const next = listen()
      const old = listener
      listener = next
      await services.changes.refollow(old, next)
    }
    const guard = (work: Promise<unknown>): void =>
      void work.catch((error: unknown) => services.telemetry.failure(undefined, 'A GET stream failed.', error))
    const unsubscribe = await services.bus.subscribe(
      sessionChannel(session.sid),
      (message) => {
        const text = Buffer.from(message).toString()
        if (text === 'record') guard(onRecord())
        else if (text.startsWith('owner:') && text !== `owner:${id}`) stream.end()
      },
      () => guard(onRecord()),
    )
    const ticking: Ticking = {
      tick: (nowMs) => {
        if (stream.detachedMs !== undefined && nowMs - stream.detachedMs > services.options.resumeTtlMs) stream.leave()
        else stream.keepAliveAt(nowMs)
      },
    }
    const open: OpenStream = {
      shutdown: () => stream.leave(),
    }
    const finish = (): void => {
      if (isEnded) return
      isEnded = true
      giveBack()
      services.ticker.delete(ticking)
      this.#openStreams.delete(open)
      guard(Promise.all([unsubscribe(), services.changes.remove(listener)]))
    }
    await services.changes.add(listener)
    await services.bus.publish(sessionChannel(session.sid), Buffer.from(`owner:${id}`))
    this.#openStreams.add(open)
    services.ticker.add(ticking)
    if (after === undefined) stream.open(exchange)
    else {
      exchange.openStream()
      for (const [message, eventId] of replay) exchange.write(message, eventId)
      stream.attach(exchange, last, () => undefined)
      // While nobody ran the stream, changes went unheard.
      for (const list of LISTS) listener.onChange(list)
    }
  }

  #create(session: StoredSession, id: string, last: number, onEnd?: () => void): ResumableStream {
    const key = streamLogKey(session.sid, id)
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

  /** While this node runs streams, the others can see that it lives, and tell it who follows. */
  tick(nowMs: number): void {
    if (nowMs - this.#presentMs >= PRESENCE_EVERY_MS) this.#announce()
  }
  #announce(): void {
    const { state, bus, nodeId, clock, telemetry } = this.#services
    this.#presentMs = clock.monotonic()
    const onError = (): void => telemetry.count('degraded', 'presence')
    state.set(presenceKey(nodeId), Buffer.of(1), { ttlMs: PRESENCE_TTL_MS }).catch(onError)
    if (this.#inbox === undefined) {
      this.#inbox = bus.subscribe(
        inbox(nodeId),
        (message) => {
          const key = Buffer.from(message).toString()
          const stream = this.#live.get(key)
          if (stream !== undefined) stream.follow()
          else bus.publish(key, Buffer.of(UNKNOWN_STREAM)).catch(onError)
        },
        () => undefined, // a resumer that was not heard looks into the log by itself
      )
      this.#inbox.catch(() => {
        this.#inbox = undefined
        onError()
      })
    }
  }

  /** Streams of sessions that are open here. */
  get size(): number {
    return this.#live.size
  }

  async close(): Promise<void> {
    const unsubscribe = await this.#inbox
    await unsubscribe?.()
  }
}

const streamIsOver = (): HoldfastError =>
  new HoldfastError('method_not_allowed', 'The stream that Last-Event-ID names is over.')

/** Answers directly as long as one body is enough, and through a resumable stream from the first notification on. */
class SessionReply implements Reply {
  readonly #exchange: Exchange
  readonly #open: () => ResumableStream
  #stream: ResumableStream | undefined

  constructor(exchange: Exchange, open: () => ResumableStream) {
    this.#exchange = exchange
    this.#open = open
  }
  respond(status: number, body: Body | undefined, headers?: Readonly<Record<string, string>>): void {
    this.#exchange.respond(status, body, headers)
  }
  openStream(): void {
    this.#stream = this.#open()
  }
  write(message: string): void {
    this.#stream?.write(message)
  }
  keepAlive(): void {
    this.#stream?.keepAlive()
  }
  end(): void {
    this.#stream?.end()
  }
  abandon(): void {
    // Not through a resumable stream: an id would invite the client to come back for an answer that never comes.
    if (this.#stream === undefined) this.#exchange.abandon()
    else this.#stream.end()
  }
  pause(retryMs: number): void {
    this.#stream?.pause(retryMs)
  }
}

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

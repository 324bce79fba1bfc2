import { changeNotification, tellAll, type ChangeListener } from '../kernel/changes.ts'
import type { Exchange } from '../kernel/exchange.ts'
import { sessionKey } from '../kernel/keys.ts'
import type { OpenStream } from '../kernel/open-streams.ts'
import { notificationBody } from '../kernel/rpc.ts'
import type { Services } from '../kernel/services.ts'
import type { Ticking } from '../kernel/ticker.ts'
import type { Unsubscribe } from '../ports/event-bus.ts'
import type { ResumableStream } from './resumable-stream.ts'
import type { SessionStore, StoredSession } from './session-store.ts'

/** After a gap of the bus, streams read their records within this time: all of them have lost it in the same moment. */
const GAP_SPREAD_MS = 2_000
/** Mean time between two attempts to read what could not be read. */
const RETRY_MS = 1_000

/**
 * The stand-alone stream of a 2025 session (GET): carries list changes, and updates of the resources that the session follows.
 *
 * 1. A session has one: who opens a newer one says so on the session's channel, and the older ends.
 * 2. What is followed stands in the session's record; when that changes, on whichever node, the stream follows anew.
 * 3. Without its connection the stream lingers for `resumeTtlMs`, writing on; then it is left for another node to take up.
 */
export class StandAloneStream implements OpenStream, Ticking {
  readonly #services: Services
  readonly #sessions: SessionStore
  readonly #stream: ResumableStream
  #session: StoredSession
  readonly #listener: ChangeListener
  #following: Promise<void> = Promise.resolve()
  /** When to read again what the session follows, by the monotonic clock: it may have changed, or could not be read. */
  #followAtMs: number | undefined
  #unsubscribe: Unsubscribe | undefined
  #isOver = false

  constructor(services: Services, sessions: SessionStore, session: StoredSession, stream: ResumableStream) {
    this.#services = services
    this.#sessions = sessions
    this.#session = session
    this.#stream = stream
    this.#listener = {
      lists: services.catalog.listsOffered,
      uris: new Set(session.uris),
      onChange: (change) => {
        const { method, params } = changeNotification(change)
        stream.write(notificationBody(method, params))
      },
    }
    stream.onLost = () => tellAll(this.#listener)
  }

  /** Begins to follow, and takes the place of an older stream of the session. */
  async start(): Promise<void> {
    const { bus, changes, ticker, nodeId } = this.#services
    const channel = sessionKey(this.#session.sid)
    const own = ownerMessage(this.#stream.id, nodeId)
    this.#unsubscribe = await bus.subscribe(
      channel,
      (message) => {
        const text = Buffer.from(message).toString()
        if (text === 'record') this.#followLater()
        else if (text.startsWith('record:')) this.#followLater(text.replace('record:', 'followed:'))
        else if (text.startsWith(ownerMessage(this.#stream.id, ''))) {
          // The same stream, gone on with at another node: its log stays open.
          if (text !== own) this.#stream.yield()
        } else if (text.startsWith('owner:')) this.#stream.end()
      },
      () => this.#followWithin(GAP_SPREAD_MS),
    )
    await changes.add(this.#listener)
    await this.#tell(own)
    ticker.add(this)
  }

  /** First connection. */
  open(exchange: Exchange, onDetach: () => void): void {
    this.#stream.open(exchange, onDetach)
  }

  /** The connection of a client that had the stream elsewhere, or long ago: gets what was logged after `after`. */
  takeUp(exchange: Exchange, after: number, onDetach: () => void): void {
    exchange.openStream()
    this.#stream.attach(exchange, after, onDetach)
    // While nobody ran the stream, changes went unheard.
    tellAll(this.#listener)
  }

  tick(nowMs: number): void {
    if (this.#followAtMs !== undefined && nowMs >= this.#followAtMs) this.#followLater()
    const { detachedMs } = this.#stream
    if (detachedMs !== undefined && nowMs - detachedMs > this.#services.options.resumeTtlMs) this.#stream.leave()
    else this.#stream.keepAliveAt(nowMs)
  }

  shutdown(): void {
    this.#stream.leave()
  }

  /** The stream has ended, or was left. */
  close(): void {
    this.#isOver = true
    this.#services.ticker.delete(this)
    this.#guard(Promise.all([this.#unsubscribe?.(), this.#services.changes.remove(this.#listener)]))
  }

  #followWithin(ms: number): void {
    this.#followAtMs = this.#services.clock.monotonic() + ms * Math.random()
  }

  /** One after the other: the record that was read last is the one that counts. `answer` is published when it is followed. */
  #followLater(answer?: string): void {
    this.#followAtMs = undefined
    this.#following = this.#following
      .then(() => this.#followAnew())
      .then(() => (answer === undefined ? undefined : this.#tell(answer)))
      .catch(() => {
        this.#followWithin(2 * RETRY_MS)
        this.#services.telemetry.count('degraded', 'session_record')
      })
  }

  async #followAnew(): Promise<void> {
    if (this.#isOver) return
    const session = await this.#sessions.reopen(this.#session)
    if (session === undefined) return this.#stream.end() // ended by DELETE
    this.#session = session
    const { changes } = this.#services
    await changes.follow(this.#listener, new Set(session.uris))
    if (this.#isOver) await changes.remove(this.#listener)
  }

  #tell(text: string): Promise<void> {
    return this.#services.bus.publish(sessionKey(this.#session.sid), Buffer.from(text))
  }

  #guard(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#services.telemetry.failure(undefined, 'A GET stream failed.', error))
  }
}

/** Who runs a session's stand-alone stream, as the others are told. */
const ownerMessage = (streamId: string, nodeId: string): string => `owner:${streamId}@${nodeId}`

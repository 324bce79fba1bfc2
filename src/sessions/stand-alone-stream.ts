import { changeNotification, type ChangeListener } from '../kernel/changes.ts'
import type { Exchange } from '../kernel/exchange.ts'
import { sessionKey } from '../kernel/keys.ts'
import type { OpenStream } from '../kernel/open-streams.ts'
import { notificationBody } from '../kernel/rpc.ts'
import type { Services } from '../kernel/services.ts'
import type { Ticking } from '../kernel/ticker.ts'
import type { Unsubscribe } from '../ports/event-bus.ts'
import type { ResumableStream } from './resumable-stream.ts'
import type { SessionStore, StoredSession } from './session-store.ts'

const LISTS = new Set(['tools', 'prompts', 'resources'] as const)

/**
 * The stand-alone stream of a 2025 session (GET): carries list changes, and updates of the resources that the session follows.
 *
 * 1. A session has one: who opens a newer one says so on the session's channel, and the older ends.
 * 2. What is followed stands in the session's record; when that changes, on whichever node, the stream follows anew. While
 *    the record can't be read, it follows what it did, and looks again at every tick.
 * 3. Without its connection the stream lingers for `resumeTtlMs`, writing on; then it is left for another node to take up.
 */
export class StandAloneStream implements OpenStream, Ticking {
  readonly #services: Services
  readonly #sessions: SessionStore
  readonly #stream: ResumableStream
  #session: StoredSession
  #listener: ChangeListener
  #unsubscribe: Unsubscribe | undefined
  #isOver = false
  /** The record may have changed since it was read. */
  #isStale = false

  constructor(services: Services, sessions: SessionStore, session: StoredSession, stream: ResumableStream) {
    this.#services = services
    this.#sessions = sessions
    this.#session = session
    this.#stream = stream
    this.#listener = this.#listen()
  }

  /** Begins to follow, and takes the place of an older stream of the session. */
  async start(): Promise<void> {
    const { bus, changes, ticker } = this.#services
    const channel = sessionKey(this.#session.sid)
    const own = `owner:${this.#stream.id}`
    this.#unsubscribe = await bus.subscribe(
      channel,
      (message) => {
        const text = Buffer.from(message).toString()
        if (text === 'record') this.#guard(this.#followAnew())
        else if (text.startsWith('owner:') && text !== own) this.#stream.end()
      },
      () => this.#guard(this.#followAnew()),
    )
    await changes.add(this.#listener)
    await bus.publish(channel, Buffer.from(own))
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
    for (const list of LISTS) this.#listener.onChange(list)
  }

  tick(nowMs: number): void {
    const { detachedMs } = this.#stream
    if (detachedMs !== undefined && nowMs - detachedMs > this.#services.options.resumeTtlMs) this.#stream.leave()
    else this.#stream.keepAliveAt(nowMs)
    if (this.#isStale) this.#guard(this.#followAnew())
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

  #listen(): ChangeListener {
    return {
      lists: LISTS,
      uris: new Set(this.#session.uris),
      onChange: (change) => {
        const { method, params } = changeNotification(change)
        this.#stream.write(notificationBody(method, params))
      },
    }
  }

  async #followAnew(): Promise<void> {
    if (this.#isOver) return
    this.#isStale = false
    let session: StoredSession | undefined
    try {
      session = await this.#sessions.reopen(this.#session)
    } catch {
      this.#services.telemetry.count('degraded', 'session_record')
      this.#isStale = true
      return
    }
    if (session === undefined) return this.#stream.end() // ended by DELETE
    this.#session = session
    const old = this.#listener
    this.#listener = this.#listen()
    await this.#services.changes.refollow(old, this.#listener)
  }

  #guard(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#services.telemetry.failure(undefined, 'A GET stream failed.', error))
  }
}

import type { Client, Principal } from '../define/context.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { LegacySession } from '../kernel/exchange.ts'
import type { JsonObject, LegacyRevision } from '../kernel/protocol.ts'
import { sessionKey } from '../kernel/keys.ts'
import { ownerOf } from '../kernel/owner.ts'
import type { Services } from '../kernel/services.ts'
import { SealedSessions, type SessionFacts } from './sealed-id.ts'

/** What nodes share of a session: almost nothing. One small key, absent until something is set. */
interface Record {
  /** The session was ended by DELETE. */
  ended?: true
  logLevel?: number
  uris?: string[]
}

/** Level before `logging/setLevel`: servers may choose (2025-11-25, logging); `info` and up is sent. */
const DEFAULT_LOG_LEVEL = 1

/** Longest wait for the session's stream to follow what was subscribed to. */
const FOLLOW_MS = 250

/** A session as one request sees it. */
export class StoredSession implements LegacySession {
  readonly facts: SessionFacts
  readonly client: Client
  readonly #services: Services
  readonly #record: Record

  constructor(services: Services, facts: SessionFacts, record: Record) {
    this.#services = services
    this.facts = facts
    this.#record = record
    this.client = {
      name: facts.clientName,
      version: facts.clientVersion,
      protocolVersion: facts.revision,
      capabilities: facts.capabilities,
    }
  }
  get sid(): string {
    return this.facts.sid
  }
  get revision(): LegacyRevision {
    return this.facts.revision
  }
  get logLevel(): number {
    return this.#record.logLevel ?? DEFAULT_LOG_LEVEL
  }
  get uris(): readonly string[] {
    return this.#record.uris ?? []
  }
  get ttlMs(): number {
    return Math.max(1, this.facts.issuedAtMs + this.#services.options.sessionTtlMs - this.#services.clock.now())
  }

  setLogLevel(level: number): Promise<void> {
    return this.#update((record) => ({ ...record, logLevel: level }))
  }
  async subscribe(uri: string): Promise<void> {
    const { maxSubscriptions } = this.#services.options
    await this.#store((record) => {
      const uris = new Set(record.uris).add(uri)
      if (uris.size > maxSubscriptions)
        throw new HoldfastError(
          'invalid_params',
          `A session may follow ${maxSubscriptions} resources; unsubscribe from one first.`,
        )
      return { ...record, uris: [...uris] }
    })
    await this.#tellAndWait()
  }
  async unsubscribe(uri: string): Promise<void> {
    await this.#store((record) => ({ ...record, uris: (record.uris ?? []).filter((other) => other !== uri) }))
    await this.#tellAndWait()
  }
  end(): Promise<void> {
    return this.#update(() => ({ ended: true }))
  }
  async close(): Promise<void> {}

  async #update(change: (record: Record) => Record): Promise<void> {
    await this.#store(change)
    await this.#services.bus.publish(sessionKey(this.sid), Buffer.from('record'))
  }

  /**
   * Tells the session's stream, wherever it runs, to read the record, and waits for its word that it follows what stands
   * there: a change right after the answer to `resources/subscribe` is to be heard. Without a stream no word comes.
   */
  async #tellAndWait(): Promise<void> {
    const { bus, clock, telemetry, nextRequestId } = this.#services
    const channel = sessionKey(this.sid)
    const token = nextRequestId()
    const followed = new AbortController()
    const onMessage = (message: Uint8Array): void => {
      if (Buffer.from(message).toString() === `followed:${token}`) followed.abort()
    }
    try {
      const unsubscribe = await bus.subscribe(channel, onMessage, () => undefined)
      await bus.publish(channel, Buffer.from(`record:${token}`))
      await clock.sleep(FOLLOW_MS, followed.signal).catch(() => undefined) // its word has come
      await unsubscribe()
    } catch {
      // It is stored, and the stream reads it when the bus is back.
      telemetry.count('degraded', 'session_record')
    }
  }

  async #store(change: (record: Record) => Record): Promise<void> {
    const { state } = this.#services
    const key = sessionKey(this.sid)
    for (;;) {
      const [before] = await state.getMany([key])
      const record = before === undefined ? {} : (JSON.parse(Buffer.from(before).toString()) as Record)
      if (record.ended === true) throw sessionNotFound()
      const after = Buffer.from(JSON.stringify(change(record)))
      if (await state.compareAndSet(key, before, after, { ttlMs: this.ttlMs })) return
    }
  }
}

/** Whether a session's record, as it lies in the store, says that the session was ended. */
export const isEnded = (record: Uint8Array | undefined): boolean =>
  record !== undefined && (JSON.parse(Buffer.from(record).toString()) as Record).ended === true

const sessionNotFound = (): HoldfastError =>
  new HoldfastError(
    'session_not_found',
    'This session does not exist, was ended, or is not yours. Send `initialize` again.',
  )

/** Opens sessions: from the sealed id, and one small read. */
export class SessionStore {
  readonly #services: Services
  readonly #sealed: SealedSessions

  constructor(services: Services) {
    this.#services = services
    this.#sealed = new SealedSessions(services.keys)
  }

  /** Makes a session; returns the id for the client. */
  create(
    principal: Principal,
    revision: LegacyRevision,
    capabilities: JsonObject,
    clientName: string,
    clientVersion: string,
  ): { id: string; session: StoredSession } {
    const issuedAtMs = this.#services.clock.now()
    const { id, facts } = this.#sealed.seal({
      revision,
      capabilities,
      clientName,
      clientVersion,
      owner: ownerOf(principal),
      issuedAtMs,
    })
    return { id, session: new StoredSession(this.#services, facts, {}) }
  }

  /**
   * Opens a session for a request of `principal`.
   * @throws {HoldfastError} `session_not_found` for an id that is not ours, expired, ended, or another principal's: the four
   * read the same, so that nobody learns of a session that is not theirs.
   */
  async open(id: string, principal: Principal): Promise<StoredSession> {
    const { clock, options } = this.#services
    const facts = this.#sealed.open(id)
    if (
      facts === undefined ||
      facts.owner !== ownerOf(principal) ||
      clock.now() - facts.issuedAtMs > options.sessionTtlMs
    )
      throw sessionNotFound()
    const record = await this.#readOrGuess(facts.sid)
    if (record.ended === true) throw sessionNotFound()
    return new StoredSession(this.#services, facts, record)
  }

  /**
   * The same session with its present record; `undefined` where it was ended.
   * @throws what the store throws: not to know is not the same as to have nothing.
   */
  async reopen({ facts }: StoredSession): Promise<StoredSession | undefined> {
    const record = await this.#read(facts.sid)
    return record.ended === true ? undefined : new StoredSession(this.#services, facts, record)
  }

  async #readOrGuess(sid: string): Promise<Record> {
    try {
      return await this.#read(sid)
    } catch {
      // The seal says enough to go on: a DELETE is honoured late, the log level is the default. Counted, so that it is seen.
      this.#services.telemetry.count('degraded', 'session_record')
      return {}
    }
  }

  async #read(sid: string): Promise<Record> {
    const [bytes] = await this.#services.state.getMany([sessionKey(sid)])
    return bytes === undefined ? {} : (JSON.parse(Buffer.from(bytes).toString()) as Record)
  }
}

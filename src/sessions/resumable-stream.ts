import { retrySoonMs } from '../errors/holdfast-error.ts'
import type { Exchange } from '../kernel/exchange.ts'
import { streamKey } from '../kernel/keys.ts'
import type { Services } from '../kernel/services.ts'
import type { AppendResult, ReadResult } from '../ports/state-store.ts'
import type { StoredSession } from './session-store.ts'
import type { HeldWaiting } from './waiting-calls.ts'

/** Bounds of one stream's log: what a client can still fetch after a break. */
export const LOG_BOUNDS = { maxEntries: 1000, maxBytes: 4 * 1024 * 1024 }
/** Messages that wait for the store. */
const MAX_QUEUED = 1000

/** Longest wait for a client to take what it asked to be told again. */
const DRAIN_MS = 30_000

/** Writes entries of a stream's log no faster than the client takes them: a log may hold more than may wait for a reader. */
export async function writeLogged(
  { clock, telemetry }: Services,
  exchange: Exchange,
  streamId: string,
  entries: ReadResult['entries'],
): Promise<void> {
  for (const { id, value } of entries) {
    exchange.write(Buffer.from(value).toString(), `${streamId}.${id}`)
    const drained = exchange.drained()
    if (drained === undefined) continue
    const isDrained = new AbortController()
    void drained.then(() => isDrained.abort())
    const isLate = await clock.sleep(DRAIN_MS, isDrained.signal).then(
      () => true,
      () => false,
    )
    if (!isLate) continue
    telemetry.count('slow_readers', 'resumed')
    exchange.end()
    return
  }
}

/**
 * An SSE stream of a 2025 session that outlives its connection (2025-11-25, transports, "Resumability and Redelivery").
 *
 * Each message is appended to the stream's log and only then written to the connection, with the id
 * `<stream>.<log id>`; a client that lost the connection says the last id it saw, and gets what followed.
 *
 * 1. All work on the log runs in one chain ({@link #enqueue}): no gap and no repeat between catching up and going on live.
 * 2. `append` names the last id, so the log has one writer: a refused append means that another node took the stream over,
 *    and this one falls silent.
 * 3. With the store down, messages go to the connection without an id; counted.
 *    A stream that has a connection was taken over from a node that had not heard of it yet: it goes on after that one's.
 * 4. The connection may come and go ({@link attach}); the stream ends with {@link end}.
 * 5. What the bounds cost is told: {@link onLost}.
 */
export class ResumableStream {
  readonly id: string
  readonly session: StoredSession
  readonly #services: Services
  readonly #onEnd: (stream: ResumableStream) => void
  #exchange: Exchange | undefined
  #onDetach: (() => void) | undefined
  #last: number
  #queue: string[] = []
  #chain: Promise<void> = Promise.resolve()
  #isEnding = false
  #isOver = false
  #isFollowed = false
  #hasDropped = false
  #lastWriteMs = 0
  /** Called when the client can't be given all that was sent: the queue for the store was full, or the log too short. */
  onLost: () => void = () => undefined
  /** Another node may go on with the call, once this one does not any more. */
  waiting: HeldWaiting | undefined
  /** When the connection was lost, by the monotonic clock; `undefined` while there is one. */
  detachedMs: number | undefined

  constructor(
    services: Services,
    session: StoredSession,
    id: string,
    last: number,
    onEnd: (stream: ResumableStream) => void,
  ) {
    this.#services = services
    this.session = session
    this.id = id
    this.#last = last
    this.#onEnd = onEnd
  }

  /** First connection: opens it, and says at once where to resume from. */
  open(exchange: Exchange, onDetach: () => void = () => undefined): void {
    this.#connect(exchange, onDetach)
    exchange.openStream()
    // A priming event with empty data, which clients before 2025-11-25 fail on.
    if (this.session.revision >= '2025-11-25') exchange.writeRetry(retrySoonMs(), `${this.id}.${this.#last}`)
  }

  /** A later connection takes the place of the present one, and gets what followed `after`. */
  attach(exchange: Exchange, after: number, onDetach: () => void): void {
    this.#disconnect()
    this.#enqueue(async () => {
      this.#connect(exchange, onDetach)
      const { closed, truncated } = await this.#catchUp(after)
      if (closed) this.#disconnect()
      else if (truncated) this.onLost()
    })
  }

  /** Writes what the log has after an entry to the connection; the next append follows the last of it. */
  async #catchUp(after: number): Promise<ReadResult> {
    const key = streamKey(this.session.sid, this.id)
    const result = await this.#services.state.readAfter(key, after, LOG_BOUNDS.maxEntries)
    this.#last = Math.max(this.#last, result.entries.at(-1)?.id ?? 0)
    if (this.#exchange !== undefined) await writeLogged(this.#services, this.#exchange, this.id, result.entries)
    return result
  }

  #connect(exchange: Exchange, onDetach?: () => void): void {
    this.#exchange = exchange
    this.#onDetach = onDetach
    this.detachedMs = undefined
    exchange.onDisconnect = () => {
      if (this.#exchange === exchange) this.#disconnect()
    }
  }

  /** Ends the present connection, if there is one. */
  #disconnect(): void {
    const exchange = this.#exchange
    if (exchange === undefined) return
    this.#exchange = undefined
    this.detachedMs = this.#services.clock.monotonic()
    this.#onDetach?.()
    exchange.end()
  }

  /** Keeps the log from expiring while the stream is quiet. */
  renew(): void {
    if (this.waiting !== undefined && !this.#isEnding) this.#enqueue(() => this.#renewWaiting(this.waiting!))
    if (this.#last > 0 && !this.#isEnding) this.#enqueue(() => this.#append([], false).then(() => undefined))
  }

  async #renewWaiting(waiting: HeldWaiting): Promise<void> {
    const isKept = await waiting.renew().catch(() => {
      this.#services.telemetry.count('degraded', 'waiting')
      return true
    })
    if (!isKept) this.#fallSilent()
  }

  /** The client went on at another node: from now on that node is told of each message, and writes it. */
  follow(): void {
    this.#isFollowed = true
    this.#enqueue(async () => {
      this.#disconnect()
      await this.#services.bus.publish(streamKey(this.session.sid, this.id), Buffer.of(0))
    })
  }

  /** Tells the client to come back after `retryMs`, and ends the connection; the stream goes on. */
  pause(retryMs: number): void {
    this.#enqueue(async () => {
      const exchange = this.#exchange
      if (exchange === undefined) return
      exchange.writeRetry(retryMs)
      this.#disconnect()
    })
  }

  /** @param isRequest somebody waits for its answer: it is not dropped, however many wait. */
  write(message: string, isRequest = false): void {
    if (this.#isEnding) return
    this.#lastWriteMs = this.#services.clock.monotonic()
    if (this.#queue.length >= MAX_QUEUED && !isRequest) {
      this.#hasDropped = true
      return this.#services.telemetry.count('dropped_notifications', 'stream_log')
    }
    if (this.#queue.push(message) === 1) this.#enqueue(() => this.#flush(false))
  }

  /** Stops to run the stream here, without ending it: the client comes back, and whichever node it reaches goes on. */
  leave(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.#enqueue(async () => {
      await this.#flush(false)
      this.#exchange?.writeRetry(retrySoonMs())
      this.#disconnect()
      this.#onEnd(this)
    })
  }

  keepAlive(): void {
    this.#exchange?.keepAlive()
  }
  /** Sends a keep-alive where nothing was written for long. */
  keepAliveAt(nowMs: number): void {
    if (nowMs - this.#lastWriteMs < this.#services.options.keepAliveMs) return
    this.#lastWriteMs = nowMs
    this.keepAlive()
  }

  end(answer?: string): void {
    if (this.#isEnding) return
    this.#isEnding = true
    if (answer !== undefined) this.#queue.push(answer)
    this.#enqueue(async () => {
      await this.#flush(true)
      this.#disconnect()
      await this.waiting?.forget().catch(() => this.#services.telemetry.count('degraded', 'waiting'))
      this.#onEnd(this)
    })
  }

  async #flush(close: boolean): Promise<void> {
    const messages = this.#queue
    this.#queue = []
    if (this.#hasDropped && !close) {
      this.#hasDropped = false
      this.onLost() // into the queue that is empty now
    }
    if (messages.length === 0 && !close) return
    const { telemetry } = this.#services
    let first: number | undefined
    try {
      let result = await this.#append(messages, close)
      if (!result.ok && !result.closed && result.last > this.#last && this.#exchange !== undefined) {
        await this.#catchUp(this.#last)
        result = await this.#append(messages, close)
      }
      if (result.ok) {
        first = this.#last + 1
        this.#last = result.last
      } else if (result.closed || result.last > this.#last) return this.#fallSilent()
      else telemetry.count('degraded', 'stream_log') // the log has expired or was evicted: on without ids
    } catch {
      telemetry.count('degraded', 'stream_log')
    }
    messages.forEach((message, index) =>
      this.#exchange?.write(message, first === undefined ? undefined : `${this.id}.${first + index}`),
    )
    if (this.#isFollowed)
      await this.#services.bus.publish(streamKey(this.session.sid, this.id), Buffer.of(close ? 1 : 0))
  }

  #append(messages: readonly string[], close: boolean): Promise<AppendResult> {
    const { state, options } = this.#services
    return state.append(
      streamKey(this.session.sid, this.id),
      this.#last,
      messages.map((message) => Buffer.from(message)),
      { ...LOG_BOUNDS, ttlMs: options.resumeTtlMs, close },
    )
  }

  /** Another node runs the stream from now on. */
  yield(): void {
    this.#enqueue(async () => this.#fallSilent())
  }

  #fallSilent(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#isEnding = true
    this.#disconnect()
    this.#onEnd(this)
  }

  #enqueue(work: () => Promise<void>): void {
    this.#chain = this.#chain.then(work).catch((error: unknown) => {
      this.#services.telemetry.failure(undefined, 'A resumable stream failed.', error)
      this.#disconnect()
    })
  }
}

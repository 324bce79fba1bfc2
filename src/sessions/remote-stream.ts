import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Exchange } from '../kernel/exchange.ts'
import type { RequestId } from '../kernel/protocol.ts'
import { errorBody } from '../kernel/rpc.ts'
import { presenceKey } from '../kernel/keys.ts'
import type { Services } from '../kernel/services.ts'
import type { Ticking } from '../kernel/ticker.ts'
import { LOG_BOUNDS, writeLogged } from './resumable-stream.ts'
import { TAKEN_OVER, type TakenOver } from './take-over.ts'

const LOOK_EVERY_MS = 5_000

/** Message on a stream's channel: the node that was asked to run it does not have it. Others are bells. */
export const UNKNOWN_STREAM = 2

/** Which stream to read, and for whom. */
export interface RemoteStreamFacts {
  readonly id: string
  readonly key: string
  /** Last entry that the client has. */
  readonly after: number
  /** Id of the request that the stream answers. */
  readonly answers: RequestId | undefined
  /** Node that runs the call; empty where it has left the call to the next. */
  readonly runner: string
}

/** What a {@link RemoteStream} needs of the streams. */
export interface RemoteStreamHost {
  /** Has the node ring for each message from now on. */
  tellRunner(node: string): Promise<void>
  /** The node is gone: goes on with the stream in its place, where that can be done. */
  takeOver(last: number, gone: string): Promise<TakenOver>
  onEnd(isTakenOver: boolean): void
}

/**
 * A stream of a call that another node runs, read from its log for a client that resumed it here.
 *
 * The runner rings for each append; every few seconds this side looks by itself, and whether the runner still lives. If it
 * does not, and the call waits for a task, this node goes on with the waiting. Of any other call the answer is lost: an error that
 * says "call again" is appended with `close`, so that every resumer reads the same end.
 */
export class RemoteStream implements Ticking {
  readonly #services: Services
  readonly #exchange: Exchange
  readonly #facts: RemoteStreamFacts
  readonly #host: RemoteStreamHost
  #runner: string
  #last: number
  #isUnknown = false
  #lookedMs = 0
  #toldMs = -Infinity
  #chain: Promise<void> = Promise.resolve()
  #isOver = false
  #unsubscribe: (() => Promise<void>) | undefined

  constructor(services: Services, exchange: Exchange, facts: RemoteStreamFacts, host: RemoteStreamHost) {
    this.#services = services
    this.#exchange = exchange
    this.#facts = facts
    this.#last = facts.after
    this.#runner = facts.runner
    this.#host = host
  }

  async start(): Promise<void> {
    const { bus, ticker } = this.#services
    const look = (): void => this.#look()
    const onMessage = (message: Uint8Array): void => {
      if (message[0] === UNKNOWN_STREAM) this.#isUnknown = true
      look()
    }
    this.#unsubscribe = await bus.subscribe(this.#facts.key, onMessage, look)
    this.#exchange.onDisconnect = () => this.#finish()
    this.#exchange.openStream()
    ticker.add(this)
    this.#look()
  }

  tick(nowMs: number): void {
    if (nowMs - this.#lookedMs < LOOK_EVERY_MS) return
    this.#exchange.keepAlive()
    this.#look()
  }

  #look(): void {
    this.#lookedMs = this.#services.clock.monotonic()
    this.#chain = this.#chain
      .then(() => this.#read())
      .catch((error: unknown) => {
        this.#services.telemetry.failure(undefined, 'A resumed stream could not be read.', error)
        this.#finish()
      })
  }

  async #read(): Promise<void> {
    if (this.#isOver) return
    const { state } = this.#services
    const { id, key, answers } = this.#facts
    const { entries, closed } = await state.readAfter(key, this.#last, LOG_BOUNDS.maxEntries)
    await writeLogged(this.#services, this.#exchange, id, entries)
    this.#last = entries.at(-1)?.id ?? this.#last
    if (closed) return this.#finish()
    if (!this.#isUnknown && this.#runner !== '') {
      const [presence] = await state.getMany([presenceKey(this.#runner)])
      // Told again at each look: the first word may have been lost.
      if (presence !== undefined) return entries.length === 0 ? this.#tellRunnerLater() : undefined
    }
    if (this.#isOver) return // the client has gone meanwhile
    const taken = await this.#host.takeOver(this.#last, this.#runner)
    if (taken === TAKEN_OVER) return this.#finish(true)
    if (taken !== undefined) {
      this.#runner = taken
      this.#isUnknown = false
      this.#toldMs = -Infinity
      return this.#tellRunnerLater()
    }
    const error = new HoldfastError(
      'stream_interrupted',
      'The node that ran this call is gone, and its answer is lost. Call again.',
    )
    const body = errorBody(error, answers, this.#services.nextRequestId(), 'legacy')
    const options = {
      ...LOG_BOUNDS,
      ttlMs: this.#services.options.resumeTtlMs,
      close: true,
    }
    const appended = await state.append(key, this.#last, [Buffer.from(body)], options)
    if (!appended.ok && appended.last <= this.#last) {
      // The log is shorter than what the client has: it has expired, and there is nothing to read again.
      this.#exchange.end(body)
      return this.#finish()
    }
    // Ours, or that of another resumer who was faster: read it.
    await this.#read()
  }

  async #tellRunnerLater(): Promise<void> {
    if (this.#services.clock.monotonic() - this.#toldMs < LOOK_EVERY_MS) return
    this.#toldMs = this.#services.clock.monotonic()
    await this.#host.tellRunner(this.#runner)
  }

  #finish(isTakenOver = false): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#services.ticker.delete(this)
    if (!isTakenOver) this.#exchange.end()
    this.#host.onEnd(isTakenOver)
    this.#unsubscribe?.().catch((error: unknown) =>
      this.#services.telemetry.failure(undefined, 'Unsubscribing failed.', error),
    )
  }
}

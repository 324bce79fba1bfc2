import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Exchange } from '../kernel/exchange.ts'
import type { RequestId } from '../kernel/protocol.ts'
import { errorBody } from '../kernel/rpc.ts'
import { presenceKey } from '../kernel/keys.ts'
import type { Services } from '../kernel/services.ts'
import type { Ticking } from '../kernel/ticker.ts'
import { LOG_BOUNDS, writeLogged } from './resumable-stream.ts'

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
  /** Node that runs the call. */
  readonly runner: string
}

/**
 * A stream of a call that another node runs, read from its log for a client that resumed it here.
 *
 * The runner rings for each append; every few seconds this side looks by itself, and whether the runner still lives. If it
 * does not, an error that says "call again" is appended with `close`, so that every resumer reads the same end.
 */
export class RemoteStream implements Ticking {
  readonly #services: Services
  readonly #exchange: Exchange
  readonly #facts: RemoteStreamFacts
  readonly #tellRunner: () => Promise<void>
  readonly #onEnd: () => void
  #last: number
  #isUnknown = false
  #lookedMs = 0
  #toldMs = -Infinity
  #chain: Promise<void> = Promise.resolve()
  #isOver = false
  #unsubscribe: (() => Promise<void>) | undefined

  constructor(
    services: Services,
    exchange: Exchange,
    facts: RemoteStreamFacts,
    tellRunner: () => Promise<void>,
    onEnd: () => void,
  ) {
    this.#services = services
    this.#exchange = exchange
    this.#facts = facts
    this.#last = facts.after
    this.#tellRunner = tellRunner
    this.#onEnd = onEnd
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
    const { id, key, answers, runner } = this.#facts
    const { entries, closed } = await state.readAfter(key, this.#last, LOG_BOUNDS.maxEntries)
    await writeLogged(this.#services, this.#exchange, id, entries)
    this.#last = entries.at(-1)?.id ?? this.#last
    if (closed) return this.#finish()
    if (!this.#isUnknown) {
      const [presence] = await state.getMany([presenceKey(runner)])
      // Told again at each look: the first word may have been lost.
      if (presence !== undefined) return entries.length === 0 ? this.#tellRunnerLater() : undefined
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
    await this.#tellRunner()
  }

  #finish(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#services.ticker.delete(this)
    this.#exchange.end()
    this.#onEnd()
    this.#unsubscribe?.().catch((error: unknown) =>
      this.#services.telemetry.failure(undefined, 'Unsubscribing failed.', error),
    )
  }
}

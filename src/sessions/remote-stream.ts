import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Exchange } from '../kernel/exchange.ts'
import type { RequestId } from '../kernel/protocol.ts'
import { errorBody } from '../kernel/rpc.ts'
import type { Services } from '../kernel/services.ts'
import type { Ticking } from '../kernel/ticker.ts'

const LOOK_EVERY_MS = 5_000
const READ_AT_ONCE = 1000

/**
 * A stream of a call that another node runs, read from its log for a client that resumed it here.
 *
 * The runner rings for each append; every few seconds this side looks by itself, and whether the runner still lives. If it
 * does not, an error that says "call again" is appended with `close`, so that every resumer reads the same end.
 */
export class RemoteStream implements Ticking {
  readonly #services: Services
  readonly #exchange: Exchange
  readonly #id: string
  readonly #key: string
  readonly #rpcId: RequestId | undefined
  readonly #runner: string
  #last: number
  #lookedMs = 0
  #chain: Promise<void> = Promise.resolve()
  #isOver = false
  #unsubscribe: (() => Promise<void>) | undefined

  constructor(services: Services, exchange: Exchange, id: string, key: string, after: number, rpcId: RequestId | undefined, runner: string) {
    this.#services = services
    this.#exchange = exchange
    this.#id = id
    this.#key = key
    this.#last = after
    this.#rpcId = rpcId
    this.#runner = runner
  }

  async start(): Promise<void> {
    const { bus, ticker } = this.#services
    const look = (): void => this.#look()
    this.#unsubscribe = await bus.subscribe(this.#key, look, look)
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
    const { entries, closed } = await state.readAfter(this.#key, this.#last, READ_AT_ONCE)
    for (const { id, value } of entries) this.#exchange.write(Buffer.from(value).toString(), `${this.#id}.${id}`)
    this.#last = entries.at(-1)?.id ?? this.#last
    if (closed) return this.#finish()
    const [presence] = await state.getMany([`node:${this.#runner}`])
    if (presence !== undefined) return
    const error = new HoldfastError('stream_interrupted', 'The node that ran this call is gone, and its answer is lost. Call again.')
    const body = errorBody(error, this.#rpcId, this.#services.nextRequestId(), 'legacy')
    const options = { maxEntries: READ_AT_ONCE, maxBytes: 4 * 1024 * 1024, ttlMs: this.#services.options.resumeTtlMs, close: true }
    await state.append(this.#key, this.#last, [Buffer.from(body)], options)
    // Ours, or that of another resumer who was faster: read it.
    await this.#read()
  }

  #finish(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#services.ticker.delete(this)
    this.#exchange.end()
    this.#unsubscribe?.().catch((error: unknown) => this.#services.telemetry.failure(undefined, 'Unsubscribing failed.', error))
  }
}

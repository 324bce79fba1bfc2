import { ANONYMOUS } from '../../../src/define/context.ts'
import { bodyText, type Body, type Connection, type Exchange } from '../../../src/kernel/exchange.ts'
import { HttpHead } from '../../../src/transports/http/head.ts'

/**
 * An exchange without a transport, which notes what the kernel does with it: answers, streams, and whatever breaks the rules
 * of {@link Exchange}. A client that opened a stream of changes leaves as soon as it is told that it listens.
 */
export class FakeExchange implements Exchange {
  readonly transport: 'http' | 'memory'
  readonly principal = ANONYMOUS
  readonly address = '127.0.0.1'
  readonly port = 1
  readonly head: HttpHead | undefined
  readonly connection: Connection | undefined

  /** The HTTP status; 200 for a stream. */
  status: number | undefined
  answerHeaders: Readonly<Record<string, string>> | undefined
  /** Bodies and stream messages, as they were written. */
  readonly messages: string[] = []
  /** Where a client could go on after a break. */
  readonly eventIds: string[] = []
  isAbandoned = false
  /** What was done that may not be done. */
  readonly violations: string[] = []
  readonly over: Promise<void>
  readonly #isStandAlone: boolean
  #onDisconnect: (() => void) | undefined
  #hasLeft = false
  #settle!: () => void
  #state: 'fresh' | 'streaming' | 'over' = 'fresh'

  /**
   * @param headers by lower-case name; without them the exchange belongs to `connection`.
   * @param isStandAlone a GET, whose stream has no end of its own: the client leaves once it is open.
   */
  constructor(
    headers: Readonly<Record<string, string>> | undefined,
    connection: Connection | undefined,
    isStandAlone = false,
  ) {
    this.#isStandAlone = isStandAlone
    this.transport = headers === undefined ? 'memory' : 'http'
    this.head = headers === undefined ? undefined : new HttpHead((name) => headers[name])
    this.connection = connection
    this.over = new Promise((resolve) => (this.#settle = resolve))
  }

  respond(status: number, body: Body | undefined, headers?: Readonly<Record<string, string>>): void {
    this.#expect('respond', 'fresh')
    this.status = status
    this.answerHeaders = headers
    if (body !== undefined) this.messages.push(bodyText(body))
    this.#end()
  }
  openStream(headers?: Readonly<Record<string, string>>): void {
    this.#expect('openStream', 'fresh')
    this.status = 200
    this.answerHeaders = headers
    this.#state = 'streaming'
    if (this.#isStandAlone) this.#leave()
  }
  writeRequest(message: string): void {
    this.write(message)
  }
  write(message: string, eventId?: string): void {
    this.#expect('write', 'streaming')
    this.messages.push(message)
    if (eventId !== undefined) this.eventIds.push(eventId)
    if (message.includes('"notifications/subscriptions/acknowledged"')) this.#leave()
  }
  drained(): undefined {}
  writeRetry(retryMs: number): void {
    this.#expect('writeRetry', 'streaming')
    if (!Number.isInteger(retryMs)) this.violations.push(`retry ${retryMs}`)
  }
  keepAlive(): void {
    this.#expect('keepAlive', 'streaming')
  }
  abandon(): void {
    this.isAbandoned = true
    this.#end()
  }
  end(message?: string): void {
    this.#expect('end', 'streaming')
    if (message !== undefined) this.messages.push(message)
    this.#end()
  }

  #leave(): void {
    setImmediate(() => {
      this.#hasLeft = true
      this.#onDisconnect?.()
      this.#end()
    })
  }
  get onDisconnect(): (() => void) | undefined {
    return this.#onDisconnect
  }
  /** Who asks too late is told at once. */
  set onDisconnect(callback: (() => void) | undefined) {
    this.#onDisconnect = callback
    if (this.#hasLeft && callback !== undefined) queueMicrotask(callback)
  }
  #end(): void {
    this.#state = 'over'
    this.#settle()
  }
  #expect(what: string, state: 'fresh' | 'streaming'): void {
    // What the kernel writes to a client that has left goes nowhere, on every transport.
    if (this.#state !== state && !(this.#state === 'over' && state === 'streaming'))
      this.violations.push(`${what} while ${this.#state}`)
  }
}

import { bodyText, type Body, type Exchange, type Reply, type WaitingCall } from '../kernel/exchange.ts'
import type { ResumableStream } from './resumable-stream.ts'
import type { HeldWaiting } from './waiting-calls.ts'

/** What a {@link SessionReply} needs of the streams. */
export interface ReplyHost {
  /** Makes the answer a stream. */
  open(): ResumableStream
  /** Says on the stream's behalf that this node waits for a task. */
  share(call: WaitingCall): Promise<HeldWaiting | undefined>
  onDegraded(): void
}

/** Answers directly as long as one body is enough, and through a resumable stream from the first notification on. */
export class SessionReply implements Reply {
  readonly #exchange: Exchange
  readonly #host: ReplyHost
  #waiting: HeldWaiting | undefined
  #stream: ResumableStream | undefined

  /** @param stream where there is one already */
  constructor(exchange: Exchange, host: ReplyHost, stream?: ResumableStream) {
    this.#exchange = exchange
    this.#host = host
    this.#stream = stream
    this.#waiting = stream?.waiting
  }
  respond(status: number, body: Body | undefined, headers?: Readonly<Record<string, string>>): void {
    if (this.#stream === undefined) this.#exchange.respond(status, body, headers)
    else this.#stream.end(body === undefined ? undefined : bodyText(body))
  }
  openStream(): void {
    this.#stream ??= this.#host.open()
    this.#stream.waiting = this.#waiting
  }
  write(message: string): void {
    this.#stream?.write(message)
  }
  writeRequest(message: string): void {
    this.#stream?.write(message, true)
  }
  keepAlive(): void {
    this.#stream?.keepAlive()
  }
  end(answer?: string): void {
    this.#stream?.end(answer)
  }
  abandon(): void {
    // Not through a resumable stream: an id would invite the client to come back for an answer that never comes.
    if (this.#stream === undefined) this.#exchange.abandon()
    else this.#stream.end()
  }
  pause(retryMs: number): void {
    this.#stream?.pause(retryMs)
  }
  async shareWaiting(call: WaitingCall): Promise<void> {
    if (this.#waiting !== undefined) return
    try {
      this.#waiting = await this.#host.share(call)
    } catch {
      this.#host.onDegraded() // should this node die, the call is lost with it
    }
    if (this.#stream !== undefined) this.#stream.waiting = this.#waiting
  }
  async handOver(): Promise<boolean> {
    const stream = this.#stream
    const isLeft = await stream?.waiting?.release().catch(() => this.#host.onDegraded())
    if (isLeft !== true) return false
    stream!.leave()
    return true
  }
}

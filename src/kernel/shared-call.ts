import type { PlacedArtifacts } from '../artifacts/placed.ts'
import type { Principal } from '../define/context.ts'
import type { Operation } from '../ports/telemetry.ts'
import type { Call, CallServices } from './call.ts'

/** A call whose work others wait for too: as the call that began it, but that it ends with the last of those who wait. */
export class SharedCall implements Call {
  readonly #call: Call
  readonly signal: AbortSignal

  constructor(call: Call, signal: AbortSignal) {
    this.#call = call
    this.signal = signal
  }
  get services(): CallServices {
    return this.#call.services
  }
  get facts(): Call['facts'] {
    return this.#call.facts
  }
  get principal(): Principal {
    return this.#call.principal
  }
  get caller(): Call['caller'] {
    return this.#call.caller
  }
  get requestId(): string {
    return this.#call.requestId
  }
  get operation(): Operation {
    return this.#call.operation
  }
  get artifacts(): PlacedArtifacts {
    return this.#call.artifacts
  }
  get isDone(): boolean {
    return this.signal.aborted
  }
  get onPutAside(): Call['onPutAside'] {
    return this.#call.onPutAside
  }
  set onPutAside(resolve: Call['onPutAside']) {
    this.#call.onPutAside = resolve
  }
  log(level: number, message: string, fields: Record<string, unknown> | undefined): void {
    this.#call.log(level, message, fields)
  }
  progress(done: number, total: number | undefined, message: string | undefined): void {
    this.#call.progress(done, total, message)
  }
  closeStream(retryMs: number): void {
    this.#call.closeStream(retryMs)
  }
}

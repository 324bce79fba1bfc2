import type { LanguageModelV4StreamPart, LanguageModelV4StreamResult } from '@ai-sdk/provider'
import type { Recording } from './recording.ts'

/** What a model says of a stream before its first part. */
export type StreamHead = Omit<LanguageModelV4StreamResult, 'stream'>

/**
 * A stream that comes in once and is read by any number of readers, each from its beginning.
 *
 * 1. What has come stays until the last reader is through: an answer of a model has a bound of its own.
 * 2. A reader that leaves disturbs nobody. When the last one has left before the end, {@link signal} aborts: nobody pays for
 *    what nobody reads.
 * 3. Who comes later than that must start a stream of its own ({@link isAbandoned}).
 */
export class LiveStream {
  readonly #parts: LanguageModelV4StreamPart[] = []
  readonly #opened = Promise.withResolvers<StreamHead>()
  readonly #abort = new AbortController()
  readonly #waiting = new Set<() => void>()
  readonly #ended = Promise.withResolvers<Recording>()
  #readers = 0
  #end: { readonly error?: unknown } | undefined

  constructor() {
    // Who reads is told by its stream; nobody may have asked for the head by then.
    this.#opened.promise.catch(() => undefined)
    this.#ended.promise.catch(() => undefined)
  }

  /** Aborts when nobody reads any more. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }
  get isAbandoned(): boolean {
    return this.#abort.signal.aborted
  }

  /** Some of it was given out, or may be at any time. */
  get hasBegun(): boolean {
    return this.#parts.length > 0
  }

  open(head: StreamHead): void {
    this.#opened.resolve(head)
  }
  push(part: LanguageModelV4StreamPart): void {
    this.#parts.push(part)
    this.#wake()
  }
  /** Nothing more will come. */
  end(): void {
    this.#close({})
  }

  /** Resolves with all that came; rejects where it broke off. */
  get ended(): Promise<Recording> {
    return this.#ended.promise
  }

  /** Ends it when what comes in has ended; with an error (of the call, where it is not open yet) where that fails. */
  follow(coming: Promise<Recording>): void {
    coming.then(
      (recording) => {
        this.#close({})
        this.#ended.resolve(recording)
      },
      (error: unknown) => {
        this.#opened.reject(error)
        this.#close({ error })
        this.#ended.reject(error)
      },
    )
  }

  /**
   * Another reader; resolves when the stream is open.
   * @param signal takes the reader away.
   * @throws what it failed with before it was open; the reason of `signal`.
   */
  async read(signal: AbortSignal | undefined): Promise<LanguageModelV4StreamResult> {
    signal?.throwIfAborted()
    this.#readers++
    const reader = { hasLeft: false }
    const left = Promise.withResolvers<never>()
    left.promise.catch(() => undefined)
    const leave = (): void => {
      if (reader.hasLeft) return
      reader.hasLeft = true
      signal?.removeEventListener('abort', onAbort)
      if (--this.#readers === 0 && this.#end === undefined)
        this.#abort.abort(signal?.reason ?? new DOMException('Nobody reads the stream any more.', 'AbortError'))
    }
    const onAbort = (): void => {
      left.reject(signal!.reason)
      leave()
      this.#wake()
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    let next = 0
    try {
      const head = await Promise.race([this.#opened.promise, left.promise])
      const stream = new ReadableStream<LanguageModelV4StreamPart>(
        {
          pull: async (controller) => {
            while (next === this.#parts.length && this.#end === undefined && !reader.hasLeft) await this.#change()
            if (signal?.aborted === true) return controller.error(signal.reason)
            if (next < this.#parts.length) return controller.enqueue(this.#parts[next++]!)
            leave()
            if (this.#end !== undefined && 'error' in this.#end) controller.error(this.#end.error)
            else controller.close()
          },
          cancel: leave,
        },
        { highWaterMark: 0 },
      )
      return { ...head, stream }
    } catch (error) {
      leave()
      throw error
    }
  }

  #close(end: { readonly error?: unknown }): void {
    this.#end ??= end
    this.#wake()
  }
  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve))
  }
  #wake(): void {
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}

/** How a {@link Gatherer} gathers. */
export interface GathererOptions<In, Out> {
  /** Carries out a batch; one outcome or error for each, in order. */
  send(batch: readonly In[]): Promise<readonly (Out | Error)[]>
  /** Whether nothing was carried out because of what one of the batch holds: then each is tried alone. */
  isOnesFault(error: unknown): boolean
  sizeOf(one: In): number
  /** Batches that may be under way at once. */
  readonly maxInFlight: number
  readonly maxItems: number
  readonly maxBytes: number
  /** When a batch fails, what has waited for longer fails with it: in an outage each would wait for the time-outs of all before it. */
  readonly maxWaitMs: number
}

interface Waiting<In, Out> {
  readonly one: In
  readonly sinceMs: number
  readonly resolve: (outcome: Out) => void
  readonly reject: (error: unknown) => void
}

/**
 * Carries out calls in batches: what comes while batches are under way goes out with the next one. Nothing waits while there is
 * nothing under way, so a batch costs no latency, and grows with the load.
 */
export class Gatherer<In, Out> {
  readonly #options: GathererOptions<In, Out>
  readonly #waiting: Waiting<In, Out>[] = []
  #inFlight = 0
  #isScheduled = false

  constructor(options: GathererOptions<In, Out>) {
    this.#options = options
  }

  /** Resolves, or rejects, as the batch that it went with. */
  add(one: In): Promise<Out> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ one, sinceMs: performance.now(), resolve, reject })
      this.#schedule()
    })
  }

  /** After the present turn of the event loop, whose other calls may come along. */
  #schedule(): void {
    if (this.#isScheduled || this.#inFlight >= this.#options.maxInFlight) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    const { maxInFlight } = this.#options
    while (this.#waiting.length > 0 && this.#inFlight < maxInFlight) {
      const batch = this.#take()
      this.#inFlight++
      void this.#send(batch).then(() => {
        this.#inFlight--
        if (this.#waiting.length > 0) this.#schedule()
      })
    }
  }

  /** Settles all of a batch; never rejects. */
  async #send(batch: readonly Waiting<In, Out>[]): Promise<void> {
    const { send, isOnesFault } = this.#options
    try {
      const outcomes = await send(batch.map(({ one }) => one))
      for (const [index, { resolve, reject }] of batch.entries()) {
        const outcome = outcomes[index]!
        if (outcome instanceof Error) reject(outcome)
        else resolve(outcome)
      }
    } catch (error) {
      if (batch.length > 1 && isOnesFault(error)) for (const alone of batch) await this.#send([alone])
      else for (const { reject } of [...batch, ...this.#takeStale()]) reject(error)
    }
  }

  #takeStale(): Waiting<In, Out>[] {
    const before = performance.now() - this.#options.maxWaitMs
    const fresh = this.#waiting.findIndex(({ sinceMs }) => sinceMs > before)
    return this.#waiting.splice(0, fresh === -1 ? this.#waiting.length : fresh)
  }

  #take(): Waiting<In, Out>[] {
    const { maxItems, maxBytes, sizeOf } = this.#options
    let count = 0
    let bytes = 0
    for (const { one } of this.#waiting) {
      bytes += sizeOf(one)
      if (count > 0 && (count === maxItems || bytes > maxBytes)) break
      count++
    }
    return this.#waiting.splice(0, count)
  }
}

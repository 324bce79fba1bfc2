import { HoldfastError } from '../../errors/holdfast-error.ts'
import { backoffMs } from './wait.ts'

/** How {@link Reach} knows that a server is away. */
export interface ReachOptions {
  /** As messages call the server. */
  readonly server: string
  /**
   * What an error says of the server: `away`, it did not answer; `there`, it has sent the error itself; `nothing`, the caller has
   * gone away, say.
   */
  saysOf(error: unknown): 'away' | 'there' | 'nothing'
}

/** So many uses in a row that came to nothing, with none between that was answered, say that it is away. */
const FAILURES = 3
/** Between two tries while it is away: doubles from the first to the last, with jitter. */
const FIRST_WAIT_MS = 100
const LAST_WAIT_MS = 1000

/**
 * Whether a server can be reached, as those find out who use it. Without this, each use of one that is gone takes its whole
 * time-out, and holds a slot of the node's for as long: at some hundred a second they would be all there are, and tools that do not
 * need the server would be refused. And each would open a connection, so that a server that comes back meets them all at once.
 *
 *     there → (three failures in a row) → away → (a try succeeds) → there
 *
 * 1. A failure counts where no use was answered since it began: what began before a recovery, and fails after it, says nothing.
 * 2. Away, uses fail at once, but for one each 50 to 100 ms at first, each 0.5 to 1 s in the end. It tries, with all of its time;
 *    nobody waits for it, and the next try does not either.
 */
export class Reach {
  readonly #options: ReachOptions
  /** Times by the monotonic clock. */
  #answeredMs = -Infinity
  #failures = 0
  #lastError: unknown
  /** Tries since it is away. */
  #tries = 0
  #nextTryMs = 0

  constructor(options: ReachOptions) {
    this.#options = options
  }

  /**
   * Uses the server, unless it is known to be away.
   * @throws {HoldfastError} `backend_failed` at once while it is away; else what `work` throws.
   */
  async use<T>(work: () => Promise<T>): Promise<T> {
    const beganMs = performance.now()
    if (this.#failures >= FAILURES) {
      const { server } = this.#options
      if (beganMs < this.#nextTryMs)
        throw new HoldfastError('backend_failed', `${server} can't be reached. It is tried again within a second.`, {
          cause: this.#lastError,
        })
      this.#nextTryMs = beganMs + backoffMs(this.#tries++, FIRST_WAIT_MS, LAST_WAIT_MS)
    }
    try {
      const outcome = await work()
      this.#answered()
      return outcome
    } catch (error) {
      const said = this.#options.saysOf(error)
      if (said === 'there') this.#answered()
      else if (said === 'away' && beganMs > this.#answeredMs) this.#failed(error)
      throw error
    }
  }

  #answered(): void {
    this.#answeredMs = performance.now()
    this.#failures = 0
    this.#tries = 0
  }

  #failed(error: unknown): void {
    this.#lastError = error
    if (++this.#failures === FAILURES)
      this.#nextTryMs = performance.now() + backoffMs(this.#tries++, FIRST_WAIT_MS, LAST_WAIT_MS)
  }
}

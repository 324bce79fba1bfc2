import type { IBreaker } from 'cockatiel'
import type { ResolvedDependency } from '../define/dependency.ts'
import type { Clock } from '../ports/clock.ts'

/** The window moves on by these parts of itself. */
const PARTS = 10

/**
 * When a closed breaker opens: so large a share of the calls in the window has failed, or so many in a row. Where other nodes
 * have found the dependency down, the next failure is enough (`isWarned`).
 *
 * Cockatiel's own `SamplingBreaker` reads the system's clock, which may jump, and knows a least rate of calls in place of a number.
 */
export class FailureWindow implements IBreaker {
  readonly #options: Exclude<ResolvedDependency['breaker'], false>
  readonly #clock: Clock
  readonly #isWarned: () => boolean
  readonly #calls = new Uint32Array(PARTS)
  readonly #failures = new Uint32Array(PARTS)
  #inARow = 0
  /** The part that is counted in, since the beginning of the clock. */
  #part = 0
  /** Nothing of it is kept beyond the process. */
  state: unknown = undefined

  constructor(options: Exclude<ResolvedDependency['breaker'], false>, clock: Clock, isWarned: () => boolean) {
    this.#options = options
    this.#clock = clock
    this.#isWarned = isWarned
  }

  success(): void {
    this.#inARow = 0
    this.#calls[this.#moveOn()]!++
  }

  /** @returns whether the breaker opens. */
  failure(): boolean {
    const index = this.#moveOn()
    this.#calls[index]!++
    this.#failures[index]!++
    if (++this.#inARow >= this.#options.consecutiveFailures || this.#isWarned()) return true
    const calls = sum(this.#calls)
    return calls >= this.#options.minimumCalls && sum(this.#failures) >= this.#options.failureShare * calls
  }

  /** What was counted before the breaker opened says nothing once it is closed again. */
  clear(): void {
    this.#calls.fill(0)
    this.#failures.fill(0)
    this.#inARow = 0
  }

  /** Index of the present part; those that have left the window are emptied. */
  #moveOn(): number {
    const part = Math.floor((this.#clock.monotonic() * PARTS) / this.#options.windowMs)
    for (let passed = Math.max(this.#part + 1, part - PARTS + 1); passed <= part; passed++) {
      this.#calls[passed % PARTS] = 0
      this.#failures[passed % PARTS] = 0
    }
    this.#part = Math.max(this.#part, part)
    return this.#part % PARTS
  }
}

const sum = (counts: Uint32Array): number => counts.reduce((total, count) => total + count, 0)

import type { Clock } from '../ports/clock.ts'

/** Something that is due at a time. Belongs to one {@link Timers} at most. */
export abstract class Timed {
  dueMs = 0
  previous: Timed | undefined
  next: Timed | undefined
  isListed = false
  abstract onDue(): void
}

/**
 * What is due when, for many that are seldom late: one timer of the clock at a time stands for all of them, and it is left
 * standing when they go. Starting and stopping costs no timer then, and no listener. In order of time; who is added last is
 * mostly due last, so that adding is a step or two.
 */
export class Timers {
  readonly #clock: Clock
  #first: Timed | undefined
  #last: Timed | undefined
  #wakeAtMs = Infinity

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @param dueMs by the monotonic clock */
  add(timed: Timed, dueMs: number): void {
    if (timed.isListed) this.remove(timed)
    timed.dueMs = dueMs
    timed.isListed = true
    let before = this.#last
    while (before !== undefined && before.dueMs > dueMs) before = before.previous
    const after = before === undefined ? this.#first : before.next
    timed.previous = before
    timed.next = after
    if (before === undefined) this.#first = timed
    else before.next = timed
    if (after === undefined) this.#last = timed
    else after.previous = timed
    if (dueMs < this.#wakeAtMs) this.#sleepUntil(dueMs)
  }

  remove(timed: Timed): void {
    if (!timed.isListed) return
    const { previous, next } = timed
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    timed.previous = undefined
    timed.next = undefined
    timed.isListed = false
  }

  #sleepUntil(dueMs: number): void {
    this.#wakeAtMs = dueMs
    void this.#clock.sleep(Math.max(0, dueMs - this.#clock.monotonic())).then(() => this.#wake(dueMs))
  }

  #wake(atMs: number): void {
    // One that was due sooner may have come in between; then another sleep stands for it.
    if (this.#wakeAtMs === atMs) this.#wakeAtMs = Infinity
    const nowMs = this.#clock.monotonic()
    for (let due = this.#first; due !== undefined && due.dueMs <= nowMs; due = this.#first) {
      this.remove(due)
      due.onDue()
    }
    if (this.#first !== undefined && this.#first.dueMs < this.#wakeAtMs) this.#sleepUntil(this.#first.dueMs)
  }
}

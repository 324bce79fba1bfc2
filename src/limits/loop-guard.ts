import type { Clock } from '../ports/clock.ts'

const BEAT_MS = 50
/** Late beats in a row before anything is shed: one pause (a collection, a big JSON) is no overload. */
const LATE_BEATS = 2
/** Beats without a request after which the watch rests. */
const IDLE_BEATS = 20
/** In-time beats without a refusal after which the quota is lifted. */
const CALM_BEATS = 20

/**
 * Watches how late the event loop is, and sheds while it stays late: then more requests come than the processor can serve,
 * and each waits in the sockets' buffers, where no queue sees it.
 *
 * Every 50 ms a timer should fire; how much later it does is the delay. Two beats in a row above `maxLoopDelayMs` set a
 * quota: so many requests each caller may send until the next beat, the rest are shed. At a late beat the quota is cut in
 * proportion, so that as many requests would have been over in half of `maxLoopDelayMs`; it grows by a quarter at one that
 * is in time, and goes when it has bound nobody for a second. Who sends little stays below it: greedy callers are shed
 * first, and evenly. Without requests no timer runs.
 */
export class LoopGuard {
  readonly #clock: Clock
  readonly #maxDelayMs: number
  readonly #stop = new AbortController()
  /** Requests of each caller since the last beat; kept only from the first late beat on. */
  readonly #counts = new Map<string, number>()
  #isRunning = false
  #isUsed = false
  #isCounting = false
  #quota = Infinity
  #late = 0
  #calm = 0
  #hasRefused = false
  /** How late the last beat was. */
  delayMs = 0

  constructor(maxDelayMs: number, clock: Clock) {
    this.#maxDelayMs = maxDelayMs
    this.#clock = clock
  }

  /** Notes that there is work. */
  touch(): void {
    this.#isUsed = true
    if (!this.#isRunning && !this.#stop.signal.aborted) void this.#watch()
  }

  /** Whether {@link admits} has anything to say now. */
  get isCounting(): boolean {
    return this.#isCounting
  }

  /** Counts a request, and says whether its caller may have it served. */
  admits(caller: string): boolean {
    if (!this.#isCounting) return true
    const count = (this.#counts.get(caller) ?? 0) + 1
    this.#counts.set(caller, count)
    if (count <= this.#quota) return true
    this.#hasRefused = true
    return false
  }

  close(): void {
    this.#stop.abort()
  }

  async #watch(): Promise<void> {
    this.#isRunning = true
    for (let idle = 0; idle < IDLE_BEATS; idle = this.#isUsed ? 0 : idle + 1) {
      this.#isUsed = false
      const beforeMs = this.#clock.monotonic()
      try {
        await this.#clock.sleep(BEAT_MS, this.#stop.signal)
      } catch {
        break // closed
      }
      this.#beat(this.#clock.monotonic() - beforeMs - BEAT_MS)
    }
    this.#isRunning = false
    this.#reset()
  }

  #beat(delayMs: number): void {
    this.delayMs = Math.max(0, delayMs)
    if (delayMs > this.#maxDelayMs) {
      this.#calm = 0
      this.#isCounting = true
      if (++this.#late >= LATE_BEATS)
        this.#quota = Math.max(1, Math.floor((this.#mostServed() * this.#maxDelayMs) / 2 / delayMs))
    } else {
      this.#late = this.#quota === Infinity ? 0 : LATE_BEATS // while a quota stands, each late beat counts
      this.#quota = Math.ceil(this.#quota * 1.25)
      this.#calm = this.#hasRefused ? 0 : this.#calm + 1
      if (this.#quota === Infinity || this.#calm >= CALM_BEATS) this.#reset()
    }
    this.#hasRefused = false
    this.#counts.clear()
  }

  /** Requests of the caller that had the most of them served since the last beat. */
  #mostServed(): number {
    let most = 1
    for (const count of this.#counts.values()) most = Math.max(most, count)
    return Math.min(most, this.#quota)
  }

  #reset(): void {
    this.#isCounting = false
    this.#quota = Infinity
    this.#late = 0
    this.#calm = 0
    this.#counts.clear()
    if (!this.#isRunning) this.delayMs = 0
  }
}

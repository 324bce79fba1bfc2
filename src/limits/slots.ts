import type { Clock } from '../ports/clock.ts'

/** Why a request is shed: the label of `holdfast_sheds_total`. */
export type ShedReason =
  /** As many wait as may, or as many of this caller's. */
  | 'queue_full'
  /** It would wait longer than `maxQueueMs`, or did. */
  | 'wait_too_long'
  /** The event loop is late, and the caller has had its share. */
  | 'event_loop'
  /** Bodies that have not been served yet hold as many bytes as they may, and this caller the most of them. */
  | 'pending_bytes'

/** A request in the queue. */
export interface Waiting {
  readonly caller: string
  /** When it began to wait, by the monotonic clock. */
  readonly sinceMs: number
  /** A slot is free, and is this request's now. */
  grant(): void
  shed(reason: ShedReason): void
}

/** Queues are at least this long: a resource with one slot must not refuse what a client sends in one go. */
const LEAST_QUEUE = 16
/** Weight of the latest call in the mean holding time. */
const WEIGHT = 0.1

/**
 * The slots of one resource (the node, or a tool), and who waits for one.
 *
 * 1. Somebody waits only while every slot is taken: a slot that is given back goes to the next in the queue at once.
 * 2. Callers take turns, whatever each has waiting (round robin); the requests of one caller go first in, first out.
 * 3. The queue holds no more requests than there are slots (16 at least), so that by Little's law one that gets in waits
 *    about as long as a call takes, or less. One caller may hold as many places as are free (Choudhury and Hahne,
 *    "Dynamic queue length thresholds", 1998): alone it gets half of the queue, and there is always room for another.
 * 4. Who would wait longer than `maxQueueMs` at the present rate is refused at once, and who did is shed.
 */
export class Slots {
  readonly max: number
  readonly #maxWaiting: number
  readonly #maxQueueMs: number
  readonly #clock: Clock
  /** Who waits, by caller, in the order of turns. */
  readonly #queues = new Map<string, Set<Waiting>>()
  #taken = 0
  #waiting = 0
  #holdingMs = 0
  /** When a slot last became free, or the last one was taken. */
  #progressMs = 0
  #isGranting = false

  constructor(max: number, maxQueueMs: number, clock: Clock) {
    this.max = max
    this.#maxWaiting = Math.max(LEAST_QUEUE, max)
    this.#maxQueueMs = maxQueueMs
    this.#clock = clock
  }

  get taken(): number {
    return this.#taken
  }
  get waiting(): number {
    return this.#waiting
  }
  get hasRoom(): boolean {
    return this.#taken < this.max
  }

  /** Takes a slot; only while there is {@link hasRoom}. */
  take(): void {
    if (++this.#taken === this.max) this.#progressMs = this.#clock.monotonic()
  }

  /** Gives a slot back, and hands it to the next who waits. `heldMs`: how long a call ran in it, if one did. */
  give(heldMs?: number): void {
    if (heldMs !== undefined)
      this.#holdingMs = this.#holdingMs === 0 ? heldMs : this.#holdingMs + (heldMs - this.#holdingMs) * WEIGHT
    this.#progressMs = this.#clock.monotonic()
    this.#taken--
    // A request that is served in no time gives its slot back within `grant`: the loop that runs already goes on with it.
    if (this.#isGranting) return
    this.#isGranting = true
    while (this.hasRoom) {
      const next = this.#next()
      if (next === undefined) break
      if (this.#progressMs - next.sinceMs > this.#maxQueueMs) next.shed('wait_too_long')
      else {
        this.#taken++
        next.grant()
      }
    }
    this.#isGranting = false
  }

  /** Takes the next request out of the queue: the first of the caller whose turn it is. */
  #next(): Waiting | undefined {
    for (const [caller, queue] of this.#queues)
      for (const waiting of queue) {
        this.leave(waiting)
        if (queue.size > 0) {
          this.#queues.delete(caller)
          this.#queues.set(caller, queue) // to the end: its next turn comes after everybody else's
        }
        return waiting
      }
    return undefined
  }

  /** Why a request of this caller would be refused now; `undefined` where it may run or wait. */
  refusal(caller: string): ShedReason | undefined {
    if (this.hasRoom) return undefined
    const mine = this.#queues.get(caller)?.size ?? 0
    if (mine >= this.#maxWaiting - this.#waiting) return 'queue_full'
    // Nothing became free for as long as anybody may wait: there is no rate to go by, and no reason for hope.
    if (this.#clock.monotonic() - this.#progressMs > this.#maxQueueMs) return 'wait_too_long'
    const callers = this.#queues.size + (mine === 0 ? 1 : 0)
    const ahead = Math.min(this.#waiting, (mine + 1) * callers - 1)
    return this.#waitMs(ahead) > this.#maxQueueMs ? 'wait_too_long' : undefined
  }

  /** Time after which about all who wait now have been served. */
  get clearsAfterMs(): number {
    return this.#waitMs(this.#waiting)
  }
  #waitMs(ahead: number): number {
    return ((ahead + 1) * this.#holdingMs) / this.max
  }

  /** Queues a request that {@link refusal} has nothing against, while there is no room. */
  enter(waiting: Waiting): void {
    const queue = this.#queues.get(waiting.caller)
    if (queue === undefined) this.#queues.set(waiting.caller, new Set([waiting]))
    else queue.add(waiting)
    this.#waiting++
  }

  /** Takes a request out of the queue; does nothing where it no longer waits. */
  leave(waiting: Waiting): void {
    const queue = this.#queues.get(waiting.caller)
    if (queue === undefined || !queue.delete(waiting)) return
    this.#waiting--
    if (queue.size === 0) this.#queues.delete(waiting.caller)
  }

  /** Sheds who has waited for too long. */
  expire(nowMs: number): void {
    for (const queue of this.#queues.values())
      for (const waiting of queue) {
        if (nowMs - waiting.sinceMs <= this.#maxQueueMs) break // who came later waits for less long
        this.leave(waiting)
        waiting.shed('wait_too_long')
      }
  }
}

import type { Clock } from '../ports/clock.ts'
import type { BucketState, StateStore, TokenBucket } from '../ports/state-store.ts'
import type { Telemetry } from '../ports/telemetry.ts'
import { Advances } from './advances.ts'
import type { Bucket } from './subjects.ts'

/** A bucket of one decision, and what was taken from it. */
export interface Item {
  readonly index: number
  readonly bucket: Bucket
  readonly want: TokenBucket
  /** The bucket as the caller is told of it. */
  state: BucketState | undefined
  /** The portion that its tokens came from. */
  heldFrom: number
  /** Taken in the store, and not from a portion. */
  isTaken: boolean
}

/** Why a request is refused. */
export interface Refusal {
  readonly item: Item
  readonly retryAfterMs: number
}

/** A request that waits for its tokens. */
interface Waiter {
  /** Its buckets of one tag; all waiters of a line have the same ones, at the same cost. */
  readonly items: readonly Item[]
  resolve(refusal: Refusal | undefined): void
  reject(error: unknown): void
}

/** What {@link Lines} work with. */
export interface LinesParts {
  readonly shared: StateStore
  readonly clock: Clock
  readonly telemetry: Telemetry
}

/**
 * Asks the shared state for tokens. Who wants the same tokens waits in line while a command is under way, and the next
 * command asks for all of them together: however many come at once, a bucket is asked by one command at a time.
 *
 * 1. A command takes from all its buckets for at least one request, or from none.
 * 2. What it took is handed out in the order of the line, each request getting all that it wants or nothing; what is left
 *    over goes back at once, but for portions, which are kept for their second.
 */
export class Lines {
  readonly #parts: LinesParts
  readonly #advances = new Advances()
  readonly #waiting = new Map<string, Waiter[]>()

  constructor(parts: LinesParts) {
    this.#parts = parts
  }

  /** A bucket among them that is known to be empty. */
  knownRefusal(items: readonly Item[]): Refusal | undefined {
    const nowMs = this.#parts.clock.monotonic()
    for (const item of items) {
      if (isDone(item)) continue
      const { key, cost } = item.want
      const advance = this.#advances.find(key)
      const retryAfterMs = advance?.refusedForMs(cost, nowMs) ?? 0
      if (retryAfterMs === 0) continue
      item.state = advance!.state
      return { item, retryAfterMs }
    }
    return undefined
  }

  /** Takes what portions have. `true`: nothing is missing any more. */
  takeHeld(items: readonly Item[]): boolean {
    const nowMs = this.#parts.clock.monotonic()
    let isAll = true
    for (const item of items) if (!isDone(item) && !this.#takeFromPortion(item, nowMs)) isAll = false
    return isAll
  }

  #takeFromPortion(item: Item, nowMs: number): boolean {
    const advance = item.bucket.rate.portion > 0 ? this.#advances.find(item.want.key) : undefined
    item.heldFrom = advance?.take(item.want.cost, nowMs) ?? 0
    if (item.heldFrom > 0) item.state = advance!.seen()
    return item.heldFrom > 0
  }

  putBack(items: readonly Item[]): void {
    for (const { want, heldFrom } of items)
      if (heldFrom > 0) this.#advances.find(want.key)?.putBack(want.cost, heldFrom)
  }

  /** Gives tokens back to the store. Where that fails, some callers have lost a few. */
  async giveBack(all: readonly { tag: string; want: TokenBucket; tokens: number }[]): Promise<void> {
    try {
      for (const [tag, group] of Map.groupBy(all, (one) => one.tag))
        await this.#parts.shared.takeTokens(
          tag,
          group.map(({ want, tokens }) => ({ ...want, cost: -tokens })),
        )
    } catch {
      this.#parts.telemetry.count('degraded', 'limits_give_back')
    }
  }

  /** Takes from buckets of one tag, from all or from none. Rejects where the store does not answer. */
  async draw(items: readonly Item[]): Promise<Refusal | undefined> {
    if (this.takeHeld(items)) return undefined
    const refusal = this.knownRefusal(items)
    if (refusal !== undefined) return refusal
    let line = ''
    for (const { want } of items) line += `${want.key} ${want.cost} `
    return new Promise((resolve, reject) => {
      const waiter = { items, resolve, reject }
      const waiting = this.#waiting.get(line)
      if (waiting === undefined) {
        this.#waiting.set(line, [])
        void this.#serve(line, [waiter])
      } else waiting.push(waiter)
    })
  }

  async #serve(line: string, first: Waiter[]): Promise<void> {
    const waiting = this.#waiting.get(line)!
    let batch = first
    while (batch.length > 0) {
      try {
        await this.#ask(batch)
      } catch (error) {
        for (const { reject } of [...batch, ...waiting.splice(0)]) reject(error)
      }
      batch = waiting.splice(0).filter((waiter) => !this.#isServed(waiter))
    }
    this.#waiting.delete(line)
  }

  /** Who waited while a command was under way may find what it wants in a portion, or the bucket empty. */
  #isServed({ items, resolve }: Waiter): boolean {
    const isComplete = this.takeHeld(items)
    const refusal = isComplete ? undefined : this.knownRefusal(items)
    if (isComplete || refusal !== undefined) resolve(refusal)
    return isComplete || refusal !== undefined
  }

  /** One command for all in the batch. */
  async #ask(batch: readonly Waiter[]): Promise<void> {
    const { clock, shared } = this.#parts
    const sentMs = clock.monotonic()
    const asked = batch[0]!.items
      .map(({ bucket, want }, position) => {
        const { portion } = bucket.rate
        const wanted = batch.filter(({ items }) => !isDone(items[position]!)).length * want.cost
        // No more than a portion is held, with what is left of the last one.
        const more = portion === 0 || wanted === 0 ? 0 : portion - (this.#advances.find(want.key)?.held(sentMs) ?? 0)
        return { position, bucket, want, tokens: Math.min(want.burst, Math.max(wanted, more)) }
      })
      .filter(({ tokens }) => tokens > 0)
    const taken = await shared.takeTokens(
      asked[0]!.bucket.tag,
      asked.map(({ want, tokens }) => ({ ...want, cost: tokens, least: want.cost })),
    )
    const nowMs = clock.monotonic()
    if (!taken.ok) {
      const { position, want } = asked[taken.refusedBy]!
      const state = taken.buckets[taken.refusedBy]!
      this.#advances.of(want.key).refuse(want.cost, state, taken.retryAfterMs, nowMs)
      for (const [index, one] of asked.entries())
        for (const { items } of batch) items[one.position]!.state = taken.buckets[index]
      for (const { items, resolve } of batch) resolve({ item: items[position]!, retryAfterMs: taken.retryAfterMs })
      return
    }
    const pools = asked.map(({ position, bucket, want }, index): Pool => {
      const state = taken.buckets[index]!
      // An answer that took longer than a portion lives still serves those that waited for it.
      const isPortion = bucket.rate.portion > 0 && this.#advances.of(want.key).hold(state, sentMs, nowMs)
      return { position, want, state, tag: bucket.tag, tokens: isPortion ? 0 : state.granted, isPortion }
    })
    for (const { items, resolve } of batch) resolve(this.#handOut(items, pools, nowMs))
    const left = pools.filter(({ tokens }) => tokens > 0)
    if (left.length > 0) await this.giveBack(left)
  }

  /** Gives one request of the batch all that it wants of the pools, or refuses it. */
  #handOut(items: readonly Item[], pools: readonly Pool[], nowMs: number): Refusal | undefined {
    const wanted = pools.filter(({ position }) => !isDone(items[position]!))
    const empty =
      wanted.find(({ isPortion, tokens, want }) => !isPortion && tokens < want.cost) ??
      wanted.find(({ isPortion, position }) => isPortion && !this.#takeFromPortion(items[position]!, nowMs))
    if (empty !== undefined) {
      const { want, state, position } = empty
      const untilMs = state.fullAfterMs - ((want.burst - want.cost) * want.intervalUs) / 1000
      const retryAfterMs = Math.max(1, Math.ceil(untilMs))
      this.#advances.of(want.key).refuse(want.cost, state, retryAfterMs, nowMs)
      const item = items[position]!
      item.state = state
      return { item, retryAfterMs }
    }
    for (const pool of wanted) {
      const item = items[pool.position]!
      if (pool.isPortion) continue
      pool.tokens -= pool.want.cost
      item.isTaken = true
      item.state = { ...pool.state, remaining: pool.state.remaining + pool.tokens }
    }
    return undefined
  }
}

/** What a command took of one bucket, on its way to the requests that it was taken for. */
interface Pool {
  readonly position: number
  readonly tag: string
  readonly want: TokenBucket
  readonly state: BucketState
  tokens: number
  readonly isPortion: boolean
}

/** Whether an item has its tokens. */
export const isDone = ({ isTaken, heldFrom }: Item): boolean => isTaken || heldFrom > 0

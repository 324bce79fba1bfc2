import type { Clock } from '../ports/clock.ts'

/** A worker is stuck when handlers that were told to stop hold this share of its slots, and still do after a while. */
const STUCK_SHARE = 0.5
const STUCK_AFTER_MS = 10_000

/** How {@link Slots} are made. */
export interface SlotsParts {
  readonly concurrency: number
  readonly tools: readonly string[]
  /** Attempts at once of the tools that are bounded. */
  readonly toolConcurrency?: ReadonlyMap<string, number>
  readonly clock: Clock
  /** Aborts when nothing more is begun. */
  readonly stopped: AbortSignal
  readonly onFree: (tool: string) => void
  readonly onStuck?: () => void
}

/** The slots of a worker: who holds them, and for which tools there is one. */
export class Slots {
  readonly #parts: SlotsParts
  readonly #taken = new Set<{ readonly tool: string }>()
  readonly #abandoned = new Set<{ readonly tool: string }>()
  #isMaybeStuck = false

  constructor(parts: SlotsParts) {
    this.#parts = parts
  }

  get free(): number {
    return this.#parts.concurrency - this.#taken.size - this.#abandoned.size
  }
  /** Held by handlers that run on, though they were told to stop. */
  get abandoned(): number {
    return this.#abandoned.size
  }

  isBounded(tool: string): boolean {
    return this.#parts.toolConcurrency?.has(tool) === true
  }

  /** Takes a slot; the returned function gives it back. */
  take(tool: string): () => void {
    return this.#hold(this.#taken, tool)
  }

  /** Keeps a slot for a handler that does not stop, until it has. */
  abandon(tool: string, until: Promise<unknown>): void {
    const free = this.#hold(this.#abandoned, tool)
    until.then(free, free)
    void this.#lookWhetherStuck()
  }

  /**
   * Tools that have a free slot, and how many tasks of them may come together. A claim that asks for a bounded tool takes no more
   * tasks than it has slots; what it leaves is for a claim of the unbounded ones.
   */
  askable(isUnboundedTurn: boolean): { tools: readonly string[]; limit: number; isPart: boolean } {
    const { tools, toolConcurrency } = this.#parts
    if (toolConcurrency === undefined || toolConcurrency.size === 0) return { tools, limit: this.free, isPart: false }
    const held = new Map<string, number>()
    for (const { tool } of [...this.#taken, ...this.#abandoned]) held.set(tool, (held.get(tool) ?? 0) + 1)
    const leftOf = (tool: string): number => (toolConcurrency.get(tool) ?? Infinity) - (held.get(tool) ?? 0)
    const askable = tools.filter((tool) => (isUnboundedTurn ? leftOf(tool) === Infinity : leftOf(tool) > 0))
    return {
      tools: askable,
      limit: Math.min(this.free, ...askable.map(leftOf)),
      isPart: tools.some((tool) => leftOf(tool) <= 0),
    }
  }

  #hold(holders: Set<{ readonly tool: string }>, tool: string): () => void {
    const one = { tool }
    holders.add(one)
    return () => {
      holders.delete(one)
      this.#parts.onFree(tool)
    }
  }

  async #lookWhetherStuck(): Promise<void> {
    const { clock, concurrency, stopped, onStuck } = this.#parts
    const isStuck = (): boolean => this.#abandoned.size >= concurrency * STUCK_SHARE
    if (this.#isMaybeStuck || !isStuck()) return
    this.#isMaybeStuck = true
    try {
      await clock.sleep(STUCK_AFTER_MS, stopped)
    } catch {
      return // it drains
    }
    this.#isMaybeStuck = false
    if (isStuck()) onStuck?.()
  }
}

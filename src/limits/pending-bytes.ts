/** What one body holds while it comes in, or waits to be served. */
export interface PendingBody {
  /** Counts more bytes. Afterwards it may have been evicted, as may others. */
  grow(bytes: number): void
  /** It is served, or dropped. May be called twice. */
  release(): void
}

interface Held {
  readonly caller: string
  readonly evict: () => void
  bytes: number
  isOver: boolean
}

/**
 * The bytes of all bodies that nobody serves yet: those that have come in part, and those of requests in the queue. Past
 * the bound the biggest body of the caller who holds the most is evicted, so that nobody can take the room of all.
 */
export class PendingBytes {
  readonly #maxBytes: number
  readonly #callers = new Map<string, { bytes: number; bodies: Set<Held> }>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Bytes that are held now. */
  get bytes(): number {
    return this.#bytes
  }

  /** Begins to count a body. `evict` is called at most once: when it has to go. It has been released then. */
  open(caller: string, evict: () => void): PendingBody {
    const held: Held = { caller, evict, bytes: 0, isOver: false }
    return {
      grow: (bytes) => {
        if (held.isOver) return
        this.#add(held, bytes)
        while (this.#bytes > this.#maxBytes) {
          const victim = this.#biggest()
          this.#remove(victim)
          victim.evict()
        }
      },
      release: () => this.#remove(held),
    }
  }

  #add(held: Held, bytes: number): void {
    let entry = this.#callers.get(held.caller)
    if (entry === undefined) this.#callers.set(held.caller, (entry = { bytes: 0, bodies: new Set() }))
    entry.bodies.add(held)
    held.bytes += bytes
    entry.bytes += bytes
    this.#bytes += bytes
  }

  #remove(held: Held): void {
    held.isOver = true
    const entry = this.#callers.get(held.caller)
    if (entry === undefined || !entry.bodies.delete(held)) return
    this.#bytes -= held.bytes
    entry.bytes -= held.bytes
    if (entry.bodies.size === 0) this.#callers.delete(held.caller)
  }

  /** Looked for only when the bound is passed, so nothing keeps them in order. */
  #biggest(): Held {
    let most: { bytes: number; bodies: Set<Held> } | undefined
    for (const entry of this.#callers.values()) if (most === undefined || entry.bytes > most.bytes) most = entry
    let biggest: Held | undefined
    for (const held of most!.bodies) if (biggest === undefined || held.bytes > biggest.bytes) biggest = held
    return biggest!
  }
}

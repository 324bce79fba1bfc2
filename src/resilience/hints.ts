import { keepSubscribed } from '../kernel/keep-subscribed.ts'
import { BREAKERS_CHANNEL } from '../kernel/keys.ts'
import { isObject } from '../kernel/protocol.ts'
import type { Clock } from '../ports/clock.ts'
import type { EventBus, Unsubscribe } from '../ports/event-bus.ts'
import type { Telemetry } from '../ports/telemetry.ts'

/** What {@link BreakerHints} work with. */
export interface BreakerHintsParts {
  readonly bus: EventBus
  readonly clock: Clock
  readonly telemetry: Pick<Telemetry, 'count'>
  readonly nodeId: string
  /** How many nodes there are, this one included. */
  readonly nodeCount: () => number
}

/** So many other nodes must have found a dependency down; of two nodes the other one. */
const NEEDED = 2
/** A bus that strangers write to must not fill the memory, nor keep a hint alive for ever. */
const MAX_HINTS = 1000
const MAX_OPEN_MS = 600_000

/**
 * What other nodes have found down: each tells on the bus when one of its breakers opens.
 *
 * A hint opens nothing by itself: it makes this node's next failure of its own enough. So one sick node opens nobody's breaker, and
 * a healthy one that others wrongly warn stays closed, since nothing of its own fails.
 */
export class BreakerHints {
  readonly #parts: BreakerHintsParts
  /** By dependency and node: when the hint dies. */
  readonly #hints = new Map<string, Map<string, number>>()
  #count = 0
  #unsubscribe: Unsubscribe | undefined

  constructor(parts: BreakerHintsParts) {
    this.#parts = parts
  }

  /** Listens. A bus that can't be reached yet is asked again. */
  async start(): Promise<void> {
    const { bus, clock, telemetry } = this.#parts
    // What was missed is told again when its breaker stays open.
    this.#unsubscribe = await keepSubscribed(
      bus,
      BREAKERS_CHANNEL,
      (bytes) => this.#hear(bytes),
      clock,
      () => telemetry.count('degraded', 'breaker_hints'),
    )
  }

  async close(): Promise<void> {
    await this.#unsubscribe?.().catch(() => this.#parts.telemetry.count('degraded', 'breaker_hints'))
  }

  /** Tells the other nodes that a breaker of this one has opened, or stays open, for so long. Without them it is as good. */
  tell(dependency: string, openMs: number): void {
    const { bus, nodeId, telemetry } = this.#parts
    const hint = { dependency, node: nodeId, openMs: Math.ceil(openMs) }
    bus
      .publish(BREAKERS_CHANNEL, Buffer.from(JSON.stringify(hint)))
      .catch(() => telemetry.count('degraded', 'breaker_hints'))
  }

  /** How many other nodes have found it down, lately. */
  count(dependency: string): number {
    const nodes = this.#hints.get(dependency)
    if (nodes === undefined) return 0
    const nowMs = this.#parts.clock.monotonic()
    for (const [node, untilMs] of nodes) if (untilMs <= nowMs && nodes.delete(node)) this.#count--
    if (nodes.size === 0) this.#hints.delete(dependency)
    return nodes.size
  }

  /** Whether enough of them have. */
  isWarned(dependency: string): boolean {
    if (this.#count === 0) return false
    const count = this.count(dependency)
    return count >= NEEDED || (count === 1 && this.#parts.nodeCount() === 2)
  }

  #hear(bytes: Uint8Array): void {
    const hint = parse(bytes)
    if (hint === undefined || hint.node === this.#parts.nodeId) return
    const { dependency, node, openMs } = hint
    if (this.#count >= MAX_HINTS) for (const known of this.#hints.keys()) this.count(known)
    let nodes = this.#hints.get(dependency)
    if (nodes?.has(node) !== true) {
      if (this.#count >= MAX_HINTS) return
      this.#count++
    }
    if (nodes === undefined) this.#hints.set(dependency, (nodes = new Map()))
    nodes.set(node, this.#parts.clock.monotonic() + Math.min(openMs, MAX_OPEN_MS))
    this.#parts.telemetry.count('breaker_hints')
  }
}

/** Of another release a hint may say more, or other things; what can't be read is none. */
function parse(bytes: Uint8Array): { dependency: string; node: string; openMs: number } | undefined {
  let said: unknown
  try {
    said = JSON.parse(Buffer.from(bytes).toString())
  } catch {
    return undefined
  }
  if (!isObject(said)) return undefined
  const { dependency, node, openMs } = said
  if (typeof dependency !== 'string' || dependency.length > 64 || typeof node !== 'string' || node.length > 64)
    return undefined
  return typeof openMs === 'number' && openMs > 0 ? { dependency, node, openMs } : undefined
}

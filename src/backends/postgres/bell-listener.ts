import type { QueueListener } from '../../ports/task-queue.ts'
import type { Bell } from '../broker/bell.ts'
import { Deliveries } from '../broker/deliveries.ts'

/** Ids are hints: with more than these of one queue, further ones are left out. */
const MAX_IDS = 1000

interface Parts {
  readonly maxDeliveries: number
  readonly onRefused: (error: unknown) => void
  onClose(): Promise<void>
}

/** Who listens. What is heard while no credit is free, or during a pause, becomes one bell of its queue. */
export class BellListener implements QueueListener {
  readonly queues: readonly string[]
  readonly #parts: Parts
  readonly #deliveries: Deliveries<Bell>
  readonly #heard = new Map<string, Set<string>>()
  readonly #again: { bell: Bell; attempt: number }[] = []
  #isPaused = false
  #isClosed = false

  constructor(queues: readonly string[], onRing: (bell: Bell) => Promise<void>, credits: number, parts: Parts) {
    this.queues = queues
    this.#parts = parts
    this.#deliveries = new Deliveries(onRing, credits, parts.onRefused, () => this.#deliver())
  }

  hear(queue: string, ids: readonly string[]): void {
    if (!this.queues.includes(queue)) return
    const heard = this.#heard.get(queue) ?? new Set()
    this.#heard.set(queue, heard)
    for (const id of ids) if (heard.size < MAX_IDS) heard.add(id)
    this.#deliver()
  }

  /** Something may have been missed, in any of its queues. */
  hearAll(): void {
    for (const queue of this.queues) this.hear(queue, [])
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#deliver()
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#deliveries.stop()
    await this.#parts.onClose()
  }

  #deliver(): void {
    while (!this.#isPaused && !this.#isClosed && this.#deliveries.free > 0) {
      const next = this.#again.shift() ?? this.#next()
      if (next === undefined) return
      const { bell, attempt } = next
      this.#deliveries.take({
        payload: bell,
        attempt,
        ack: () => undefined,
        giveBack: () => {
          if (attempt < this.#parts.maxDeliveries) this.#again.push({ bell, attempt: attempt + 1 })
        },
      })
    }
  }

  #next(): { bell: Bell; attempt: number } | undefined {
    const [first] = this.#heard
    if (first === undefined) return undefined
    const [queue, ids] = first
    this.#heard.delete(queue)
    return { bell: { queue, taskIds: [...ids] }, attempt: 1 }
  }
}

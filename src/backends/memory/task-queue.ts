import { HoldfastError } from '../../errors/holdfast-error.ts'
import type { QueueListener, TaskQueue } from '../../ports/task-queue.ts'
import { closedError, type Bell } from '../broker/bell.ts'
import { Deliveries } from '../broker/deliveries.ts'

/** Bells that wait for a listener, of one queue. Whoever listens next looks into the store anyway. */
const MAX_WAITING = 10_000

interface Message {
  readonly bell: Bell
  readonly attempt: number
}

interface Hearer {
  readonly queues: readonly string[]
  /** Whether it takes a message now. */
  isFree(): boolean
  take(message: Message): void
}

/** Bells within one process: the embedded default. What was rung and not heard goes with the process; the store rings again. */
export class MemoryTaskQueue implements TaskQueue {
  readonly #onError: (error: unknown) => void
  readonly #maxDeliveries: number
  readonly #waiting = new Map<string, Message[]>()
  readonly #listeners = new Map<Hearer, QueueListener>()
  #isClosed = false

  /**
   * @param onError told why a listener has rejected
   * @param options.maxDeliveries so often such a bell comes; then it is dropped. Default 10
   */
  constructor(onError: (error: unknown) => void, { maxDeliveries = 10 }: { maxDeliveries?: number } = {}) {
    this.#onError = onError
    this.#maxDeliveries = maxDeliveries
  }

  async ensureTopology(): Promise<void> {
    this.#check()
  }

  /** @throws {HoldfastError} `backend_failed` where too many bells wait already. */
  async ring(queue: string, taskIds: readonly string[]): Promise<void> {
    this.#check()
    if ((this.#waiting.get(queue)?.length ?? 0) >= MAX_WAITING)
      throw new HoldfastError(
        'backend_failed',
        `${MAX_WAITING} bells of the queue ${JSON.stringify(queue)} wait already: nobody listens, or too few do.`,
      )
    this.#put({ bell: { queue, taskIds: [...taskIds] }, attempt: 1 })
  }

  async listen(
    queues: readonly string[],
    onRing: (bell: Bell) => Promise<void>,
    { credits }: { readonly credits: number },
  ): Promise<QueueListener> {
    this.#check()
    const held = new Set<Message>()
    let isPaused = false
    const deliveries = new Deliveries(onRing, credits, this.#onError, () => this.#deliverAll(queues))
    const hearer: Hearer = {
      queues,
      isFree: () => !isPaused && deliveries.free > 0,
      take: (message) => {
        held.add(message)
        deliveries.take({
          payload: message.bell,
          attempt: message.attempt,
          ack: () => held.delete(message),
          giveBack: () => {
            held.delete(message)
            if (message.attempt < this.#maxDeliveries) this.#put({ ...message, attempt: message.attempt + 1 })
          },
        })
      },
    }
    const listener: QueueListener = {
      pause: () => void (isPaused = true),
      resume: () => {
        isPaused = false
        this.#deliverAll(queues)
      },
      close: async () => {
        if (!this.#listeners.delete(hearer)) return
        deliveries.stop()
        for (const message of held) this.#put(message)
        held.clear()
      },
    }
    this.#listeners.set(hearer, listener)
    this.#deliverAll(queues)
    return listener
  }

  async depth(queue: string): Promise<number> {
    this.#check()
    return this.#waiting.get(queue)?.length ?? 0
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const listener of this.#listeners.values()) await listener.close()
    this.#waiting.clear()
  }

  #put(message: Message): void {
    const { queue } = message.bell
    const waiting = this.#waiting.get(queue) ?? []
    this.#waiting.set(queue, waiting)
    waiting.push(message)
    this.#deliver(queue)
  }

  #deliverAll(queues: readonly string[]): void {
    for (const queue of queues) this.#deliver(queue)
  }

  #deliver(queue: string): void {
    const waiting = this.#waiting.get(queue)
    if (waiting === undefined) return
    while (waiting.length > 0) {
      const hearer = [...this.#listeners.keys()].find((one) => one.queues.includes(queue) && one.isFree())
      if (hearer === undefined) return
      // The last in the row next time, so that listeners take turns.
      const listener = this.#listeners.get(hearer)!
      this.#listeners.delete(hearer)
      this.#listeners.set(hearer, listener)
      hearer.take(waiting.shift()!)
    }
    this.#waiting.delete(queue)
  }

  #check(): void {
    if (this.#isClosed) throw closedError()
  }
}

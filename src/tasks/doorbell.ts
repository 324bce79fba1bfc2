import type { Clock } from '../ports/clock.ts'
import type { QueueListener, TaskQueue } from '../ports/task-queue.ts'
import { atMost, START_WAIT_MS } from './at-most.ts'
import { persistently } from './persistent.ts'
import type { Topology } from './topology.ts'

/** What a {@link Doorbell} works with. */
export interface DoorbellParts {
  readonly queue: Pick<TaskQueue, 'listen'>
  readonly queues: readonly string[]
  readonly onRing: Parameters<TaskQueue['listen']>[1]
  readonly credits: number
  /** What there is to listen to. */
  readonly topology: Pick<Topology, 'isStanding' | 'stands'>
  readonly clock: Clock
  readonly onError: (message: string, error: unknown) => void
}

/** A worker's ear. It listens as soon as the broker has what that takes, however long that is; the worker works meanwhile. */
export class Doorbell {
  readonly #parts: DoorbellParts
  readonly #closed = new AbortController()
  #listener: QueueListener | undefined
  #opening: Promise<void> = Promise.resolve()
  #isPaused = false

  constructor(parts: DoorbellParts) {
    this.#parts = parts
  }

  /** Resolves when bells are heard, or it is clear that this takes longer. */
  async start(): Promise<void> {
    const { clock, topology } = this.#parts
    const failed = Promise.withResolvers<void>()
    this.#opening = this.#open(failed.resolve)
    if (topology.isStanding) await atMost(clock, START_WAIT_MS, Promise.race([this.#opening, failed.promise]))
  }

  pause(): void {
    this.#isPaused = true
    this.#listener?.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#listener?.resume()
  }

  async close(): Promise<void> {
    this.#closed.abort()
    await this.#opening
    await this.#listener?.close()
  }

  async #open(onFailure: () => void): Promise<void> {
    const { queue, queues, onRing, credits, topology, clock, onError } = this.#parts
    const { signal } = this.#closed
    const ended = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    await Promise.race([topology.stands, ended])
    let isTold = false
    const opened = persistently(
      clock,
      signal,
      () => queue.listen(queues, onRing, { credits }),
      (error) => {
        if (!isTold) onError('Bells are not heard yet; the worker looks for tasks by itself meanwhile.', error)
        isTold = true
        onFailure()
      },
    ).catch(() => undefined) // closed
    // Broker clients may take their time to find out that nobody answers: an end does not wait for them.
    this.#listener = await Promise.race([opened, ended.then(() => undefined)])
    if (this.#listener === undefined)
      opened
        .then((late) => late?.close())
        .catch((error: unknown) => onError('A listener to bells could not be closed.', error))
    else if (this.#isPaused) this.#listener.pause()
  }
}

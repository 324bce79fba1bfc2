import type { TaskQueue } from '../ports/task-queue.ts'

/** Rings of one queue that may be under way at once; what comes meanwhile goes with the next. */
const IN_FLIGHT = 4
/** Ids are hints, and whoever is woken takes what there is: further ones are left out. */
const MOST_WAITING = 1000

interface Waiting {
  ids: string[]
  inFlight: number
  isScheduled: boolean
}

/**
 * Rings for tasks that are committed. No reply waits for it, and no bell is worth a retry: the store's sweep rings again.
 *
 * 1. What comes in one turn of the event loop leaves together, and so does what comes while enough is under way: a thousand tasks
 *    a second are a hundred messages, and one alone waits for nothing.
 * 2. A broker that is away is reported once, and not for every task.
 */
export class Ringer {
  readonly #queue: Pick<TaskQueue, 'ring'>
  readonly #onError: (error: unknown) => void
  readonly #waiting = new Map<string, Waiting>()
  #isFailing = false

  constructor(queue: Pick<TaskQueue, 'ring'>, onError: (error: unknown) => void) {
    this.#queue = queue
    this.#onError = onError
  }

  ring(queue: string, id: string): void {
    let waiting = this.#waiting.get(queue)
    if (waiting === undefined) this.#waiting.set(queue, (waiting = { ids: [], inFlight: 0, isScheduled: false }))
    if (waiting.ids.length < MOST_WAITING) waiting.ids.push(id)
    this.#schedule(queue, waiting)
  }

  #schedule(queue: string, waiting: Waiting): void {
    if (waiting.isScheduled || waiting.inFlight >= IN_FLIGHT) return
    waiting.isScheduled = true
    setImmediate(() => {
      waiting.isScheduled = false
      void this.#send(queue, waiting)
    })
  }

  async #send(queue: string, waiting: Waiting): Promise<void> {
    const { ids } = waiting
    waiting.ids = []
    waiting.inFlight++
    try {
      await this.#queue.ring(queue, ids)
      this.#isFailing = false
    } catch (error) {
      if (!this.#isFailing) this.#onError(error)
      this.#isFailing = true
    }
    waiting.inFlight--
    if (waiting.ids.length > 0) this.#schedule(queue, waiting)
    else if (waiting.inFlight === 0) this.#waiting.delete(queue)
  }
}

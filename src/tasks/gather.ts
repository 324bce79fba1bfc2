/**
 * Gathers single requests into batches, without a timer: what comes while a batch is under way goes with the next one. An idle
 * caller waits for nothing; a busy one gets batches as big as its store is slow.
 */
export class Gather<Item, Result> {
  readonly #send: (items: readonly Item[]) => Promise<readonly Result[]>
  readonly #maxItems: number
  #waiting: { item: Item; resolve: (result: Result) => void; reject: (error: unknown) => void }[] = []
  #isSending = false

  /** @param send answers each item in its place. */
  constructor(send: (items: readonly Item[]) => Promise<readonly Result[]>, maxItems: number) {
    this.#send = send
    this.#maxItems = maxItems
  }

  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      // A turn of the event loop: what is done in one go leaves in one go.
      if (!this.#isSending) {
        this.#isSending = true
        queueMicrotask(() => void this.#run())
      }
    })
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#maxItems)
      try {
        const results = await this.#send(batch.map(({ item }) => item))
        for (const [index, { resolve }] of batch.entries()) resolve(results[index]!)
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#isSending = false
  }
}

/** Stands for what a tool works with, such as a database that grants so many connections. */

/** How many calls the pool serves at once, and how long each takes. */
export const poolSize = 40
export const serviceMs = 50

/** Connections that are lent one by one; who finds none waits in line, as in any client's pool. */
export class Pool {
  #free: number
  readonly #waiting = new Set<() => void>()

  constructor(size: number) {
    this.#free = size
  }

  /**
   * Uses a connection for `ms`.
   *
   * @throws the signal's reason, when it aborts while the call waits in line.
   */
  async use(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#free > 0) this.#free -= 1
    else await this.#turn(signal)
    await new Promise((resolve) => {
      setTimeout(resolve, ms)
    })
    const [next] = this.#waiting
    if (next === undefined) this.#free += 1
    else next()
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(take)
        signal.removeEventListener('abort', onAbort)
      }
      const take = (): void => {
        leave()
        resolve()
      }
      const onAbort = (): void => {
        leave()
        reject(signal.reason as Error)
      }
      if (signal.aborted) return reject(signal.reason as Error)
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.add(take)
    })
  }
}

/** A flight has taken too long to be waited for. */
export const OVERDUE = Symbol('overdue')

/**
 * One computing of a value in this process, and those who wait for it.
 *
 * 1. It goes on while somebody waits; when the last one has gone, its signal aborts. One in the background always goes on.
 * 2. Who joined waits until it is overdue; who began it waits to the end.
 */
export class Flight<T> {
  readonly #controller = new AbortController()
  readonly #landing: Promise<T>
  readonly #late = new Set<() => void>()
  readonly #isBackground: boolean
  #waiting = 0
  #isOverdue = false
  #hasOwnerLeft = false

  /** @param isBackground nobody need wait for it */
  constructor(run: (signal: AbortSignal) => Promise<T>, isBackground: boolean) {
    this.#isBackground = isBackground
    this.#landing = run(this.#controller.signal)
    this.#landing.catch(() => undefined) // who waits is told
  }

  /** Resolves when it has landed, however. */
  get ended(): Promise<unknown> {
    return this.#landing.then(
      () => undefined,
      () => undefined,
    )
  }
  /** Who began it waits no longer: what it fails of may be their own. */
  get hasOwnerLeft(): boolean {
    return this.#hasOwnerLeft
  }
  /** Nobody waits for it, and it was told to stop. */
  get isAborted(): boolean {
    return this.#controller.signal.aborted
  }

  /** @throws what the flight failed of; the reason of `signal`. */
  wait(signal: AbortSignal | undefined, isOwner: boolean): Promise<T | typeof OVERDUE> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error)
      if (!isOwner && this.#isOverdue) return resolve(OVERDUE)
      this.#waiting++
      const end = (): void => {
        this.#waiting--
        signal?.removeEventListener('abort', leave)
        this.#late.delete(late)
      }
      const leave = (): void => {
        end()
        if (isOwner) this.#hasOwnerLeft = true
        if (this.#waiting === 0 && !this.#isBackground) this.#controller.abort(signal!.reason)
        reject(signal!.reason as Error)
      }
      const late = (): void => {
        end()
        resolve(OVERDUE)
      }
      signal?.addEventListener('abort', leave, { once: true })
      if (!isOwner) this.#late.add(late)
      this.#landing.then(
        (landing) => {
          end()
          resolve(landing)
        },
        (error: Error) => {
          end()
          reject(error)
        },
      )
    })
  }

  /** Lets go those who joined. */
  overdue(): void {
    this.#isOverdue = true
    for (const late of Array.from(this.#late)) late()
  }

  abort(reason: unknown): void {
    this.#controller.abort(reason)
  }
}

/**
 * Lets callers share a read, without any of them getting an answer to a question that was sent before it asked: who comes while
 * one is under way shares the next one, with all others who come meanwhile.
 */
export class Coalescer<T> {
  readonly #running = new Map<string, Run<T>>()

  /** @param read must be the same for the same key */
  run(key: string, read: () => Promise<T>): Promise<T> {
    const last = this.#running.get(key)
    if (last !== undefined && !last.hasBegun) return last.result
    const run: Run<T> = { hasBegun: false, result: undefined as unknown as Promise<T> }
    run.result = this.#after(last).then(() => {
      run.hasBegun = true
      return read()
    })
    this.#running.set(key, run)
    const end = (): void => {
      if (this.#running.get(key) === run) this.#running.delete(key)
    }
    run.result.then(end, end)
    return run.result
  }

  #after(last: Run<T> | undefined): Promise<unknown> {
    return last === undefined ? Promise.resolve() : last.result.catch(() => undefined)
  }
}

interface Run<T> {
  hasBegun: boolean
  result: Promise<T>
}

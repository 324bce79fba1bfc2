/**
 * Time as a port: everything that waits or stamps takes a `Clock`, so tests move time by hand.
 */
export interface Clock {
  /** Milliseconds since the epoch, for stamps that people or other machines read. */
  now(): number
  /** Milliseconds that never go backwards, with a fraction, for durations. */
  monotonic(): number
  /**
   * Resolves after `ms`. Does not keep the process alive.
   * @throws the signal's reason, when `signal` aborts first.
   */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/** What a timer of Node can wait; it fires at once where it is given more. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error)
      const onAbort = (): void => {
        clearTimeout(timer)
        reject(signal!.reason as Error)
      }
      const wait = (leftMs: number): NodeJS.Timeout =>
        setTimeout(
          () => {
            if (leftMs > LONGEST_TIMER_MS) timer = wait(leftMs - LONGEST_TIMER_MS)
            else {
              signal?.removeEventListener('abort', onAbort)
              resolve()
            }
          },
          Math.min(leftMs, LONGEST_TIMER_MS),
        ).unref()
      let timer = wait(ms)
      signal?.addEventListener('abort', onAbort, { once: true })
    }),
}

import type { Clock } from '../ports/clock.ts'

const FIRST_WAIT_MS = 50
const LONGEST_WAIT_MS = 5_000

/**
 * Does something until it succeeds, with full jitter between the attempts (Brooker, "Exponential Backoff And Jitter"). For
 * writes of a task store, which may all be repeated: an error leaves open whether they were carried out.
 *
 * @throws the reason of `signal`, once it aborts: then it no longer matters.
 */
export async function persistently<T>(
  clock: Clock,
  signal: AbortSignal,
  work: () => Promise<T>,
  onError: (error: unknown) => void,
): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    signal.throwIfAborted()
    try {
      return await work()
    } catch (error) {
      signal.throwIfAborted()
      onError(error)
      await clock.sleep(Math.random() * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt), signal)
    }
  }
}

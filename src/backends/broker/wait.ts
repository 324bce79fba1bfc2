import { HoldfastError } from '../../errors/holdfast-error.ts'

/** Between half of a doubling time and all of it, at most `maxMs`: what was lost together does not come back in step. */
export const backoffMs = (attempt: number, firstMs = 50, maxMs = 2000): number =>
  Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 20)) * (0.5 + Math.random() / 2)

/** Waits; resolves early when the signal fires. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}

/**
 * Rejects when an operation takes longer than it may. The operation itself must end by a bound of its own: what it still does is
 * only no longer waited for.
 * @throws {HoldfastError} `backend_failed` after `timeoutMs`.
 */
export async function within<T>(timeoutMs: number, what: string, operation: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new HoldfastError('backend_failed', `${what} was not answered within ${timeoutMs} ms.`)),
      timeoutMs,
    )
  })
  try {
    return await Promise.race([operation, late])
  } finally {
    clearTimeout(timer)
  }
}

import type { Clock } from '../ports/clock.ts'

/** A start waits for a broker so long, and no longer: whatever it is needed for comes later then. */
export const START_WAIT_MS = 3_000

/**
 * Waits for something that goes on by itself, at most so long.
 * @throws what it throws in that time.
 */
export async function atMost(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  const waited = new AbortController()
  const late = clock.sleep(ms, waited.signal).catch(() => undefined) // `work` was sooner
  try {
    await Promise.race([work, late])
  } finally {
    waited.abort()
  }
}

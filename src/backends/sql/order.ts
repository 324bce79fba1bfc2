/*
 * Fairness: a task's place in its queue is the time at which it became ready, plus a step for each task that its owner has
 * ready or leased in that queue already. So owners take turns, and a claim is one index scan. Parked tasks compete for nothing,
 * and don't count.
 */

/** The step, in milliseconds, divided by the task's weight. */
export const ORDER_STEP_MS = 10
/** Nobody is put back further. */
export const ORDER_MOST_MS = 10_000
/** More tasks of an owner are not counted, so that counting has a bound. */
export const ORDER_MOST_COUNTED = 1000
/** No wait after a crash is longer, however many there were. */
export const CRASH_BACKOFF_MOST_MS = 3_600_000

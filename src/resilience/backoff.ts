import {
  decorrelatedJitterGenerator,
  ExponentialBackoff,
  fullJitterGenerator,
  type IBackoff,
  type IBackoffFactory,
} from 'cockatiel'
import type { ResolvedDependency } from '../define/dependency.ts'

/** The waits between the attempts of a use: each `next()` is another one, of `duration` milliseconds. */
export type Backoff = IBackoff<unknown>

/** Makes what draws the waits of each use. */
export function createBackoff({
  baseMs,
  maxMs,
  jitter,
}: Exclude<ResolvedDependency['retry'], false>): IBackoffFactory<unknown> {
  const bounds = { initialDelay: baseMs, maxDelay: maxMs }
  return jitter === 'full'
    ? new ExponentialBackoff({ ...bounds, generator: fullJitterGenerator })
    : new ExponentialBackoff({ ...bounds, generator: decorrelatedJitterGenerator })
}

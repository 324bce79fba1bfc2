// What holds for every broker that is gone: nothing is refused, since it is a doorbell only.
import type { Expectations } from '../cells.ts'

/** Of all brokers. */
export const BROKER: Omit<Expectations, 'attemptsPerSecond'> = {
  boundMs: 4500,
  slowMs: 8000,
  recoverMs: 3000,
  cells: { start: { gone: 'works', withinMs: 5000, words: 'works, at most 3 s later' } },
}

/** Time-outs of brokers in stands, as options of their URLs. */
export const TIMEOUTS = 'connectTimeoutMs=1000&commandTimeoutMs=1000'

// What holds for every broker that is gone: nothing is refused, since it is a doorbell only.
import type { Expectations } from '../cells.ts'

/** Workers look for what no bell rings for, while a machine that is busy with the load has other things to do. */
const BY_LOOKING = { gone: 'works', withinMs: 8000 } as const

/** Of all brokers. */
export const BROKER: Omit<Expectations, 'attemptsPerSecond'> = {
  boundMs: 4500,
  slowMs: 8000,
  recoverMs: 3000,
  cells: {
    start: { gone: 'works', withinMs: 5000, words: 'works, at most 3 s later' },
    task: BY_LOOKING,
    taskCall: BY_LOOKING,
    bigTask: BY_LOOKING,
  },
}

/** Time-outs of brokers in stands, as options of their URLs. */
export const TIMEOUTS = 'connectTimeoutMs=1000&commandTimeoutMs=1000'

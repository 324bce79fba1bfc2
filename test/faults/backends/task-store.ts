// What holds for every task store that is gone.
import type { Expectations } from '../cells.ts'

const REFUSED = { gone: { fails: 'state_unavailable' } } as const

/** Features that need a task store. */
export const TASK_STORE_CELLS: Expectations['cells'] = {
  start: { gone: { fails: 'backend_failed' }, words: 'ends with an error' },
  taskStart: REFUSED,
  taskGet: REFUSED,
  task: { ...REFUSED, goesOn: true, words: '`state_unavailable`; those that were started go on' },
  taskCall: { ...REFUSED, goesOn: true, words: '`state_unavailable`; those that wait go on waiting' },
  bigTask: { ...REFUSED, goesOn: true, words: '`state_unavailable`; those that were started go on' },
}

import { expect, test } from 'vitest'
import { defineTool } from '../../src/index.ts'
import { resolveTaskOptions } from '../../src/define/task.ts'
import { retry, type EndingAttempt } from '../../src/tasks/attempt-end.ts'

const tool = {
  ...defineTool({ name: 'work', description: 'Works', task: true, run: () => '' }),
  task: resolveTaskOptions({ maxAttempts: 10, maxBackoffMs: 5000 }, 'work'),
}
/** Waits after so many attempts that were tried again before. */
const waits = (attempts: number): number[] =>
  Array.from({ length: 4000 }, () => {
    const outcome = retry({ task: { attempts, maxAttempts: 10 }, tool } as unknown as EndingAttempt, undefined)
    return outcome.kind === 'retry' ? outcome.runAfterMs : Number.NaN
  })

test('waits between attempts are spread evenly from nothing to a bound that doubles from a second to the tool’s own', () => {
  for (const [attempts, boundMs] of [
    [0, 1000],
    [1, 2000],
    [2, 4000],
    [3, 5000],
    [8, 5000],
  ] as const) {
    const all = waits(attempts).toSorted((a, b) => a - b)
    expect(all[0]).toBeGreaterThanOrEqual(0)
    expect(all.at(-1)).toBeLessThanOrEqual(boundMs)
    for (const share of [0.1, 0.5, 0.9]) {
      const at = all[Math.floor(share * all.length)]! / boundMs
      expect(Math.abs(at - share), `${attempts} attempts, ${share}`).toBeLessThan(0.05)
    }
  }
})

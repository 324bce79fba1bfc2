import { describe, expect, test } from 'vitest'
import type { Cell, Expectations } from './cells.ts'
import { BACKENDS } from './backends/index.ts'
import { FAULTS, type FaultName } from './faults.ts'
import { FEATURE_NAMES } from './features.ts'
import { judge, judgeAttempts } from './judge.ts'
import type { Record } from './load.ts'

const BEGAN = 10_000
const ENDED = 20_000
const BOUND = 2000
const RECOVER = 3000

const expecting = (cell: Cell): Expectations => ({
  boundMs: BOUND,
  slowMs: 5000,
  recoverMs: RECOVER,
  attemptsPerSecond: 10,
  cells: { taskStart: cell },
})
/** A use of the feature that is judged. */
const use = (startMs: number, tookMs: number, code = 'ok', text?: string): Record => ({
  feature: 'taskStart',
  node: 0,
  startMs,
  endMs: startMs + tookMs,
  code,
  ...(text === undefined ? {} : { text }),
})
/** What a use takes while all is well. */
const USUAL = 10
const well = [use(5000, USUAL), use(ENDED + 1000, 10), use(ENDED + 2000, 10)]
const problemsOf = (records: readonly Record[], cell: Cell, fault: FaultName = 'refused'): readonly string[] =>
  judge(
    'taskStart',
    { fault, settledMs: 5000, beganMs: BEGAN, endedMs: ENDED, records, attempts: { during: 0, after: 0 } },
    expecting(cell),
  ).problems

const REFUSED: Cell = { gone: { fails: 'state_unavailable' } }
const refused = use(12_000, 100, 'state_unavailable')

describe('a cell holds', () => {
  test.each<[string, Cell, Record[]]>([
    ['works, and it works', { gone: 'works' }, [use(12_000, 100)]],
    ['works, but not before all was ready', { gone: 'works' }, [use(4000, 7000, 'no answer'), use(12_000, 100)]],
    [
      'works, later than it should by what the machine took before',
      { gone: 'works' },
      [use(6000, 400), use(12_000, 2800)],
    ],
    ['works, in a time of its own', { gone: 'works', withinMs: 5000 }, [use(12_000, 5000)]],
    ['is refused, and is refused in time', REFUSED, [refused, use(13_000, BOUND, 'state_unavailable')]],
    [
      'is refused, and is refused until shortly after the fault',
      REFUSED,
      [refused, use(ENDED + 500, 100, 'state_unavailable')],
    ],
    ['waits, and ends after the fault', { gone: 'waits' }, [use(12_000, 9000), use(15_000, 6000)]],
    ['goes on, and what had begun ends after the fault', { ...REFUSED, goesOn: true }, [refused, use(9900, 11_000)]],
  ])('that %s', (_, cell, records) => {
    expect(problemsOf([...well, ...records], cell)).toEqual([])
  })

  test('where a backend that flaps is met by some uses, and not by others', () => {
    expect(problemsOf([...well, refused, use(12_500, 10)], REFUSED, 'flapping')).toEqual([])
  })
})

describe('a cell does not hold', () => {
  test.each<[string, Cell, Record[], RegExp]>([
    ['works, but is refused', { gone: 'works' }, [use(12_000, 100), refused], /something else during/],
    ['works, but late', { gone: 'works' }, [use(12_000, 2600)], /took too long/],
    [
      'is refused, but with another code',
      REFUSED,
      [refused, use(13_000, 10, 'internal_error')],
      /something else during/,
    ],
    ['is refused, but late', REFUSED, [use(12_000, BOUND + USUAL + 1, 'state_unavailable')], /took too long/],
    ['is refused, but works: then nothing was broken', REFUSED, [refused, use(13_000, 10)], /worked during the fault/],
    [
      'is refused, and for too long after the fault',
      REFUSED,
      [refused, use(ENDED + RECOVER, 10, 'state_unavailable')],
      /later than 3000 ms/,
    ],
    [
      'is refused, and with another code after the fault',
      REFUSED,
      [refused, use(ENDED + 500, 10, 'isError')],
      /something else after/,
    ],
    ['waits, but is refused', { gone: 'waits' }, [use(12_000, 9000), refused], /something else during/],
    ['waits, but ends without the backend', { gone: 'waits' }, [use(12_000, 100)], /ended without/],
    [
      'waits, and for too long after the fault',
      { gone: 'waits' },
      [use(12_000, 8000 + RECOVER + BOUND + USUAL + 1)],
      /took too long/,
    ],
    [
      'goes on, but what had begun is refused',
      { ...REFUSED, goesOn: true },
      [refused, use(9900, 1000, 'state_unavailable')],
      /none that had begun/,
    ],
    ['was not used meanwhile', REFUSED, [], /was not used during/],
    [
      'tells what a driver says',
      REFUSED,
      [{ ...refused, text: 'connect ECONNREFUSED 10.0.0.7:5432' }],
      /none of its business/,
    ],
    ['tells where a server is', REFUSED, [{ ...refused, text: 'no answer of 127.0.0.1' }], /none of its business/],
  ])('that %s', (_, cell, records, problem) => {
    expect(problemsOf([...well, ...records], cell).join('\n')).toMatch(problem)
  })

  test('that failed before anything was broken, or was never seen well again', () => {
    expect(problemsOf([...well, use(6000, 10, 'isError'), refused], REFUSED).join()).toMatch(/failed before the fault/)
    expect(problemsOf([well[0]!, refused], REFUSED).join()).toMatch(/did not succeed after/)
    expect(problemsOf([well[1]!, refused], REFUSED).join()).toMatch(/not used before/)
  })

  test('that a slow backend refuses, where slowness is to be waited for', () => {
    expect(problemsOf([...well, refused], REFUSED, 'slow').join()).toMatch(/something else during/)
    expect(problemsOf([...well, use(12_000, 4000)], REFUSED, 'slow')).toEqual([])
    expect(problemsOf([...well, refused], { ...REFUSED, slow: { fails: 'state_unavailable' } }, 'slow')).toEqual([])
  })
})

test('more connections in a second than are allowed are a stampede, whenever they are tried', () => {
  const seen = (during: number, after: number, fault: FaultName = 'refused') => ({
    fault,
    settledMs: 5000,
    beganMs: BEGAN,
    endedMs: ENDED,
    records: [],
    attempts: { during, after },
  })
  const expected = expecting(REFUSED)
  expect(judgeAttempts(seen(10, 10), expected)).toEqual([])
  expect(judgeAttempts(seen(11, 10), expected).join()).toMatch(/11 connections .* during/)
  expect(judgeAttempts(seen(10, 11), expected).join()).toMatch(/11 connections .* after/)
  expect(judgeAttempts(seen(20, 20, 'flapping'), expected)).toEqual([])
})

test('every backend bounds what it lets wait, and names only features that there are', () => {
  for (const { boundMs, recoverMs, slowMs, attemptsPerSecond, cells } of Object.values(BACKENDS)) {
    for (const bound of [boundMs, recoverMs, slowMs]) expect(bound).toBeLessThanOrEqual(15_000)
    expect(attemptsPerSecond).toBeLessThanOrEqual(100)
    for (const feature of Object.keys(cells)) expect(FEATURE_NAMES).toContain(feature)
  }
  expect(FAULTS).toHaveLength(4)
})

import { afterEach, expect, test } from 'vitest'
import { Attendance } from '../../src/tasks/attendance.ts'
import { FakeClock } from '../../src/testing/index.ts'

let attendance: Attendance | undefined
afterEach(() => attendance?.close())

function setUp(): { clock: FakeClock; calls: [readonly string[], number][]; attendance: Attendance } {
  const clock = new FakeClock()
  const calls: [readonly string[], number][] = []
  const store = { attend: async (ids: readonly string[], ttlMs: number) => void calls.push([ids, ttlMs]) }
  attendance = new Attendance(store, clock, () => undefined)
  return { clock, calls, attendance }
}
/** The same, over a store that may be away. */
function setUpAway(): { clock: FakeClock; calls: number[]; attendance: Attendance; store: { isAway: boolean } } {
  const clock = new FakeClock()
  const calls: number[] = []
  const store = {
    isAway: false,
    async attend() {
      calls.push(clock.monotonic())
      if (this.isAway) throw new Error('away')
    },
  }
  attendance = new Attendance(store, clock, () => undefined)
  return { clock, calls, attendance, store }
}
const pass = async (clock: FakeClock, ms: number): Promise<void> => {
  await clock.advance(ms)
  await new Promise((resolve) => setImmediate(resolve))
}

test('a task that was started just now is kept alive from the next round on; one that is taken over, at once', async () => {
  const { clock, calls, attendance: all } = setUp()
  all.attend('new', true)
  expect(calls).toEqual([])
  await pass(clock, 20_000)
  expect(calls).toEqual([[['new'], 60_000]])
  await pass(clock, 10_000)
  all.attend('other')
  expect(calls[1]).toEqual([['other'], 60_000])
  await pass(clock, 10_000)
  expect(calls[2]).toEqual([['new', 'other'], 60_000])
})

test('a task is kept alive as long as one waits for it, and not longer', async () => {
  const { clock, calls, attendance: all } = setUp()
  const [first, second] = [all.attend('a', true), all.attend('a', true)]
  first()
  first()
  await pass(clock, 20_000)
  expect(calls).toHaveLength(1)
  second()
  await pass(clock, 40_000)
  expect(calls).toHaveLength(1)
})

test('where the store is away, it is told again within two seconds, and then as rarely as before', async () => {
  const { clock, calls, attendance: all, store } = setUpAway()
  all.attend('a', true)
  store.isAway = true
  await pass(clock, 20_000)
  for (let step = 0; step < 100; step++) await pass(clock, 100)
  expect(calls.length).toBeGreaterThanOrEqual(6)
  expect(calls.length).toBeLessThanOrEqual(21)
  const waits = calls.slice(1).map((at, index) => at - calls[index]!)
  expect(Math.max(...waits)).toBeLessThanOrEqual(1600)
  store.isAway = false
  const before = calls.length
  for (let step = 0; step < 16; step++) await pass(clock, 100)
  expect(calls.length).toBe(before + 1)
  await pass(clock, 15_000)
  expect(calls.length).toBe(before + 1)
})

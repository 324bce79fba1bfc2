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

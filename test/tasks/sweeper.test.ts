import { afterEach, expect, test } from 'vitest'
import type { SweepReport } from '../../src/ports/task-store.ts'
import { Sweeper } from '../../src/tasks/sweeper.ts'
import { FakeClock } from '../../src/testing/index.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const NOTHING: SweepReport = { woken: 0, expired: 0, lost: 0, purged: 0, rings: [], changed: [] }
const bytes = Buffer.from('{}')

let sweeper: Sweeper | undefined
afterEach(() => sweeper?.close())

/** A sweeper that comes every 4 s, more or less; gives when it swept, in ms. */
async function start(
  clock: FakeClock,
  reports: SweepReport[],
  ring: (queue: string, ids: readonly string[]) => Promise<void> = async () => undefined,
): Promise<number[]> {
  const times: number[] = []
  const store = {
    async sweep() {
      times.push(clock.monotonic())
      return reports.shift() ?? NOTHING
    },
  }
  sweeper = new Sweeper({
    store,
    queue: { ring },
    clock,
    everyMs: 4000,
    renewMs: 1000,
    sweep: { expiredError: bytes, lostError: bytes, expiredAnswer: bytes, crashBackoffMs: 1000, overdueMs: 10_000 },
    onChanged: () => undefined,
    onError: (_message, error) => {
      throw error
    },
  })
  sweeper.start()
  await turn()
  return times
}
async function pass(clock: FakeClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) {
    await clock.advance(100)
    await turn()
  }
}

test('an idle sweeper comes about every four seconds, and never twice within two', async () => {
  const clock = new FakeClock()
  const times = await start(clock, [])
  await pass(clock, 60_000)
  const gaps = times.slice(1).map((at, index) => at - times[index]!)
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(2000)
  expect(Math.max(...gaps)).toBeLessThanOrEqual(6100)
})

test('tasks of a lost worker are woken when their wait is over, and not a sweep later', async () => {
  const clock = new FakeClock()
  const times = await start(clock, [{ ...NOTHING, lost: 3 }])
  await pass(clock, 1500)
  expect(times).toHaveLength(2)
  expect(times[1]! - times[0]!).toBeLessThanOrEqual(1100)
})

test('a broker that does not answer holds no sweep up', async () => {
  const clock = new FakeClock()
  const rung: string[] = []
  const busy = { ...NOTHING, rings: ['a', 'b'].map((queue) => ({ queue, ids: ['1', '2'] })) }
  const times = await start(clock, [busy, busy, busy, busy], (queue, ids) => {
    rung.push(`${queue}: ${ids.join()}`)
    return new Promise(() => undefined)
  })
  await pass(clock, 20_000)
  expect(times.length).toBeGreaterThanOrEqual(3)
  expect(rung.slice(0, 2)).toEqual(['a: 1,2', 'b: 1,2'])
})

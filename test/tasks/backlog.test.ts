import { expect, test } from 'vitest'
import { Backlog } from '../../src/tasks/backlog.ts'
import { FakeClock } from '../../src/testing/index.ts'

const BOUND = 3

test('tasks are counted once a second, and refused by the newest count: one of long ago refuses nobody', async () => {
  const clock = new FakeClock()
  let waiting = 0
  let counts = 0
  const isOver = async (_queue: string, bound: number): Promise<boolean> => {
    counts++
    return waiting > bound
  }
  const backlog = new Backlog({ isOver }, clock, BOUND)
  await Promise.all([backlog.admit('default'), backlog.admit('default')])
  expect(counts).toBe(1)
  waiting = 4
  await backlog.admit('default') // by the count of this second
  await clock.advance(1_000)
  await expect(backlog.admit('default')).rejects.toMatchObject({ code: 'overloaded', data: { retryAfterMs: 5_000 } })
  waiting = 0
  await clock.advance(3_600_000)
  await backlog.admit('default')
  expect(counts).toBe(3)
})

test('a store that can not count refuses nobody: it says itself what is wrong', async () => {
  const backlog = new Backlog({ isOver: () => Promise.reject(new Error('away')) }, new FakeClock(), BOUND)
  await backlog.admit('default')
})

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { systemClock } from '../../src/ports/clock.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const DAY_MS = 24 * 3_600_000

test('a sleep may be longer than a timer of Node, which ends after 25 days', async () => {
  let isAwake = false
  const sleeping = systemClock.sleep(60 * DAY_MS).then(() => (isAwake = true))
  await vi.advanceTimersByTimeAsync(60 * DAY_MS - 1)
  expect(isAwake).toBe(false)
  await vi.advanceTimersByTimeAsync(1)
  await sleeping
  expect(vi.getTimerCount()).toBe(0)
})

test('a long sleep ends when it is told to, also in its later parts', async () => {
  const controller = new AbortController()
  const sleeping = systemClock.sleep(60 * DAY_MS, controller.signal)
  const ended = expect(sleeping).rejects.toThrow('enough')
  await vi.advanceTimersByTimeAsync(40 * DAY_MS)
  controller.abort(new Error('enough'))
  await ended
  expect(vi.getTimerCount()).toBe(0)
})

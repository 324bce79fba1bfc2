import { expect, test } from 'vitest'
import { MemoryStateStore } from '../../src/backends/memory/state-store.ts'
import { systemClock, type Clock } from '../../src/ports/clock.ts'

test('a clock that is set back empties a bucket at worst, and does not close it for as long as the clock went', async () => {
  let nowMs = Date.UTC(2026, 0, 2)
  const clock: Clock = { ...systemClock, now: () => nowMs }
  const store = new MemoryStateStore(clock)
  const bucket = { key: '{t}', burst: 2, intervalUs: 1_000_000 }
  expect((await store.takeTokens('t', [{ ...bucket, cost: 1 }])).ok).toBe(true)
  nowMs -= 3_600_000
  const refused = await store.takeTokens('t', [{ ...bucket, cost: 1 }])
  expect(refused).toMatchObject({ ok: false, retryAfterMs: 1000 })
  nowMs += 1000
  expect((await store.takeTokens('t', [{ ...bucket, cost: 1 }])).ok).toBe(true)
  await store.close()
})

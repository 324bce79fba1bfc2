import fc from 'fast-check'
import { expect, test } from 'vitest'
import { defineDependency } from '../../src/index.ts'
import { guardsAt, networkError, turn } from './support.ts'

/** How something outside behaves for a while. */
interface Phase {
  readonly ms: number
  readonly behaviour: 'up' | 'refuses' | 'hangs' | 'flaps' | 'slow'
}

const OPTIONS = {
  timeoutMs: 1000,
  deadlineMs: 4000,
  idempotent: true,
  retry: { maxAttempts: 3, baseMs: 50, maxMs: 500 },
  retryBudget: { ratio: 0.2, perSecond: 1 },
  breaker: { consecutiveFailures: 5, openMs: 2000 },
  bulkhead: { maxConcurrent: 8, maxQueue: 8, maxWaitMs: 300 },
}
const TICK_MS = 20
const UP_AGAIN_MS = 20_000

async function simulate(phases: readonly Phase[], usesPerTick: readonly number[]): Promise<void> {
  const { guards, clock } = guardsAt(undefined, { random: Math.random })
  const api = defineDependency({ name: 'api', ...OPTIONS })
  const all: readonly Phase[] = [...phases, { ms: UP_AGAIN_MS, behaviour: 'up' }]
  const endMs = all.reduce((sum, { ms }) => sum + ms, 0)
  const behaviourAt = (ms: number): Phase['behaviour'] => {
    let untilMs = 0
    return all.find((phase) => ms < (untilMs += phase.ms))?.behaviour ?? 'up'
  }
  let [uses, attempts, repeats, inFlight, ended] = [0, 0, 0, 0, 0]
  const outcomes: { atMs: number; isOk: boolean }[] = []

  const work = async (signal: AbortSignal, attempt: number): Promise<string> => {
    attempts++
    if (attempt > 1) repeats++
    // No more than one attempt is let through while the breaker is not closed: this is it.
    if (guards.list()[0]!.breaker !== 'closed') expect(guards.list()[0]!.breaker).toBe('half_open')
    expect(++inFlight).toBeLessThanOrEqual(OPTIONS.bulkhead.maxConcurrent)
    try {
      const behaviour = behaviourAt(clock.monotonic())
      if (behaviour === 'refuses' || (behaviour === 'flaps' && Math.random() < 0.5)) throw networkError('ECONNREFUSED')
      await clock.sleep(behaviour === 'hangs' ? 1e9 : behaviour === 'slow' ? 900 : 5, signal)
      return 'ok'
    } finally {
      inFlight--
    }
  }
  const useOnce = async (): Promise<void> => {
    uses++
    const begunMs = clock.monotonic()
    const isOpen = guards.list()[0]?.breaker === 'open'
    let isOk = true
    try {
      await guards.use(api, work, {}, {})
    } catch (error) {
      isOk = false
      // Whoever is refused waits for nothing but the queue.
      if ((error as { code?: string }).code === 'dependency_unavailable')
        expect(clock.monotonic() - begunMs).toBeLessThanOrEqual(isOpen ? TICK_MS : OPTIONS.bulkhead.maxWaitMs)
    }
    expect(clock.monotonic() - begunMs).toBeLessThanOrEqual(OPTIONS.deadlineMs)
    ended++
    outcomes.push({ atMs: begunMs, isOk })
  }

  const running: Promise<void>[] = []
  for (let tick = 0; tick * TICK_MS < endMs; tick++) {
    const count = clock.monotonic() < endMs - UP_AGAIN_MS ? usesPerTick[tick % usesPerTick.length]! : 1
    for (let use = 0; use < count; use++) running.push(useOnce())
    await clock.advance(TICK_MS)
  }
  await clock.advance(OPTIONS.deadlineMs)
  await turn()
  await Promise.all(running)
  expect(ended).toBe(uses)
  expect(inFlight).toBe(0)
  expect(guards.list()).toEqual([{ name: 'api', breaker: 'closed', running: 0, queued: 0, hints: 0 }])
  // The load on what fails: the uses, and what the budget allows.
  expect(repeats).toBeLessThanOrEqual(10 + 0.2 * uses + clock.monotonic() / 1000)
  expect(attempts).toBeLessThanOrEqual(uses + repeats)
  // It is back within one probe interval of its being up, and the slowest attempt from before.
  const backMs = endMs - UP_AGAIN_MS + OPTIONS.breaker.openMs + OPTIONS.timeoutMs + TICK_MS
  for (const { atMs, isOk } of outcomes.filter((one) => one.atMs > backMs))
    expect(isOk, `at ${atMs} of ${backMs}`).toBe(true)
}

test('whatever happens outside: bounded load, bounded waits, and back by itself', async () => {
  const phase = fc.record({
    ms: fc.integer({ min: 200, max: 4000 }),
    behaviour: fc.constantFrom<Phase['behaviour']>('up', 'refuses', 'hangs', 'flaps', 'slow'),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(phase, { minLength: 1, maxLength: 4 }),
      fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 5 }),
      simulate,
    ),
    { numRuns: 12 },
  )
}, 120_000)

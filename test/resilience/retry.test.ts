import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toolError, type RetryOptions } from '../../src/index.ts'
import { createBackoff } from '../../src/resilience/backoff.ts'
import { parseRetryAfter } from '../../src/resilience/retry-after.ts'
import { RetryBudget } from '../../src/resilience/retry-budget.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { guardsAt, networkError, plain, turn, watch } from './support.ts'

const RETRY: RetryOptions = { maxAttempts: 4, baseMs: 100, maxMs: 1000 }
const backoffOf = (jitter: 'full' | 'decorrelated'): ReturnType<typeof createBackoff> =>
  createBackoff({ maxAttempts: 3, baseMs: 100, maxMs: 1000, jitter })

/** Waits of many uses: those before the second attempt, before the third, and so on. */
function waits(jitter: 'full' | 'decorrelated', uses = 4000): number[][] {
  const byAttempt: number[][] = []
  for (let use = 0; use < uses; use++) {
    let wait = backoffOf(jitter).next(undefined)
    for (let attempt = 0; attempt < 6; attempt++, wait = wait.next(undefined))
      (byAttempt[attempt] ??= []).push(wait.duration)
  }
  return byAttempt
}

test('full jitter is spread evenly from 0 to a bound that doubles, up to the greatest', () => {
  for (const [attempt, drawn] of waits('full').entries()) {
    const bound = Math.min(1000, 100 * 2 ** attempt)
    expect(Math.min(...drawn)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...drawn)).toBeLessThan(bound)
    // Each tenth of the range holds a tenth of them: 400 of 4,000, give or take six standard deviations (19 each).
    for (let tenth = 0; tenth < 10; tenth++) {
      const share = drawn.filter((ms) => ms >= (bound * tenth) / 10 && ms < (bound * (tenth + 1)) / 10).length
      expect(Math.abs(share - 400), `attempt ${attempt}, tenth ${tenth}`).toBeLessThan(120)
    }
  }
})

test('decorrelated jitter grows in the mean, stays below the bound, and never gathers', () => {
  const drawn = waits('decorrelated')
  const means = drawn.map((ms) => ms.reduce((sum, one) => sum + one, 0) / ms.length)
  expect(means.slice(0, 4)).toEqual(means.slice(0, 4).toSorted((a, b) => a - b))
  for (const ms of drawn) {
    expect(Math.max(...ms)).toBeLessThanOrEqual(1000)
    // Below the bound no two of a hundredth hold more than a tenth of all.
    const free = ms.filter((one) => one < 1000)
    const parts = new Map<number, number>()
    for (const one of free) parts.set(Math.floor(one / 10), (parts.get(Math.floor(one / 10)) ?? 0) + 1)
    expect(Math.max(...parts.values())).toBeLessThan(ms.length / 8)
  }
})

test('the budget is never exceeded: retries ≤ ratio × uses + rate × time + what was kept', () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.constant('use' as const) },
    { weight: 5, arbitrary: fc.constant('retry' as const) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 20_000 }) },
  )
  const options = fc.record({
    ratio: fc.constantFrom(0, 0.1, 0.5, 1),
    perSecond: fc.constantFrom(0, 0.5, 1, 20),
  })
  return fc.assert(
    fc.asyncProperty(options, fc.array(step, { maxLength: 300 }), async ({ ratio, perSecond }, steps) => {
      const clock = new FakeClock()
      const budget = new RetryBudget({ ratio, perSecond }, clock)
      const kept = Math.max(10, perSecond * 10)
      /** What had been used, and when, at each moment. */
      const history: { uses: number; retries: number; ms: number }[] = [{ uses: 0, retries: 0, ms: 0 }]
      for (const one of steps) {
        const { uses, retries } = history.at(-1)!
        if (one === 'use') budget.deposit()
        else if (one !== 'retry') await clock.advance(one)
        const isTaken = one === 'retry' && budget.withdraw()
        history.push({
          uses: uses + (one === 'use' ? 1 : 0),
          retries: retries + (isTaken ? 1 : 0),
          ms: clock.monotonic(),
        })
      }
      const end = history.at(-1)!
      for (const start of history)
        expect(end.retries - start.retries).toBeLessThanOrEqual(
          kept + ratio * (end.uses - start.uses) + (perSecond * (end.ms - start.ms)) / 1000 + 1e-6,
        )
    }),
    { numRuns: 200 },
  )
})

test('a quiet hour is no reason for a burst of retries', async () => {
  for (const [perSecond, most] of [
    [0.1, 10],
    [1, 10],
    [5, 50],
  ] as const) {
    const clock = new FakeClock()
    const budget = new RetryBudget({ ratio: 0.1, perSecond }, clock)
    for (let use = 0; use < 10_000; use++) budget.deposit()
    await clock.advance(3_600_000)
    let retries = 0
    while (budget.withdraw()) retries++
    expect(retries).toBe(most)
  }
})

test('a budget of nothing lets nothing be repeated, and counts it', async () => {
  const { guards, clock, told } = guardsAt()
  const api = plain({ retry: RETRY, retryBudget: { ratio: 0, perSecond: 0 } })
  let attempts = 0
  const use = watch(
    guards.use(
      api,
      () => {
        attempts++
        throw networkError('ECONNREFUSED')
      },
      {},
      {},
    ),
  )
  await turn()
  await clock.advance(10_000)
  expect([attempts, use.isDone]).toEqual([1, true])
  expect(told.counts).toEqual(['dependency_retries_refused api'])
})

/** How many attempts a use makes that always fails so, and what it ends with. */
async function attemptsOf(
  error: unknown,
  use: { idempotent?: boolean; retryable?: (error: unknown) => boolean; deadlineMs?: number } = {},
): Promise<{ attempts: number; ended: unknown; atMs: number[] }> {
  const { guards, clock } = guardsAt()
  const { retryable, ...options } = use
  const api = plain({ retry: { ...RETRY, ...(retryable === undefined ? {} : { retryable }) } })
  const atMs: number[] = []
  const ended = watch(
    guards.use(
      api,
      () => {
        atMs.push(clock.monotonic())
        throw error
      },
      options,
      {},
    ),
  )
  await turn()
  await clock.advance(100_000)
  expect(ended.isDone).toBe(true)
  return { attempts: atMs.length, ended: ended.error, atMs }
}

const status = (code: number, retryAfter?: string): Error =>
  Object.assign(new Error(`${code}`), {
    status: code,
    ...(retryAfter === undefined ? {} : { headers: { 'Retry-After': retryAfter } }),
  })
const wrapped = new TypeError('fetch failed', { cause: networkError('ECONNREFUSED') })
const connecting = Object.assign(networkError('ETIMEDOUT'), { syscall: 'connect' })
const elsewhere = Object.assign(new Error('bad'), { response: { status: 502 } })
const ofSdk = Object.assign(new Error('bad'), { statusCode: 503, responseHeaders: { 'retry-after': '1' } })

describe('what is repeated', () => {
  test.each([
    ['a connection that was refused', networkError('ECONNREFUSED')],
    ['an unknown host', networkError('ENOTFOUND')],
    ['a refused connection in the cause, as `fetch` tells it', wrapped],
    ['connecting that timed out', connecting],
    ['a Postgres that is starting', networkError('57P03')],
    ['429', status(429)],
    ['503 with Retry-After', status(503, '1')],
    ['503 with Retry-After, as an SDK tells it', ofSdk],
  ])('always: %s', async (_what, error) => {
    expect((await attemptsOf(error)).attempts).toBe(4)
    expect((await attemptsOf(error)).ended).toBe(error)
  })
  test.each([
    ['a connection that was reset', networkError('ECONNRESET')],
    ['a silent connection', networkError('UND_ERR_HEADERS_TIMEOUT')],
    ['a time-out of the platform', new DOMException('late', 'TimeoutError')],
    ['a Postgres that shuts down', networkError('57P01')],
    ['500', status(500)],
    ['502 in `response`', elsewhere],
    ['503 without Retry-After', status(503)],
    ['408', status(408)],
  ])('where it does no harm: %s', async (_what, error) => {
    expect((await attemptsOf(error)).attempts).toBe(1)
    expect((await attemptsOf(error, { idempotent: true })).attempts).toBe(4)
  })
  test.each([
    ['400', status(400)],
    ['404', status(404)],
    ['501', status(501)],
    ['a Postgres that finds a duplicate', networkError('23505')],
    ['a fault of the handler', new TypeError('x is not a function')],
    ['what the model should read', toolError('There is no such customer.')],
    ['what is no error', 'text'],
    ['nothing', undefined],
  ])('never: %s', async (_what, error) => {
    expect((await attemptsOf(error, { idempotent: true })).attempts).toBe(1)
  })
  test('`retryable` takes the place of these rules', async () => {
    expect(
      (await attemptsOf(status(409), { retryable: (error) => (error as { status: number }).status === 409 })).attempts,
    ).toBe(4)
    expect((await attemptsOf(networkError('ECONNREFUSED'), { retryable: () => false })).attempts).toBe(1)
  })
})

test('`Retry-After` is waited for in full', async () => {
  const { atMs } = await attemptsOf(status(429, '2'))
  expect(atMs[1]).toBeGreaterThanOrEqual(2000)
  expect(atMs[1]).toBeLessThanOrEqual(2100)
})

test('a `Retry-After` beyond the deadline is not waited for', async () => {
  const { attempts, ended } = await attemptsOf(status(429, '40'))
  expect(attempts).toBe(1)
  expect(ended).toMatchObject({ status: 429 })
})

test.each([
  ['120', 120_000],
  ['0', 0],
  [' 1.5 ', 1500],
  ['Thu, 01 Jan 2026 00:00:30 GMT', 30_000],
  ['Wed, 31 Dec 2025 23:00:00 GMT', 0],
  ['-5', undefined],
  ['soon', undefined],
  ['2026-01-01', undefined],
  ['', undefined],
  ['99999999999', 86_400_000],
])('Retry-After %j is %s ms', (text, ms) => {
  expect(parseRetryAfter(text, Date.UTC(2026, 0, 1))).toBe(ms)
})

test('no attempt begins at or past the deadline, whatever the waits and the lengths of attempts', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5000 }),
      fc.integer({ min: 1, max: 3000 }),
      fc.array(fc.integer({ min: 0, max: 4000 }), { minLength: 10, maxLength: 10 }),
      fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined }),
      async (deadlineMs, timeoutMs, lengths, retryAfter) => {
        const { guards, clock } = guardsAt()
        const api = plain({ timeoutMs, deadlineMs, retry: { ...RETRY, maxAttempts: 10 }, retryBudget: false })
        const begun: number[] = []
        const aborted: number[] = []
        const use = watch(
          guards.use(
            api,
            async (signal) => {
              begun.push(clock.monotonic())
              signal.addEventListener('abort', () => aborted.push(clock.monotonic()))
              await clock.sleep(lengths[begun.length - 1]!, signal)
              throw retryAfter === undefined ? networkError('ECONNRESET') : status(503, String(retryAfter))
            },
            { idempotent: true },
            {},
          ),
        )
        await turn()
        await clock.advance(deadlineMs)
        expect(use.isDone).toBe(true)
        for (const atMs of begun) expect(atMs).toBeLessThan(deadlineMs)
        for (const atMs of aborted) expect(atMs).toBeLessThanOrEqual(deadlineMs)
        const before = begun.length
        await turn()
        await clock.advance(100_000)
        expect(begun.length).toBe(before)
      },
    ),
    { numRuns: 100 },
  )
})

test('an error that an inner guard has given up on is final for the outer one', async () => {
  const { guards, clock } = guardsAt()
  const inner = plain({ name: 'inner', retry: RETRY })
  const outer = plain({ name: 'outer', retry: { ...RETRY, retryable: () => true } })
  let attempts = 0
  const work = async (): Promise<never> => {
    attempts++
    throw networkError('ECONNREFUSED')
  }
  const nested = watch(guards.use(outer, () => guards.use(inner, work, {}, {}), {}, {}))
  await turn()
  await clock.advance(100_000)
  expect([attempts, nested.isDone]).toEqual([4, true])
})

test('a use within a running use of the same dependency is part of it', async () => {
  const { guards, clock, told } = guardsAt()
  const api = plain({ retry: RETRY, bulkhead: { maxConcurrent: 1, maxQueue: 0 } })
  let attempts = 0
  const work = async (): Promise<never> => {
    attempts++
    throw networkError('ECONNREFUSED')
  }
  const nested = watch(guards.use(api, () => guards.use(api, work, {}, {}), {}, {}))
  await turn()
  await clock.advance(100_000)
  expect([attempts, nested.isDone]).toEqual([4, true])
  expect(told.uses).toHaveLength(1)
})

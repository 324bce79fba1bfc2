import { getEventListeners } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { defineDependency } from '../../src/index.ts'
import { Timed, Timers } from '../../src/resilience/timers.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { guardsAt, networkError, plain, turn, watch } from './support.ts'

const never = (): Promise<never> => new Promise(() => undefined)

describe('a definition', () => {
  test.each([
    [{ name: '' }, 'the name is not a usable one'],
    [{ name: 'a b' }, 'the name is not a usable one'],
    [{ name: 'a', timeoutMs: 0 }, '`timeoutMs` is 0'],
    [{ name: 'a', deadlineMs: 1.5 }, '`deadlineMs` is 1.5'],
    [{ name: 'a', idempotent: 'yes' }, '`idempotent` is "yes"'],
    [{ name: 'a', retry: true }, '`retry` is true'],
    [{ name: 'a', retry: { maxAttempts: 0 } }, '`retry.maxAttempts` is 0. It must be a whole number, 1 or more.'],
    [{ name: 'a', retry: { jitter: 'none' } }, '`retry.jitter` is "none". It must be "full" or "decorrelated".'],
    [{ name: 'a', retry: { attempts: 3 } }, 'there is no field `retry.attempts`'],
    [{ name: 'a', retryBudget: { ratio: -1 } }, '`retryBudget.ratio` is -1'],
    [{ name: 'a', breaker: { failureShare: 2 } }, '`breaker.failureShare` is 2'],
    [{ name: 'a', bulkhead: { maxQueue: -1 } }, '`bulkhead.maxQueue` is -1'],
    [{ name: 'a', fallback: 'x' }, '`fallback` is not a function'],
    [{ name: 'a', timeout: 3 }, 'there is no field `timeout`'],
    [undefined, 'it was given undefined'],
  ])('%j is refused', (options, message) => {
    expect(() => defineDependency(options as never)).toThrow(message)
  })

  test('is frozen data with every default', () => {
    const { use: _use, fetch: _fetch, ...resolved } = defineDependency({ name: 'crm', timeoutMs: 2000 })
    expect(resolved).toEqual({
      kind: 'dependency',
      name: 'crm',
      timeoutMs: 2000,
      deadlineMs: 6000,
      idempotent: false,
      retry: { maxAttempts: 3, baseMs: 100, maxMs: 10_000, jitter: 'full' },
      retryBudget: { ratio: 0.1, perSecond: 1 },
      breaker: { failureShare: 0.5, windowMs: 10_000, minimumCalls: 10, consecutiveFailures: 5, openMs: 5000 },
      bulkhead: { maxConcurrent: 50, maxQueue: 50, maxWaitMs: 1000 },
      isFailure: undefined,
      fallback: undefined,
    })
  })

  test('of a name that another one has is refused when it is used', () => {
    const { guards } = guardsAt()
    guards.of(plain({ name: 'twice' }))
    expect(() => guards.of(plain({ name: 'twice' }))).toThrow('two dependencies have this name')
  })
})

test('the time of an attempt ends it, aborts its signal with the reason, and counts as a failure', async () => {
  const { guards, clock, told } = guardsAt()
  const api = plain({ timeoutMs: 1500, breaker: { consecutiveFailures: 1 } })
  let reason: unknown
  const use = watch(
    guards.use(
      api,
      (signal) => {
        signal.addEventListener('abort', () => (reason = signal.reason))
        return never()
      },
      {},
      {},
    ),
  )
  await clock.advance(1499)
  expect(use.isDone).toBe(false)
  await clock.advance(1)
  expect(use.error).toMatchObject({ code: 'dependency_timeout', message: 'api did not answer within 1.5 s.' })
  expect(reason).toBe(use.error)
  expect(told.uses).toEqual([{ dependency: 'api', outcome: 'timeout', durationSeconds: 1.5 }])
  expect(told.breakers).toEqual(['api open'])
  expect(told.counts).toEqual(['breaker_openings api'])
})

test('the deadline cuts the time of the last attempt', async () => {
  const { guards, clock } = guardsAt()
  const api = plain({ timeoutMs: 1000, deadlineMs: 400 })
  const uses = [watch(guards.use(api, never, {}, {})), watch(guards.use(api, never, { deadlineMs: 100 }, {}))]
  await clock.advance(100)
  expect(uses.map(({ isDone }) => isDone)).toEqual([false, true])
  expect(uses[1]!.error).toMatchObject({ message: 'api did not answer within 100 ms.' })
  await clock.advance(300)
  expect(uses[0]!.error).toMatchObject({ code: 'dependency_timeout' })
})

test('a caller that goes away ends whatever stage its use is in, at once, and leaves no listener', async () => {
  const { guards, clock, told } = guardsAt()
  const api = plain({
    retry: { baseMs: 1000 },
    bulkhead: { maxConcurrent: 1 },
    breaker: { consecutiveFailures: 1 },
    isFailure: () => false,
  })
  const controllers = [0, 1, 2].map(() => new AbortController())
  const [running, queued, waiting] = controllers.map(({ signal }) => signal)
  const failing = watch(guards.use(api, () => Promise.reject(networkError('ECONNREFUSED')), {}, { signal: waiting! }))
  await turn()
  let seen: AbortSignal | undefined
  const uses = [
    watch(
      guards.use(
        api,
        (signal) => {
          seen = signal
          return never()
        },
        {},
        { signal: running! },
      ),
    ),
    watch(guards.use(api, never, {}, { signal: queued! })),
    failing,
  ]
  await turn()
  expect(guards.list()).toEqual([{ name: 'api', breaker: 'closed', running: 1, queued: 1, hints: 0 }])
  for (const controller of controllers) controller.abort(new Error('gone'))
  await turn()
  expect(uses.map(({ error }) => (error as Error).message)).toEqual(['gone', 'gone', 'gone'])
  expect(seen!.reason).toBe(running!.reason)
  for (const { signal } of controllers) expect(getEventListeners(signal, 'abort')).toEqual([])
  expect(told.uses.map(({ outcome }) => outcome)).toEqual(['cancelled', 'cancelled', 'cancelled'])
  expect(guards.list()).toMatchObject([{ breaker: 'closed', queued: 0, hints: 0 }])
  await clock.advance(100_000)
  expect(guards.list()).toMatchObject([{ running: 0 }])
})

test('a caller that has gone away already begins nothing', async () => {
  const { guards } = guardsAt()
  let isBegun = false
  const use = guards.use(plain(), () => (isBegun = true), {}, { signal: AbortSignal.abort(new Error('gone')) })
  await expect(use).rejects.toThrow('gone')
  expect(isBegun).toBe(false)
})

test('uses that end well leave no listener on the signal of a long call', async () => {
  const { guards } = guardsAt()
  const { signal } = new AbortController()
  const api = defineDependency({ name: 'api' })
  for (let use = 0; use < 100; use++) await guards.use(api, () => use, {}, { signal })
  await guards.use(api, () => Promise.reject(new Error('answered')), {}, { signal }).catch(() => undefined)
  expect(getEventListeners(signal, 'abort')).toEqual([])
})

describe('a fallback', () => {
  const down = (): Promise<never> => Promise.reject(networkError('ECONNREFUSED'))
  const api = plain({
    fallback: (error) => `instead of ${(error as { code: string }).code}`,
    breaker: { consecutiveFailures: 1 },
  })

  test('goes on where the dependency has failed, and where it is not asked', async () => {
    const { guards, told } = guardsAt()
    expect(await guards.use(api, down, {}, {})).toBe('instead of ECONNREFUSED')
    expect(await guards.use(api, () => 'up', {}, {})).toBe('instead of dependency_unavailable')
    expect(told.counts.filter((one) => one.startsWith('dependency_fallbacks'))).toHaveLength(2)
    expect(told.uses.map(({ outcome }) => outcome)).toEqual(['failed', 'open'])
  })
  test('of a use takes the place of the dependency’s', async () => {
    const { guards } = guardsAt()
    expect(await guards.use(api, down, { fallback: async () => 7 }, {})).toBe(7)
  })
  test('does not hide an answer that is an error, nor a caller that went away', async () => {
    const { guards } = guardsAt()
    await expect(guards.use(api, () => Promise.reject(new Error('no such customer')), {}, {})).rejects.toThrow(
      'no such',
    )
    const caller = new AbortController()
    const use = watch(guards.use(api, never, {}, { signal: caller.signal }))
    caller.abort(new Error('gone'))
    await turn()
    expect((use.error as Error).message).toBe('gone')
  })
})

test('`isFailure` decides what the breaker counts; what it throws is the error of the use', async () => {
  const { guards } = guardsAt()
  const isFailure = (error: unknown): boolean => {
    if ((error as Error).message === 'strange') throw new TypeError('isFailure knows nothing of this')
    return (error as Error).message === 'quota'
  }
  const api = plain({ isFailure, breaker: { consecutiveFailures: 2 } })
  const fail = (message: string): Promise<unknown> =>
    guards.use(api, () => Promise.reject(new Error(message)), {}, {}).catch((error: unknown) => error)
  expect(await fail('strange')).toBeInstanceOf(TypeError)
  await guards.use(api, () => Promise.reject(networkError('ECONNRESET')), {}, {}).catch(() => undefined)
  await fail('quota')
  expect(guards.list()).toMatchObject([{ breaker: 'closed' }])
  await fail('quota')
  expect(guards.list()).toMatchObject([{ breaker: 'open' }])
})

test('a retry that the open breaker would refuse is not waited for', async () => {
  const { guards, clock } = guardsAt()
  const api = plain({ retry: { maxAttempts: 5, baseMs: 100 }, breaker: { consecutiveFailures: 2, openMs: 5000 } })
  const use = watch(guards.use(api, () => Promise.reject(networkError('ECONNREFUSED')), {}, {}))
  await turn()
  await clock.advance(100)
  await turn()
  expect(use.error).toMatchObject({ code: 'ECONNREFUSED' })
})

test('subscribers hear of a breaker until they leave', async () => {
  const { guards, clock } = guardsAt()
  const api = plain({ breaker: { consecutiveFailures: 1, openMs: 1000 } })
  const heard: string[] = []
  const leave = guards.subscribe(({ name, breaker }) => void heard.push(`${name} ${breaker}`))
  const fail = (): Promise<unknown> =>
    guards.use(api, () => Promise.reject(networkError('ECONNREFUSED')), {}, {}).catch(() => undefined)
  await fail()
  await clock.advance(1000)
  await guards.use(api, () => 'up', {}, {})
  leave()
  await fail()
  expect(heard).toEqual(['api open', 'api half_open', 'api closed'])
})

test.each([0, -1, NaN])('a deadline of %s is refused', async (deadlineMs) => {
  const { guards } = guardsAt()
  const use = guards.use(plain(), never, { deadlineMs }, {})
  await expect(use).rejects.toThrow(`\`deadlineMs\` of a use of api is ${deadlineMs}`)
})

class Alarm extends Timed {
  readonly onDue: () => void
  constructor(onDue: () => void) {
    super()
    this.onDue = onDue
  }
}

test('whatever is added, moved and taken out: each is due at its time, in order, once; and few timers stand for all', async () => {
  const step = fc.oneof(
    fc.record({ add: fc.integer({ min: 0, max: 1000 }) }),
    fc.record({ remove: fc.nat(20) }),
    fc.record({ move: fc.nat(20), to: fc.integer({ min: 0, max: 1000 }) }),
    fc.record({ wait: fc.integer({ min: 1, max: 400 }) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const clock = new FakeClock()
      const timers = new Timers(clock)
      const alarms: { alarm: Alarm; dueMs: number }[] = []
      const rung: number[] = []
      const add = (afterMs: number): void => {
        const one = {
          dueMs: clock.monotonic() + afterMs,
          alarm: new Alarm(() => {
            expect(clock.monotonic()).toBe(one.dueMs)
            rung.push(one.dueMs)
            alarms.splice(alarms.indexOf(one), 1)
          }),
        }
        alarms.push(one)
        timers.add(one.alarm, one.dueMs)
      }
      for (const one of steps) {
        if ('add' in one) add(one.add)
        else if ('wait' in one) await clock.advance(one.wait)
        else if (alarms.length === 0) continue
        else if ('remove' in one) timers.remove(alarms.splice(one.remove % alarms.length, 1)[0]!.alarm)
        else {
          const moved = alarms[one.move % alarms.length]!
          moved.dueMs = clock.monotonic() + one.to
          timers.add(moved.alarm, moved.dueMs)
        }
        for (const { dueMs } of alarms) expect(dueMs).toBeGreaterThanOrEqual(clock.monotonic())
      }
      await clock.advance(1000)
      expect(alarms).toEqual([])
      expect(rung).toEqual(rung.toSorted((a, b) => a - b))
      expect(clock.sleeping).toBe(0)
    }),
    { numRuns: 200 },
  )
})

test('what has ended is not held on to until it would have been due', async () => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const { guards } = guardsAt()
  const api = plain({ timeoutMs: 1e9, bulkhead: { maxConcurrent: 1, maxQueue: 1, maxWaitMs: 1e9 } })
  const ofAttempts: WeakRef<AbortSignal>[] = []
  const ofCallers: WeakRef<AbortSignal>[] = []
  const useOnce = async (): Promise<void> => {
    const callers = [new AbortController(), new AbortController()]
    for (const { signal } of callers) ofCallers.push(new WeakRef(signal))
    const work = async (signal: AbortSignal): Promise<void> => {
      ofAttempts.push(new WeakRef(signal))
      await turn()
    }
    await Promise.all(callers.map(({ signal }) => guards.use(api, work, {}, { signal })))
  }
  await useOnce()
  await useOnce()
  await turn()
  gc()
  await turn()
  gc()
  expect(ofAttempts).toHaveLength(4)
  expect([...ofAttempts, ...ofCallers].filter((ref) => ref.deref() !== undefined)).toEqual([])
})

test('a thousand attempts in flight share one timer', async () => {
  const { guards, clock } = guardsAt()
  const api = plain({ timeoutMs: 5000 })
  const uses = Array.from({ length: 1000 }, () => watch(guards.use(api, never, {}, {})))
  expect(clock.sleeping).toBe(1)
  await clock.advance(5000)
  expect(uses.every(({ isDone }) => isDone)).toBe(true)
})

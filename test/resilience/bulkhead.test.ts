import { getEventListeners } from 'node:events'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Bulkhead, type Refusal } from '../../src/resilience/bulkhead.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { guardsAt, plain, turn, watch } from './support.ts'

const OPTIONS = { maxConcurrent: 2, maxQueue: 3, maxWaitMs: 1000 }

test('gives so many places, queues so many more, and refuses the rest at once', async () => {
  const bulkhead = new Bulkhead(OPTIONS, new FakeClock())
  expect([bulkhead.take(), bulkhead.take(), bulkhead.take()]).toEqual([true, true, false])
  const waiting = [1, 2, 3].map(() => watch(bulkhead.wait(1000, undefined)))
  expect(await bulkhead.wait(1000, undefined)).toBe('full')
  expect([bulkhead.running, bulkhead.queued]).toEqual([2, 3])
  bulkhead.give()
  await turn()
  expect(waiting.map(({ isDone }) => isDone)).toEqual([true, false, false])
  expect([bulkhead.running, bulkhead.queued]).toEqual([2, 2])
})

test('who waits leaves when its time is up, at the end of its use if that is sooner, and when its caller goes away', async () => {
  const clock = new FakeClock()
  const bulkhead = new Bulkhead(OPTIONS, clock)
  bulkhead.take()
  bulkhead.take()
  const controller = new AbortController()
  const waiting = [
    watch(bulkhead.wait(5000, undefined)),
    watch(bulkhead.wait(200, undefined)),
    watch(bulkhead.wait(5000, controller.signal)),
  ]
  await clock.advance(200)
  expect(waiting.map(({ value }) => value)).toEqual([undefined, 'full', undefined])
  controller.abort()
  await turn()
  expect(waiting[2]!.value).toBe('cancelled')
  expect(getEventListeners(controller.signal, 'abort')).toEqual([])
  await clock.advance(800)
  expect(waiting[0]!.value).toBe('full')
  expect(bulkhead.queued).toBe(0)
  bulkhead.give()
  bulkhead.give()
  expect(bulkhead.running).toBe(0)
})

test('whatever comes, goes and gives up: never more places or waiters than there are, first in first out, no place lost', async () => {
  const step = fc.oneof(
    fc.constant('enter' as const),
    fc.constant('leave' as const),
    fc.record({ abort: fc.nat(9) }),
    fc.constantFrom(100, 400, 1000),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const clock = new FakeClock()
      const bulkhead = new Bulkhead(OPTIONS, clock)
      const waiting: {
        number: number
        controller: AbortController
        done: { value?: Refusal | undefined; isDone: boolean }
      }[] = []
      const granted: number[] = []
      let inside = 0
      let number = 0
      const settle = async (): Promise<void> => {
        await turn()
        for (const one of waiting.filter(({ done }) => done.isDone)) {
          waiting.splice(waiting.indexOf(one), 1)
          if (one.done.value !== undefined) continue
          inside++
          granted.push(one.number)
        }
      }
      for (const one of steps) {
        if (one === 'enter') {
          number++
          if (bulkhead.take()) inside++
          else {
            const controller = new AbortController()
            waiting.push({ number, controller, done: watch(bulkhead.wait(10_000, controller.signal)) })
          }
        } else if (one === 'leave') {
          if (inside === 0) continue
          inside--
          bulkhead.give()
        } else if (typeof one === 'number') await clock.advance(one)
        else if (waiting.length > 0) waiting[one.abort % waiting.length]!.controller.abort()
        await settle()
        expect(bulkhead.running).toBe(inside)
        expect(inside).toBeLessThanOrEqual(2)
        expect(bulkhead.queued).toBe(waiting.length)
        expect(waiting.length).toBeLessThanOrEqual(3)
        if (waiting.length > 0) expect(inside).toBe(2)
      }
      expect(granted).toEqual(granted.toSorted((a, b) => a - b))
    }),
    { numRuns: 100 },
  )
})

test('a full bulkhead refuses a use at once, says when to come again, and is no failure of the dependency', async () => {
  const { guards, told } = guardsAt()
  const api = plain({ bulkhead: { maxConcurrent: 1, maxQueue: 0 }, breaker: { consecutiveFailures: 1 } })
  const ended = Promise.withResolvers<string>()
  const first = guards.use(api, () => ended.promise, {}, {})
  await expect(guards.use(api, () => 'never', {}, {})).rejects.toMatchObject({
    code: 'dependency_unavailable',
    message: 'api is not available now: as many calls of it are under way as may be. Try again in 1 s.',
    data: { dependency: 'api', retryAfterMs: 1000 },
  })
  expect(guards.list()).toMatchObject([{ breaker: 'closed', running: 1 }])
  ended.resolve('first')
  expect(await first).toBe('first')
  expect(told.uses.map(({ outcome }) => outcome)).toEqual(['full', 'ok'])
  expect(guards.list()).toMatchObject([{ running: 0 }])
})

test('work that ignores its signal keeps its place until it ends, or has had its time once more', async () => {
  const { guards, clock } = guardsAt()
  const api = plain({ timeoutMs: 100, bulkhead: { maxConcurrent: 2, maxQueue: 0 } })
  const ended = Promise.withResolvers<void>()
  const uses = [ended.promise, new Promise<void>(() => undefined)].map((work) =>
    watch(guards.use(api, () => work, {}, {})),
  )
  await clock.advance(100)
  expect(uses.map(({ isDone }) => isDone)).toEqual([true, true])
  expect(guards.list()).toMatchObject([{ running: 2 }])
  ended.resolve()
  await turn()
  expect(guards.list()).toMatchObject([{ running: 1 }])
  await clock.advance(99)
  expect(guards.list()).toMatchObject([{ running: 1 }])
  await clock.advance(1)
  expect(guards.list()).toMatchObject([{ running: 0 }])
})

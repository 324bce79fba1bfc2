import { getEventListeners } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Clock } from '../../src/ports/clock.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { guardedFetch } from '../../src/resilience/fetch.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { outside } from './server.ts'
import { guardsAt, networkError, plain, turn, watch } from './support.ts'

const RETRY = { maxAttempts: 4, baseMs: 100, maxMs: 100 }

/** A clock of a process that is so busy that it wakes everybody late. */
class LateClock extends FakeClock implements Clock {
  override sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return super.sleep(ms + 5_000, signal)
  }
}

test('who wakes from a wait for a retry when the deadline is over makes no further attempt', async () => {
  const { guards, clock } = guardsAt(new LateClock())
  const api = plain({ retry: RETRY, deadlineMs: 1_000 })
  const begun: number[] = []
  const use = watch(
    guards.use(
      api,
      () => {
        begun.push(clock.monotonic())
        throw networkError('ECONNREFUSED')
      },
      {},
      {},
    ),
  )
  await turn()
  await clock.advance(20_000)
  expect(begun).toEqual([0])
  expect(use.error).toMatchObject({ code: 'ECONNREFUSED' })
})

test('who gets a place when the deadline is over does not take it', async () => {
  const { guards, clock } = guardsAt(new LateClock())
  const api = plain({ deadlineMs: 1_000, timeoutMs: 100_000, bulkhead: { maxConcurrent: 1, maxQueue: 5 } })
  const first = Promise.withResolvers<void>()
  const one = watch(guards.use(api, () => first.promise, { deadlineMs: 100_000 }, {}))
  let begun = 0
  const other = watch(guards.use(api, () => ++begun, {}, {}))
  await clock.advance(2_000)
  first.resolve()
  await turn()
  expect([one.isDone, other.isDone, begun]).toEqual([true, true, 0])
  expect(other.error).toMatchObject({ code: 'dependency_unavailable' })
  expect(guards.list()).toMatchObject([{ running: 0, queued: 0 }])
})

test('who goes away just when a place becomes free begins nothing, and the place is there for the next', async () => {
  const { guards } = guardsAt()
  const api = plain({ bulkhead: { maxConcurrent: 1, maxQueue: 5 } })
  const first = Promise.withResolvers<void>()
  const leaver = new AbortController()
  const begun: string[] = []
  void guards.use(api, () => first.promise, {}, {})
  const left = watch(guards.use(api, () => begun.push('left'), {}, { signal: leaver.signal }))
  const last = watch(guards.use(api, () => begun.push('last'), {}, {}))
  first.resolve()
  // Its place comes in a turn of the queue of microtasks: the abort falls between that and the beginning of the work.
  for (let microtask = 0; microtask < 20 && guards.list()[0]!.queued === 2; microtask++) await Promise.resolve()
  leaver.abort(new Error('gone'))
  await turn()
  expect(left.error).toMatchObject({ message: 'gone' })
  expect(begun).toEqual(['last'])
  expect(last.isDone).toBe(true)
  expect(guards.list()).toMatchObject([{ running: 0, queued: 0 }])
})

test('a subscriber that throws changes nothing for the use, nor for the others who listen', async () => {
  const { guards, told } = guardsAt()
  const api = plain({ breaker: { consecutiveFailures: 1 } })
  const heard: unknown[] = []
  guards.subscribe(() => {
    throw new Error('a fault of the listener')
  })
  guards.subscribe(({ breaker }) => heard.push(breaker))
  const use = guards.use(api, () => Promise.reject(networkError('ECONNRESET')), {}, {})
  await expect(use).rejects.toMatchObject({ code: 'ECONNRESET' })
  expect(heard).toEqual(['open'])
  expect(told.uses).toMatchObject([{ outcome: 'failed' }])
  expect(told.failures).toEqual(['A subscriber of `runtime.dependencies` failed on api.'])
  await expect(guards.use(api, () => 1, {}, {})).rejects.toMatchObject({ code: 'dependency_unavailable' })
})

test('what `retryable` throws is the error of the use, which is counted as ever', async () => {
  const { guards, told } = guardsAt()
  const retryable = (): boolean => {
    throw new TypeError('a fault of the rule')
  }
  const api = plain({ retry: { ...RETRY, retryable } })
  const use = guards.use(api, () => Promise.reject(networkError('ECONNRESET')), {}, {})
  await expect(use).rejects.toThrow('a fault of the rule')
  expect(told.uses).toMatchObject([{ outcome: 'error' }])
})

test('what a fallback throws is final for the guards around it', async () => {
  const { guards, clock } = guardsAt()
  const inner = plain({
    name: 'inner',
    retry: RETRY,
    fallback: () => {
      throw networkError('ECONNREFUSED')
    },
  })
  const outer = plain({ name: 'outer', retry: RETRY })
  let attempts = 0
  const nested = watch(
    guards.use(
      outer,
      () =>
        guards.use(
          inner,
          () => {
            attempts++
            throw networkError('ECONNRESET')
          },
          {},
          {},
        ),
      {},
      {},
    ),
  )
  await turn()
  await clock.advance(100_000)
  expect(nested.error).toMatchObject({ code: 'ECONNREFUSED' })
  expect(attempts).toBe(1)
})

test.each([
  [999, 'Go away'],
  [200, '好'],
])('an answer of status %i with the reason %j is given as it is', async (status, reason) => {
  await using server = await outside((request) =>
    request.socket.end(`HTTP/1.1 ${status} ${reason}\r\ncontent-length: 2\r\n\r\nno`),
  )
  const { guards } = guardsAt(undefined, { clock: systemClock })
  const plainly = await fetch(server.url)
  const answer = await guardedFetch(guards.of(plain({ bulkhead: {} })), server.url, undefined, {})
  expect([answer.status, answer.statusText, answer.ok, await answer.text()]).toEqual([
    plainly.status,
    plainly.statusText,
    plainly.ok,
    await plainly.text(),
  ])
  expect(guards.list()).toMatchObject([{ running: 0 }])
})

test('a hundred thousand uses leave nothing behind: no listener, no timer, no memory', async () => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const { guards, clock } = guardsAt(undefined, { telemetry: undefined })
  const api = plain({ retry: { ...RETRY, maxAttempts: 2, retryable: () => false }, breaker: {}, bulkhead: {} })
  const call = new AbortController()
  const own = new AbortController()
  const rejections: unknown[] = []
  const onRejection = (reason: unknown): void => void rejections.push(reason)
  process.on('unhandledRejection', onRejection)
  onTestFinished(() => void process.off('unhandledRejection', onRejection))
  const work = [() => 1, async () => 1, () => Promise.reject(new Error('its answer'))]
  const some = async (count: number): Promise<void> => {
    for (let use = 0; use < count; use++) {
      const options = use % 10 === 0 ? { signal: own.signal } : {}
      await guards
        .use<unknown, never, never>(api, work[use % 3]!, options, { signal: call.signal })
        .catch(() => undefined)
    }
  }
  /** What is left once the registries of the platform have cleaned up, too. */
  const heldBytes = (): number => {
    gc()
    return process.memoryUsage().heapUsed
  }
  await some(10_000)
  const before = heldBytes()
  await some(100_000)
  await vi.waitFor(() => expect(heldBytes() - before).toBeLessThan(2_000_000), { timeout: 20_000, interval: 50 })
  for (const { signal } of [call, own]) expect(getEventListeners(signal, 'abort')).toEqual([])
  expect(clock.sleeping).toBeLessThanOrEqual(1)
  expect(rejections).toEqual([])
}, 60_000)

import { beforeEach, expect, test } from 'vitest'
import { HoldfastError } from '../../src/errors/holdfast-error.ts'
import type { QueueListener, TaskQueue } from '../../src/ports/task-queue.ts'
import { Doorbell } from '../../src/tasks/doorbell.ts'
import { FakeClock } from '../../src/testing/index.ts'

type Listen = TaskQueue['listen']

let clock: FakeClock
let errors: unknown[]
/** What became of the listeners, in order. */
let told: string[]
beforeEach(() => {
  clock = new FakeClock()
  errors = []
  told = []
})

const listener: QueueListener = {
  pause: () => void told.push('paused'),
  resume: () => void told.push('resumed'),
  close: async () => void told.push('closed'),
}
const listening: Listen = async (queues, _onRing, { credits }) => {
  told.push(`listens to ${queues.join()} with ${credits}`)
  return listener
}
const away: Listen = () => Promise.reject(new HoldfastError('backend_failed', 'There is no connection.'))

function make(answers: Listen[], topology = { isStanding: true, stands: Promise.resolve() }): Doorbell {
  return new Doorbell({
    queue: { listen: (...args) => (answers.length > 1 ? answers.shift()! : answers[0]!)(...args) },
    queues: ['a', 'b'],
    onRing: async () => undefined,
    credits: 3,
    topology,
    clock,
    onError: (_message, error) => errors.push(error),
  })
}

test('a worker has started when its bells are heard', async () => {
  const bell = make([listening])
  await bell.start()
  expect(told).toEqual(['listens to a,b with 3'])
  bell.pause()
  bell.resume()
  await bell.close()
  expect(told.slice(1)).toEqual(['paused', 'resumed', 'closed'])
  expect(clock.sleeping).toBe(0)
})

test('while the broker has not what is needed a worker starts without bells, and hears them afterwards', async () => {
  const standing = Promise.withResolvers<void>()
  const bell = make([listening], { isStanding: false, stands: standing.promise })
  await bell.start()
  expect(told).toEqual([])
  bell.pause()
  standing.resolve()
  await clock.advance(0)
  expect(told).toEqual(['listens to a,b with 3', 'paused']) // no slot is free: as it was told
  await bell.close()
})

test('a broker that goes away between is told once, and listened to when it is back', async () => {
  const bell = make([away, away, listening])
  await bell.start()
  expect(told).toEqual([])
  await clock.advance(60_000)
  expect(told).toEqual(['listens to a,b with 3'])
  expect(errors).toHaveLength(1)
  await bell.close()
})

test('a broker that does not answer holds a start up for three seconds, and an end not at all', async () => {
  const answer = Promise.withResolvers<QueueListener>()
  const bell = make([() => answer.promise])
  let isOver = false
  const started = bell.start().then(() => (isOver = true))
  await clock.advance(2999)
  expect(isOver).toBe(false)
  await clock.advance(1)
  await started
  await bell.close()
  expect(told).toEqual([])
  answer.resolve(listener) // too late: it is not kept open
  await clock.advance(0)
  expect(told).toEqual(['closed'])
})

test('one that is closed before there is something to listen to does not listen', async () => {
  const standing = Promise.withResolvers<void>()
  const bell = make([listening], { isStanding: false, stands: standing.promise })
  await bell.start()
  await bell.close()
  standing.resolve()
  await clock.advance(60_000)
  expect(told).toEqual([])
  expect(errors).toEqual([])
})

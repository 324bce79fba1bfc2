import { afterEach, expect, test, vi } from 'vitest'
import { HoldfastError } from '../../src/errors/holdfast-error.ts'
import { Topology, watchQueue } from '../../src/tasks/topology.ts'
import { FakeClock } from '../../src/testing/index.ts'

const away = new HoldfastError('backend_failed', 'There is no connection.')
const differs = new HoldfastError('backend_mismatch', 'It is not durable.')
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

let topology: Topology
afterEach(() => topology.close())

/** A topology over a broker that answers to each attempt as it is told; the last answer is given to all that follow. */
function make(clock: FakeClock, answers: readonly (() => Promise<void>)[]) {
  const attempts: { atMs: number; queues: readonly string[] }[] = []
  const told: (string | undefined)[] = []
  const queue = {
    ensureTopology(queues: readonly string[]) {
      attempts.push({ atMs: clock.monotonic(), queues })
      return answers[Math.min(attempts.length, answers.length) - 1]!()
    },
  }
  topology = new Topology({ queue, queues: ['a', 'b'], clock, onChange: (error) => told.push(error?.message) })
  return { attempts, told }
}
const good = async (): Promise<void> => undefined
const fails = (failure: Error) => async (): Promise<void> => {
  throw failure
}

test('a broker that has, or creates, what is needed lets the start go on', async () => {
  const { attempts, told } = make(new FakeClock(), [good])
  expect(topology.isStanding).toBe(false)
  await topology.start()
  await topology.stands
  expect(topology.isStanding).toBe(true)
  expect(attempts).toEqual([{ atMs: 0, queues: ['a', 'b'] }])
  expect(told).toEqual([undefined])
})

test.each([differs, new HoldfastError('invalid_option', 'No such user.')])(
  'a start fails by what no waiting mends: $code',
  async (error) => {
    const clock = new FakeClock()
    const { attempts, told } = make(clock, [fails(error)])
    await expect(topology.start()).rejects.toBe(error)
    await clock.advance(60_000)
    expect(attempts).toHaveLength(1)
    expect(told).toEqual([])
    expect(clock.sleeping).toBe(0)
  },
)

test.each([away, new Error('socket hang up')])(
  'a broker that is away ends no start, and is asked until it is back: $message',
  async (error) => {
    const clock = new FakeClock()
    const { attempts, told } = make(clock, [fails(error), fails(error), fails(error), good])
    await topology.start()
    expect(topology.isStanding).toBe(false)
    await clock.advance(500 + 1000 + 2000)
    await topology.stands
    expect(attempts).toHaveLength(4)
    expect(told).toEqual([error.message, error.message, error.message, undefined])
    await clock.advance(60_000)
    expect(attempts).toHaveLength(4)
  },
)

test('a broker that does not answer holds a start up for three seconds, and counts when it does answer', async () => {
  const clock = new FakeClock()
  const answer = Promise.withResolvers<void>()
  const { attempts } = make(clock, [() => answer.promise])
  let isOver = false
  const started = topology.start().then(() => (isOver = true))
  await clock.advance(2999)
  expect(isOver).toBe(false)
  await clock.advance(1)
  await started
  answer.resolve()
  await topology.stands
  expect(attempts).toHaveLength(1)
})

test('what is found to differ later is told, and looked at again, since it can be put right', async () => {
  const clock = new FakeClock()
  const { told } = make(clock, [fails(away), fails(differs), good])
  await topology.start()
  await clock.advance(3000)
  expect(told).toEqual([away.message, differs.message, undefined])
  expect(topology.isStanding).toBe(true)
})

test('attempts become rarer, and nodes that lost a broker together do not come back in step', async () => {
  const clock = new FakeClock()
  const seen: number[][] = []
  for (let node = 0; node < 20; node++) {
    const began = clock.monotonic()
    const { attempts } = make(clock, [fails(away)])
    await topology.start()
    await clock.advance(120_000)
    seen.push(attempts.map(({ atMs }) => atMs - began))
    topology.close()
    await turn()
  }
  for (const times of seen) {
    const gaps = times.slice(1).map((at, index) => at - times[index]!)
    gaps.forEach((gap, index) => {
      const most = Math.min(15_000, 500 * 2 ** index)
      expect(gap).toBeGreaterThanOrEqual(most / 2)
      expect(gap).toBeLessThanOrEqual(most)
    })
    expect(gaps.length).toBeGreaterThan(10) // it never gives up
  }
  expect(new Set(seen.map(([, second]) => Math.round(second!))).size).toBeGreaterThan(10)
})

test('once it is closed a broker is asked no more', async () => {
  const clock = new FakeClock()
  const { attempts, told } = make(clock, [fails(away)])
  await topology.start()
  topology.close()
  await clock.advance(60_000)
  expect(attempts).toHaveLength(1)
  expect(told).toHaveLength(1)
  expect(clock.sleeping).toBe(0)
})

test('each change of a broker is told once, whoever finds out', () => {
  const queueChanged = vi.fn()
  const onChange = watchQueue({ queueChanged })
  for (const error of [undefined, away, new Error('lost'), differs, differs, away, undefined, undefined])
    onChange(error)
  expect(queueChanged.mock.calls).toEqual([
    ['away', away],
    ['differs', differs],
    ['away', away],
    ['up', undefined],
  ])
})

import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { fromMessage, toMessages } from '../../src/backends/broker/bell.ts'
import { Deliveries } from '../../src/backends/broker/deliveries.ts'
import { Presence } from '../../src/backends/broker/events.ts'
import { safeName } from '../../src/backends/broker/names.ts'
import { loadClient } from '../../src/backends/broker/url.ts'
import { HoldfastError } from '../../src/errors/holdfast-error.ts'
import { Offsets } from '../../src/backends/kafka/offsets.ts'

test('what is rung is what is heard, in messages of a few tasks each', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.array(fc.string(), { maxLength: 60 }), (queue, ids) => {
      const messages = toMessages(queue, ids)
      const bells = messages.map((message) => fromMessage(Buffer.from(message))!)
      expect(bells.flatMap(({ taskIds }) => taskIds)).toEqual(ids)
      expect(messages).toHaveLength(Math.max(1, Math.ceil(ids.length / 10)))
      // A queue's name is text: half a surrogate pair is written as what stands for it.
      for (const bell of bells) expect(bell.queue).toBe(queue.toWellFormed())
    }),
  )
})

test.each([
  '',
  'x',
  'null',
  '[]',
  '1',
  '{}',
  '{"queue":1,"taskIds":[]}',
  '{"queue":"a","taskIds":[1]}',
  '{"queue":"a"}',
])('a message %j is no bell', (message) => {
  expect(fromMessage(message)).toBeUndefined()
})

test('a message that is bigger than a bell can be is no bell', () => {
  expect(fromMessage(JSON.stringify({ queue: 'a', taskIds: ['x'.repeat(70_000)] }))).toBeUndefined()
})

test('names of queues are kept apart, and within what brokers take', () => {
  const queue = fc.oneof(fc.string({ unit: 'binary', maxLength: 100 }), fc.stringMatching(/^[-_.a-z0-9]{0,8}$/))
  fc.assert(
    fc.property(queue, queue, (one, other) => {
      const [a, b] = [safeName(one, 60), safeName(other, 60)]
      expect(a).toMatch(/^[A-Za-z0-9_-]{0,60}$/)
      expect(a === b).toBe(one.toWellFormed() === other.toWellFormed())
    }),
  )
  expect(safeName('default', 60)).toBe('default')
})

test('Kafka is told the lowest offset that is still open, whatever the order in which messages end', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 1000 }), { minLength: 1, maxLength: 40 }),
      fc.infiniteStream(fc.nat()),
      (gaps, picks) => {
        const offsets = new Offsets()
        const open: bigint[] = []
        let next = 0n
        for (const gap of gaps) {
          next += BigInt(gap % 3) + 1n // offsets of transactions are left out
          expect(offsets.open(0, next, 1)).toBe(true)
          expect(offsets.open(0, next, 1)).toBe(false)
          open.push(next)
        }
        while (open.length > 0) {
          const [ended] = open.splice(picks.next().value % open.length, 1)
          offsets.close(0, ended!)
          const lowest = open.length > 0 ? open.reduce((a, b) => (a < b ? a : b)) : next + 1n
          expect(offsets.take()).toEqual([{ partition: 0, offset: lowest, leaderEpoch: 1 }])
        }
        expect(offsets.take()).toEqual([])
      },
    ),
  )
})

test('what Kafka could not be told is told again, as far as the partition is still ours', () => {
  const offsets = new Offsets()
  for (const partition of [0, 1]) {
    offsets.open(partition, 7n, 1)
    offsets.close(partition, 7n)
  }
  const commits = offsets.take()
  expect(commits).toHaveLength(2)
  expect(offsets.take()).toEqual([])
  offsets.keep([1])
  offsets.again(commits)
  expect(offsets.take()).toEqual([{ partition: 1, offset: 8n, leaderEpoch: 1 }])
})

test('what another listener has taken over is not committed', () => {
  const offsets = new Offsets()
  offsets.open(0, 5n, 1)
  offsets.open(1, 7n, 1)
  offsets.keep([1])
  offsets.close(0, 5n)
  offsets.close(1, 7n)
  expect(offsets.take()).toEqual([{ partition: 1, offset: 8n, leaderEpoch: 1 }])
  expect(offsets.open(0, 2n, 2)).toBe(true)
})

test('a refused bell is given back after a wait that grows, and keeps its credit until then', async () => {
  vi.useFakeTimers()
  try {
    const givenBack: number[] = []
    const refusals: unknown[] = []
    const deliveries = new Deliveries(
      () => Promise.reject(new Error('no')),
      1,
      (error) => refusals.push(error),
    )
    const take = (attempt: number): void =>
      deliveries.take({
        payload: 'q',
        attempt,
        ack: () => expect.unreachable(),
        bury: () => expect.unreachable(),
        giveBack: () => void givenBack.push(Date.now()),
      })
    const startedMs = Date.now()
    take(1)
    expect(deliveries.free).toBe(0)
    await vi.advanceTimersByTimeAsync(49)
    expect(givenBack).toEqual([])
    await vi.advanceTimersByTimeAsync(52)
    expect(givenBack[0]! - startedMs).toBeLessThanOrEqual(100)
    expect(deliveries.free).toBe(1)
    take(20)
    await vi.advanceTimersByTimeAsync(2499)
    expect(givenBack).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(2502)
    expect(givenBack).toHaveLength(2)
    expect(refusals).toEqual([new Error('no'), new Error('no')])
  } finally {
    vi.useRealTimers()
  }
})

test('each change of a broker is told once; it is up when none of its connections is down', () => {
  const told: string[] = []
  const presence = new Presence({
    onUp: () => told.push('up'),
    onDown: ({ message }) => told.push(message),
    onRefused: () => expect.unreachable(),
  })
  presence.up('a')
  presence.up('a')
  presence.down(new Error('a is lost'), 'a')
  presence.down(new Error('b is lost'), 'b')
  presence.up('b')
  expect(told).toEqual(['up', 'a is lost'])
  presence.up('a')
  expect(told).toEqual(['up', 'a is lost', 'up'])
})

test('a broker that comes back with other queues than are needed is told, though it was down already', () => {
  const told: string[] = []
  const presence = new Presence({
    onUp: () => told.push('up'),
    onDown: ({ message }) => told.push(message),
    onRefused: () => expect.unreachable(),
  })
  const differs = new HoldfastError('backend_mismatch', 'differs')
  for (const error of [new Error('lost'), new Error('refused'), differs, differs]) presence.down(error)
  expect(told).toEqual(['lost', 'differs'])
  presence.up()
  presence.down(differs)
  presence.down(new Error('lost again'))
  expect(told.slice(2)).toEqual(['up', 'differs', 'lost again'])
})

test('a client that is not installed is named', async () => {
  const missing = Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' })
  await expect(loadClient(() => Promise.reject(missing), '@scope/client@2', 'x://h')).rejects.toMatchObject({
    code: 'invalid_option',
    message: 'The URL x://h needs the package @scope/client, which is not installed: npm install @scope/client@2',
  })
  const other = new Error('broken')
  await expect(loadClient(() => Promise.reject(other), 'client@2', 'x://h')).rejects.toBe(other)
})

import { afterEach, beforeEach, expect, test } from 'vitest'
import type { TaskStore } from '../../src/ports/task-store.ts'
import { LoopLeaseKeeper, type HeldLease, type LeaseLoss } from '../../src/tasks/lease-keeper.ts'
import { FakeClock } from '../../src/testing/index.ts'

type Heartbeat = TaskStore['heartbeat']
type Leases = Parameters<Heartbeat>[1]

let clock: FakeClock
let keeper: LoopLeaseKeeper
let sent: { atMs: number; leases: Leases }[]
let answer: (leases: Leases) => ReturnType<Heartbeat>
let isHung: boolean
let errors: unknown[]
const allAlive = async (leases: Leases): ReturnType<Heartbeat> =>
  leases.map(({ id, fence }) => ({ id, fence, cancel: false }))

beforeEach(() => {
  clock = new FakeClock()
  sent = []
  errors = []
  answer = allAlive
  isHung = false
  keeper = new LoopLeaseKeeper({
    store: {
      heartbeat(_worker, leases) {
        sent.push({ atMs: clock.monotonic(), leases })
        return answer(leases)
      },
    },
    worker: 'w',
    times: { leaseMs: 30_000, renewMs: 10_000 },
    clock,
    onError: (error) => errors.push(error),
    isHung: () => isHung,
  })
})
afterEach(() => keeper.close())

interface Seen {
  held: HeldLease
  losses: { loss: LeaseLoss; atMs: number }[]
  reported: number
}
function lease(id: string, fence = 1): Seen {
  const seen: Seen = {
    losses: [],
    reported: 0,
    held: {
      lease: { id, fence },
      onLoss: (loss) => seen.losses.push({ loss, atMs: clock.monotonic() }),
      onReported: () => seen.reported++,
    },
  }
  return seen
}
function hold(...ids: string[]): Seen[] {
  const all = ids.map((id) => lease(id))
  keeper.hold(
    all.map(({ held }) => held),
    clock.monotonic(),
  )
  return all
}

test('without a lease nothing is asked and nothing waits; after the last was dropped the same', async () => {
  expect(clock.sleeping).toBe(0)
  const [one] = hold('a')
  await clock.advance(25_000)
  expect(sent.map(({ atMs }) => atMs)).toEqual([10_000, 20_000])
  keeper.drop(one!.held.lease)
  await clock.advance(3_600_000)
  expect(sent).toHaveLength(2)
  expect(clock.sleeping).toBe(0)
})

test('all leases go in one renewal', async () => {
  hold('a', 'b')
  hold('c')
  await clock.advance(10_000)
  expect(sent.map(({ leases }) => leases.map(({ id }) => id))).toEqual([['a', 'b', 'c']])
})

test('a lease is given up at 0.8 of its time since its last good renewal was sent, and no earlier, though a renewal still waits', async () => {
  const [one] = hold('a')
  await clock.advance(10_500)
  const silent = Promise.withResolvers<[]>()
  answer = () => silent.promise
  await clock.advance(23_499)
  expect(clock.monotonic()).toBe(33_999)
  expect(one!.losses).toEqual([])
  await clock.advance(2)
  expect(one!.losses).toEqual([{ loss: 'lost', atMs: 34_000 }])
  expect(sent.map(({ atMs }) => atMs)).toEqual([10_000, 20_000, 30_000])
  silent.resolve([])
})
test('a lease counts from when its claim was sent, not from when the answer came', async () => {
  answer = () => Promise.reject(new Error('away'))
  const one = lease('a')
  await clock.advance(5_000)
  keeper.hold([one.held], 1_000)
  await clock.advance(60_000)
  expect(one.losses).toEqual([{ loss: 'lost', atMs: 25_000 }])
})

test('a renewal that failed is sent again soon, and each that fails is told', async () => {
  let isAway = true
  answer = (leases) => (isAway ? Promise.reject(new Error('away')) : allAlive(leases))
  const [one] = hold('a')
  await clock.advance(13_000)
  expect(sent.length).toBeGreaterThanOrEqual(2)
  expect(errors).toHaveLength(sent.length)
  isAway = false
  await clock.advance(60_000)
  expect(one!.losses).toEqual([])
})

test('answers that overtake each other do not shorten a lease', async () => {
  const late: (() => void)[] = []
  const [one] = hold('a')
  answer = (leases) => new Promise((resolve) => late.push(() => resolve(allAlive(leases))))
  await clock.advance(20_000)
  expect(late).toHaveLength(2)
  late[1]!() // sent at 20,000
  await clock.advance(1)
  late[0]!() // sent at 10,000
  await clock.advance(20_000) // 34,000 would be the end of the elder one
  expect(one!.losses).toEqual([])
  late.slice(2).forEach((release) => release())
})

test('a lease that an answer does not name is lost at once; the others stay', async () => {
  const [one, two] = hold('a', 'b')
  answer = async (leases) => (await allAlive(leases)).filter(({ id }) => id !== 'a')
  await clock.advance(10_000)
  expect([one!.losses.length, two!.losses.length]).toEqual([1, 0])
  await clock.advance(10_000)
  expect(sent.at(-1)!.leases.map(({ id }) => id)).toEqual(['b'])
})

test('a cancel is told once; the lease is renewed until it is dropped', async () => {
  const [one] = hold('a')
  answer = async (leases) => (await allAlive(leases)).map((each) => ({ ...each, cancel: true }))
  await clock.advance(30_000)
  expect(one!.losses).toEqual([{ loss: 'cancelled', atMs: 10_000 }])
  expect(sent).toHaveLength(3)
})

test('what was dropped hears nothing of an answer that was still under way', async () => {
  const [one] = hold('a')
  const reply = Promise.withResolvers<[]>()
  answer = () => reply.promise
  await clock.advance(10_000)
  keeper.drop(one!.held.lease)
  reply.resolve([])
  await clock.advance(0)
  expect(one!.losses).toEqual([])
})

test('a status message goes out within a second, the latest alone, once, and is told when it is stored', async () => {
  const [one] = hold('a', 'b')
  keeper.report(one!.held.lease, 'half')
  await clock.advance(600)
  keeper.report(one!.held.lease, 'most')
  await clock.advance(400)
  expect(sent.map(({ leases }) => leases)).toEqual([[{ id: 'a', fence: 1, statusMessage: 'most' }]])
  expect(one!.reported).toBe(1)
  await clock.advance(20_000)
  expect(sent.at(-1)!.leases.map(({ statusMessage }) => statusMessage)).toEqual([undefined, undefined])
  expect(one!.reported).toBe(1)
})

test('a status message whose renewal failed goes with the next one', async () => {
  const [one] = hold('a')
  answer = () => Promise.reject(new Error('away'))
  keeper.report(one!.held.lease, 'half')
  await clock.advance(1_000)
  expect(one!.reported).toBe(0)
  answer = allAlive
  await clock.advance(10_000)
  expect(sent.at(-1)!.leases[0]!.statusMessage).toBe('half')
  expect(one!.reported).toBe(1)
})

test('while the worker hangs nothing is renewed; when it goes on in time, renewals go on at once', async () => {
  const [one] = hold('a')
  isHung = true
  await clock.advance(23_000)
  expect(sent).toEqual([])
  isHung = false
  await clock.advance(200)
  expect(sent).toHaveLength(1)
  expect(one!.losses).toEqual([])
  isHung = true
  await clock.advance(60_000)
  expect(one!.losses).toEqual([{ loss: 'lost', atMs: sent[0]!.atMs + 24_000 }])
})

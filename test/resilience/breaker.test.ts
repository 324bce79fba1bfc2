import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Breaker, type BreakerState } from '../../src/resilience/breaker.ts'
import type { Settled } from '../../src/resilience/settled.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { turn } from './support.ts'

const OPTIONS = { failureShare: 0.5, windowMs: 1000, minimumCalls: 4, consecutiveFailures: 3, openMs: 500 }
type End = 'ok' | 'failed' | 'cancelled'
const settled = (outcome: End): Settled<never> => ({ outcome, isFailure: outcome === 'failed', repeatable: 'never' })

class Fixture {
  readonly clock = new FakeClock()
  readonly changes: string[] = []
  isWarned = false
  readonly breaker: Breaker
  constructor(options: Partial<typeof OPTIONS> = {}, random: () => number = () => 0) {
    this.breaker = new Breaker(
      { ...OPTIONS, ...options },
      {
        clock: this.clock,
        random,
        isWarned: () => this.isWarned,
        onChange: ({ from, to }) => void this.changes.push(`${from} → ${to}`),
      },
    )
  }
  /** A call that ends at once. */
  async call(end: End): Promise<'refused' | End> {
    if (this.breaker.refusalMs !== undefined) return 'refused'
    return (await this.breaker.run(async () => settled(end))).outcome as End
  }
  /** A call that ends when the test says so. */
  begin(): (end: End) => Promise<void> {
    const ended = Promise.withResolvers<Settled<never>>()
    const run = this.breaker.run(() => ended.promise)
    return async (end) => {
      ended.resolve(settled(end))
      await run
    }
  }
}

test('opens at a share of failures, from the least number of calls on', async () => {
  const fixture = new Fixture()
  for (const end of ['ok', 'failed', 'failed'] as const) await fixture.call(end)
  expect(fixture.breaker.state).toBe('closed')
  await fixture.call('ok')
  expect(fixture.breaker.state).toBe('closed') // a success opens nothing, whatever the share
  await fixture.call('failed')
  expect(fixture.breaker.state).toBe('open')
})

test('opens at failures in a row, however far apart', async () => {
  const fixture = new Fixture()
  for (let failure = 0; failure < 3; failure++) {
    expect(fixture.breaker.state).toBe('closed')
    await fixture.call('failed')
    await fixture.clock.advance(100_000)
  }
  expect(fixture.changes).toEqual(['closed → open'])
})

test('forgets what has left the window', async () => {
  const fixture = new Fixture()
  await fixture.call('failed')
  await fixture.call('failed')
  await fixture.call('ok')
  await fixture.clock.advance(1000)
  await fixture.call('failed')
  await fixture.call('ok')
  await fixture.call('failed')
  expect(fixture.breaker.state).toBe('closed') // two of three, where four calls are needed
})

test('is open for `openMs` less up to a fifth, evenly spread', async () => {
  const waits: number[] = []
  for (let round = 0; round < 500; round++) {
    const fixture = new Fixture({ consecutiveFailures: 1 }, Math.random)
    await fixture.call('failed')
    waits.push(fixture.breaker.refusalMs!)
  }
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(400)
  expect(Math.max(...waits)).toBeLessThanOrEqual(500)
  const mean = waits.reduce((sum, one) => sum + one, 0) / waits.length
  expect(mean).toBeGreaterThan(445)
  expect(mean).toBeLessThan(455)
})

test('lets one call through as a probe, and refuses all others at once while it is under way', async () => {
  const fixture = new Fixture({ consecutiveFailures: 1 })
  await fixture.call('failed')
  expect(await fixture.call('ok')).toBe('refused')
  await fixture.clock.advance(500)
  const end = fixture.begin()
  expect(fixture.breaker.state).toBe('half_open')
  for (let other = 0; other < 10; other++) expect(await fixture.call('ok')).toBe('refused')
  await end('ok')
  expect(fixture.breaker.state).toBe('closed')
  expect(fixture.changes).toEqual(['closed → open', 'open → half_open', 'half_open → closed'])
})

test('a probe that fails keeps it open for as long again', async () => {
  const fixture = new Fixture({ consecutiveFailures: 1 })
  await fixture.call('failed')
  await fixture.clock.advance(500)
  await fixture.call('failed')
  expect(fixture.breaker.refusalMs).toBe(500)
  await fixture.clock.advance(499)
  expect(await fixture.call('ok')).toBe('refused')
  await fixture.clock.advance(1)
  expect(await fixture.call('ok')).toBe('ok')
  expect(fixture.breaker.state).toBe('closed')
})

test('a probe that nothing is learnt from leaves the next call to be the probe, at once', async () => {
  const fixture = new Fixture({ consecutiveFailures: 1 })
  await fixture.call('failed')
  await fixture.clock.advance(500)
  await fixture.call('cancelled')
  expect(fixture.breaker.state).toBe('open')
  expect(fixture.breaker.refusalMs).toBeUndefined()
  await fixture.call('ok')
  expect(fixture.breaker.state).toBe('closed')
})

test('calls from before it opened say nothing once it is probed, or closed again', async () => {
  const fixture = new Fixture({ consecutiveFailures: 2 })
  const late = [fixture.begin(), fixture.begin(), fixture.begin(), fixture.begin()]
  await fixture.call('failed')
  await fixture.call('failed')
  await fixture.clock.advance(500)
  const probe = fixture.begin()
  await late[0]!('failed')
  await late[1]!('ok')
  expect(fixture.breaker.state).toBe('half_open')
  await probe('ok')
  await late[2]!('failed')
  await late[3]!('failed')
  expect(fixture.breaker.state).toBe('closed')
})

test('where other nodes have found it down, the next failure of its own opens it; without one it stays closed', async () => {
  const fixture = new Fixture()
  fixture.isWarned = true
  await fixture.call('ok')
  await fixture.call('cancelled')
  expect(fixture.breaker.state).toBe('closed')
  await fixture.call('failed')
  expect(fixture.breaker.state).toBe('open')
})

test('time that jumps on the wall clock changes nothing', async () => {
  const fixture = new Fixture({ consecutiveFailures: 1 })
  const now = Date.now
  try {
    await fixture.call('failed')
    Date.now = () => now() - 86_400_000
    await fixture.clock.advance(500)
    expect(await fixture.call('failed')).toBe('failed')
    Date.now = () => now() + 86_400_000
    expect(await fixture.call('ok')).toBe('refused')
  } finally {
    Date.now = now
  }
})

/** What a breaker should do, as simply as it can be said. Calls end at once here. */
class Model {
  state: BreakerState = 'closed'
  nowMs = 0
  probeAtMs = 0
  inARow = 0
  calls: { part: number; isFailure: boolean }[] = []
  get isRefused(): boolean {
    return this.state === 'open' && this.nowMs < this.probeAtMs
  }
  call(end: End): void {
    if (this.isRefused) return
    if (this.state === 'closed') this.#count(end)
    else if (end === 'ok') this.#close()
    else this.#open(end === 'failed' ? OPTIONS.openMs : 0)
  }
  #count(end: End): void {
    if (end === 'cancelled') return
    const part = Math.floor(this.nowMs / 100)
    this.calls = [...this.calls.filter((one) => one.part > part - 10), { part, isFailure: end === 'failed' }]
    this.inARow = end === 'failed' ? this.inARow + 1 : 0
    const failures = this.calls.filter(({ isFailure }) => isFailure).length
    const isTooMuch = this.calls.length >= OPTIONS.minimumCalls && failures >= OPTIONS.failureShare * this.calls.length
    if (end === 'failed' && (this.inARow >= OPTIONS.consecutiveFailures || isTooMuch)) this.#open(OPTIONS.openMs)
  }
  #open(ms: number): void {
    this.state = 'open'
    this.probeAtMs = this.nowMs + ms
  }
  #close(): void {
    this.state = 'closed'
    this.calls = []
    this.inARow = 0
  }
}

type Step = End | 250 | 900
const STEPS: readonly Step[] = ['ok', 'failed', 'cancelled', 250, 900]

async function compare(steps: readonly Step[]): Promise<void> {
  const fixture = new Fixture()
  const model = new Model()
  for (const [index, step] of steps.entries()) {
    if (typeof step === 'number') {
      await fixture.clock.advance(step)
      model.nowMs += step
    } else {
      const isRefused = model.isRefused
      expect((await fixture.call(step)) === 'refused', steps.slice(0, index + 1).join(' ')).toBe(isRefused)
      model.call(step)
    }
    expect(fixture.breaker.state, steps.slice(0, index + 1).join(' ')).toBe(model.state)
  }
}

test('every sequence of five ends and waits goes as the model does, after any beginning', async () => {
  const ends: readonly End[] = ['ok', 'failed', 'cancelled']
  let count = 0
  for (const beginning of [[], ['failed', 'failed'], ['failed', 'failed', 'failed']] as Step[][])
    for (let number = 0; number < STEPS.length ** 4; number++) {
      const steps = [0, 1, 2, 3].map((place) => STEPS[Math.floor(number / STEPS.length ** place) % STEPS.length]!)
      for (const last of ends) await compare([...beginning, ...steps, last])
      count++
    }
  expect(count).toBe(3 * 625)
}, 60_000)

test('long sequences go as the model does', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom(...STEPS, 'failed' as const), { maxLength: 60 }), compare),
    { numRuns: 100 },
  )
}, 60_000)

test('whatever overlaps: one probe at a time, opened by failures alone, closed by a probe alone', async () => {
  const step = fc.oneof(
    fc.constant({ kind: 'begin' as const }),
    fc.record({
      kind: fc.constant('end' as const),
      which: fc.nat(9),
      end: fc.constantFrom<End>('ok', 'failed', 'cancelled'),
    }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(100, 500) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const fixture = new Fixture()
      const running: { end(end: End): Promise<void>; isProbe: boolean }[] = []
      for (const one of steps) {
        const before = fixture.breaker.state
        if (one.kind === 'wait') await fixture.clock.advance(one.ms)
        else if (one.kind === 'begin') {
          if (fixture.breaker.refusalMs !== undefined) continue
          running.push({ end: fixture.begin(), isProbe: before !== 'closed' })
          if (before !== 'closed') expect(fixture.breaker.state).toBe('half_open')
        } else if (running.length > 0) {
          const [call] = running.splice(one.which % running.length, 1)
          await call!.end(one.end)
          const after = fixture.breaker.state
          if (after === 'closed' && before !== 'closed') expect([call!.isProbe, one.end]).toEqual([true, 'ok'])
          if (after === 'open' && before === 'closed') expect(one.end).toBe('failed')
          if (before === 'half_open' && !call!.isProbe) expect(after).toBe('half_open')
        }
        const probes = running.filter(({ isProbe }) => isProbe).length
        expect(probes).toBe(fixture.breaker.state === 'half_open' ? 1 : 0)
      }
      await turn()
    }),
    { numRuns: 200 },
  )
}, 60_000)

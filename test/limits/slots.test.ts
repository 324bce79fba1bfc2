import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Slots, type ShedReason, type Waiting } from '../../src/limits/slots.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

/** Slots whose queue is played by hand. */
class Played {
  readonly clock = new FakeClock()
  readonly slots: Slots
  readonly events: string[] = []

  constructor(max: number, maxQueueMs = 1000) {
    this.slots = new Slots(max, maxQueueMs, this.clock)
  }
  /** A request comes: it runs, waits, or is refused. */
  come(caller: string, name = caller): Waiting | undefined {
    if (this.slots.hasRoom) {
      this.slots.take()
      this.events.push(`run ${name}`)
      return undefined
    }
    const refused = this.slots.refusal(caller)
    if (refused !== undefined) {
      this.events.push(`refuse ${name}: ${refused}`)
      return undefined
    }
    const waiting: Waiting = {
      caller,
      sinceMs: this.clock.monotonic(),
      grant: () => void this.events.push(`run ${name}`),
      shed: (reason: ShedReason) => void this.events.push(`shed ${name}: ${reason}`),
    }
    this.slots.enter(waiting)
    return waiting
  }
  take(): string[] {
    return this.events.splice(0)
  }
}

describe('the slots of a resource', () => {
  test('are given to the next who waits, first in, first out', () => {
    const played = new Played(1)
    const { slots } = played
    for (const name of ['a1', 'a2', 'a3']) played.come('a', name)
    expect(played.take()).toEqual(['run a1'])
    slots.give(10)
    slots.give(10)
    expect(played.take()).toEqual(['run a2', 'run a3'])
    expect([slots.taken, slots.waiting]).toEqual([1, 0])
  })

  test('are taken in turns by callers, however much one of them has waiting', () => {
    const played = new Played(1)
    for (let index = 1; index <= 5; index++) played.come('greedy', `greedy${index}`)
    played.come('polite')
    played.take()
    for (let index = 0; index < 3; index++) played.slots.give(10)
    expect(played.take()).toEqual(['run greedy2', 'run polite', 'run greedy3'])
  })

  test('leave room in the queue for another caller', () => {
    const played = new Played(1)
    for (let index = 0; index < 40; index++) played.come('greedy')
    expect(played.slots.waiting).toBe(8) // half of the least queue
    played.take()
    played.come('polite')
    expect(played.take()).toEqual([])
    expect(played.slots.waiting).toBe(9)
  })

  test('refuse at once who would wait for too long at the present rate', () => {
    const played = new Played(2, 100)
    played.come('a')
    played.slots.give(90) // a call takes 90 ms, so that a slot becomes free every 45 ms
    for (const name of ['a1', 'a2', 'a3', 'a4', 'a5']) played.come('a', name)
    expect(played.take().slice(-1)).toEqual(['refuse a5: wait_too_long'])
    expect(played.slots.waiting).toBe(2)
  })

  test('shed who has waited for too long, and refuse everybody while nothing moves', async () => {
    const played = new Played(1, 100)
    played.come('a', 'a1')
    await played.clock.advance(50)
    played.come('a', 'a2')
    await played.clock.advance(99)
    played.slots.expire(played.clock.monotonic())
    expect(played.take()).toEqual(['run a1'])
    await played.clock.advance(2)
    played.slots.expire(played.clock.monotonic())
    played.come('b')
    expect(played.take()).toEqual(['shed a2: wait_too_long', 'refuse b: wait_too_long'])
    played.slots.give(200)
    played.come('b')
    expect(played.take()).toEqual(['run b'])
  })

  test('do not go to who has left the queue', () => {
    const played = new Played(1)
    played.come('a')
    const gone = played.come('b', 'gone')!
    played.come('c')
    played.slots.leave(gone)
    played.slots.leave(gone)
    played.take()
    played.slots.give(1)
    expect(played.take()).toEqual(['run c'])
    expect(played.slots.waiting).toBe(0)
  })

  test('a thousand requests that are served in no time are handed through without a deep stack', () => {
    const slots = new Slots(5000, 1000, new FakeClock())
    for (let index = 0; index < 5000; index++) slots.take()
    let depth = 0
    let deepest = 0
    for (let index = 0; index < 4000; index++)
      slots.enter({
        caller: `c${index % 7}`,
        sinceMs: 0,
        grant() {
          deepest = Math.max(deepest, ++depth)
          slots.give(0)
          depth--
        },
        shed: () => expect.unreachable(),
      })
    slots.give(1)
    expect(deepest).toBe(1)
    expect([slots.taken, slots.waiting]).toEqual([4999, 0])
  })

  test('whatever comes and goes: never more run than there are slots, nobody waits beside a free one, nobody is lost', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('come' as const), caller: fc.integer({ min: 0, max: 4 }) }),
      fc.record({ kind: fc.constant('give' as const), caller: fc.constant(0) }),
      fc.record({ kind: fc.constant('leave' as const), caller: fc.integer({ min: 0, max: 4 }) }),
    )
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.array(step, { maxLength: 300 }), (max, steps) => {
        const played = new Played(max)
        const { slots } = played
        const waiting: Waiting[] = []
        const counts = { come: 0, left: 0, given: 0 }
        for (const { kind, caller } of steps) {
          if (kind === 'come') {
            counts.come++
            const entered = played.come(`c${caller}`)
            if (entered !== undefined) waiting.push(entered)
          } else if (kind === 'give' && slots.taken > 0) {
            counts.given++
            slots.give(1)
          } else if (kind === 'leave' && waiting.length > 0) {
            const before = slots.waiting
            slots.leave(waiting.splice(caller % waiting.length, 1)[0]!)
            counts.left += before - slots.waiting
          }
          expect(slots.taken).toBeLessThanOrEqual(max)
          expect(slots.waiting === 0 || !slots.hasRoom).toBe(true)
          expect(slots.waiting).toBeLessThanOrEqual(Math.max(16, max))
        }
        const ran = played.events.filter((event) => event.startsWith('run')).length
        const refused = played.events.filter((event) => event.startsWith('refuse')).length
        expect(ran + refused + counts.left + slots.waiting).toBe(counts.come)
        expect(slots.taken).toBe(ran - counts.given)
      }),
    )
  })
})

import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { PendingBytes, type PendingBody } from '../../src/limits/pending-bytes.ts'

test('past the bound, the biggest body of who holds most goes', () => {
  const pending = new PendingBytes(100)
  const evicted: string[] = []
  const open = (caller: string, name: string): PendingBody => pending.open(caller, () => evicted.push(name))
  const polite = open('polite', 'polite')
  polite.grow(20)
  const small = open('greedy', 'greedy small')
  small.grow(15)
  const big = open('greedy', 'greedy big')
  big.grow(50)
  expect([pending.bytes, evicted]).toEqual([85, []])
  polite.grow(16)
  expect([pending.bytes, evicted]).toEqual([51, ['greedy big']])
  big.grow(1000) // what still comes of an evicted body counts no more
  expect(pending.bytes).toBe(51)
  for (const body of [polite, small, big]) {
    body.release()
    body.release()
  }
  expect([pending.bytes, evicted]).toEqual([0, ['greedy big']])
})

test('a body that is bigger than the bound by itself goes itself', () => {
  const pending = new PendingBytes(100)
  let isEvicted = false
  pending.open('a', () => (isEvicted = true)).grow(101)
  expect([isEvicted, pending.bytes]).toEqual([true, 0])
})

test('whatever grows and goes: the sum is right, never above the bound, and nobody goes twice', () => {
  const step = fc.record({ body: fc.nat(9), caller: fc.nat(2), bytes: fc.nat(60), isRelease: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const pending = new PendingBytes(150)
      const bodies = new Map<number, { body: PendingBody; bytes: number }>()
      for (const { body: key, caller, bytes, isRelease } of steps) {
        let entry = bodies.get(key)
        if (entry === undefined) {
          const body = pending.open(`c${caller}`, () => expect(bodies.delete(key)).toBe(true))
          bodies.set(key, (entry = { body, bytes: 0 }))
        }
        if (isRelease) {
          entry.body.release()
          bodies.delete(key)
        } else {
          entry.bytes += bytes
          entry.body.grow(bytes)
        }
        expect(pending.bytes).toBeLessThanOrEqual(150)
        expect(pending.bytes).toBe([...bodies.values()].reduce((sum, { bytes }) => sum + bytes, 0))
      }
    }),
  )
})

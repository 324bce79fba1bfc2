import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { median, pairedRatio, spread } from '../../bench/lib/stats.ts'

const positive = fc.double({ min: 0.001, max: 1e9, noNaN: true })

describe('median', () => {
  test('is the middle value, or the mean of the two middle ones, whatever the order', () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(median([10, 1, 2, 3])).toBe(2.5)
    expect(median([7])).toBe(7)
  })

  test('has as many values below as above it', () => {
    fc.assert(
      fc.property(fc.array(positive, { minLength: 1, maxLength: 30 }), (values) => {
        const middle = median(values)
        const below = values.filter((value) => value < middle).length
        const above = values.filter((value) => value > middle).length
        expect(Math.max(below, above)).toBeLessThanOrEqual(values.length / 2)
      }),
    )
  })

  test('refuses to be asked of nothing, because a missing measurement is not a zero', () => {
    expect(() => median([])).toThrow(RangeError)
  })
})

test('spread names the ends as well', () => {
  expect(spread([5, 1, 9])).toEqual({ median: 5, min: 1, max: 9 })
})

describe('pairedRatio', () => {
  test('divides each round by its own reference, so that a slow round cancels out', () => {
    expect(pairedRatio([50, 5, 500], [100, 10, 1000])).toEqual({ median: 0.5, min: 0.5, max: 0.5 })
  })

  test('differs from the ratio of the medians where rounds differ', () => {
    expect(pairedRatio([10, 90], [20, 100])).toEqual({ median: 0.7, min: 0.5, max: 0.9 })
  })

  test('refuses rounds that do not pair, and a reference that is not positive', () => {
    expect(() => pairedRatio([1, 2], [1])).toThrow(/2 and 1 rounds/)
    expect(() => pairedRatio([1], [0])).toThrow(/reference of round 0 is 0/)
  })
})

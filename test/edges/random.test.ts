import { expect, test } from 'vitest'
import { takeRandom } from '../../src/kernel/random.ts'

test('random bytes are as many as were asked for, and none is handed out twice', () => {
  const seen = new Set<string>()
  for (let count = 0; count < 5000; count++) {
    const bytes = takeRandom(count % 2 === 0 ? 12 : 16)
    expect(bytes).toHaveLength(count % 2 === 0 ? 12 : 16)
    // Eight bytes at each place: an overlap with an earlier draw, or a page that was not filled again, would repeat some.
    for (let at = 0; at + 8 <= bytes.length; at += 4) seen.add(bytes.subarray(at, at + 8).toString('hex'))
  }
  expect(seen.size).toBe(2500 * 2 + 2500 * 3)
})

test('what was handed out stays as it was', () => {
  const first = takeRandom(16)
  const before = first.toString('hex')
  for (let count = 0; count < 1000; count++) takeRandom(16)
  expect(first.toString('hex')).toBe(before)
})

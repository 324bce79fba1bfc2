import { expect, test } from 'vitest'
import { parseCoreList } from '../../bench/lib/cores.ts'
import { ratio, table, whole } from '../../bench/lib/table.ts'
import { allTargets, selectTargets } from '../../bench/lib/targets.ts'

test('a table aligns its first column left and its numbers right', () => {
  expect(
    table(
      ['server', 'req/s'],
      [
        ['plain', '50,000'],
        ['other server', '7'],
      ],
    ),
  ).toBe(['server         req/s', '------------  ------', 'plain         50,000', 'other server       7'].join('\n'))
})

test('numbers are printed with their spread', () => {
  expect(whole(12_345.6)).toBe('12,346')
  expect(ratio({ median: 0.876, min: 0.8, max: 0.9 })).toBe('0.88 (0.80–0.90)')
})

test('core lists are read as taskset prints them', () => {
  expect(parseCoreList(' 0,1\n')).toEqual([0, 1])
  expect(parseCoreList('0-2,7')).toEqual([0, 1, 2, 7])
})

test('a selection takes names and families, keeps the reference, and names what it does not know', () => {
  const targets = allTargets('unused')
  const names = (only: string[]): string[] => selectTargets(targets, only).map(({ name }) => name)
  expect(names(['holdfast'])).toEqual(['plain', 'holdfast-2026', 'holdfast-2025', 'holdfast-token'])
  expect(names(['sdk2-2025', 'tmcp'])).toEqual(['plain', 'sdk2-2025', 'tmcp'])
  expect(() => names(['hold'])).toThrow(/no server is named "hold": choose from plain, holdfast-2026/)
})

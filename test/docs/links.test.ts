import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { expect, test } from 'vitest'
import { anchors, DOCUMENTS, ROOT } from './documents.ts'

/** Links of a page that lead nowhere. */
function brokenLinks(path: string, links: readonly string[]): string[] {
  return links.filter((link) => {
    if (/^(https?|mailto):/.test(link)) return false
    const [file = '', anchor] = link.split('#')
    const target = file === '' ? path : normalize(join(dirname(path), file))
    if (!existsSync(join(ROOT, target))) return true
    if (anchor === undefined) return false
    const document = DOCUMENTS.find((other) => other.path === target)
    return document === undefined || !anchors(document).has(anchor)
  })
}

test.each(DOCUMENTS)('every link of $path that stays in the repository leads somewhere', ({ path, links }) => {
  expect(brokenLinks(path, links)).toEqual([])
})

test('the check would see a missing file and a missing anchor', () => {
  expect(brokenLinks('README.md', ['docs/nothing.md', '#no-such-heading', 'LICENSE'])).toEqual([
    'docs/nothing.md',
    '#no-such-heading',
  ])
})

test('every page of docs/ can be reached from the README', () => {
  const reached = new Set(['README.md'])
  for (const path of reached)
    for (const link of DOCUMENTS.find((document) => document.path === path)?.links ?? []) {
      const [file = ''] = link.split('#')
      if (file.endsWith('.md') && !file.includes(':')) reached.add(normalize(join(dirname(path), file)))
    }
  expect(DOCUMENTS.map(({ path }) => path).filter((path) => !reached.has(path))).toEqual([])
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ANONYMOUS } from '../../src/define/context.ts'
import { defineResource, defineServer, defineTool } from '../../src/index.ts'
import { compileCatalog, type Catalog } from '../../src/kernel/catalog.ts'
import { LATEST_LEGACY, LATEST_MODERN } from '../../src/kernel/protocol.ts'

interface Page {
  readonly tools: readonly { readonly name: string }[]
  readonly nextCursor?: string
}
const toolNames = (count: number): string[] => Array.from({ length: count }, (_, index) => `tool-${index}`)
const catalogOf = (count: number, pageSize: number): Catalog =>
  compileCatalog(
    defineServer({
      name: 'long',
      version: '1.0.0',
      tools: toolNames(count).map((name) => defineTool({ name, description: name, run: () => name })),
      resources: toolNames(count).map((name) => defineResource({ uri: `test://${name}`, name, read: () => name })),
    }),
    pageSize,
  )
const pageOf = (catalog: Catalog, cursor: string | undefined): Page =>
  JSON.parse(`{${catalog.page('tools', LATEST_MODERN, cursor, ANONYMOUS).toString()}}`) as Page
const refused = expect.objectContaining({ code: 'invalid_params', message: expect.stringContaining('cursor') })

describe('the pages of a list', () => {
  it('hold each entry once, in order, and end', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 20 }), (count, pageSize) => {
        const catalog = catalogOf(count, pageSize)
        const names: string[] = []
        let pages = 0
        for (let cursor: string | undefined; ;) {
          const page = pageOf(catalog, cursor)
          pages++
          expect(page.tools.length).toBeLessThanOrEqual(pageSize)
          names.push(...page.tools.map(({ name }) => name))
          cursor = page.nextCursor
          if (cursor === undefined) break
        }
        expect(names).toEqual(toolNames(count))
        expect(pages).toBe(Math.max(1, Math.ceil(count / pageSize)))
      }),
      { numRuns: 100 },
    )
  })

  const catalog = catalogOf(10, 3)
  const given = [pageOf(catalog, undefined).nextCursor!]
  while (given.length < 3) given.push(pageOf(catalog, given.at(-1)).nextCursor!)

  it('are found by the cursors that were given, and by nothing else', () => {
    expect(pageOf(catalog, given[2])).not.toHaveProperty('nextCursor')
    const forged = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.integer({ min: -20, max: 20 }).map((offset) => Buffer.from(`tools:${offset}`).toString('base64url')),
      fc
        .stringMatching(/^(tools|prompts|resources|TOOLS|__proto__)?:? ?0?\d{0,12}$/)
        .map((text) => Buffer.from(text).toString('base64url')),
      fc
        .tuple(fc.constantFrom(...given), fc.nat(), fc.string({ maxLength: 2 }))
        .map(
          ([cursor, at, noise]) => cursor.slice(0, at % cursor.length) + noise + cursor.slice((at % cursor.length) + 1),
        ),
      fc.constantFrom(...given).map((cursor) => `${cursor}=`),
      fc.constantFrom(...given).map((cursor) => ` ${cursor}`),
    )
    fc.assert(
      fc.property(forged, (cursor) => {
        fc.pre(!given.includes(cursor))
        expect(() => pageOf(catalog, cursor)).toThrow(refused)
      }),
      { numRuns: 3000 },
    )
  })

  it('are those of one list: the cursor of another is refused', () => {
    expect(() => catalog.page('resources', LATEST_MODERN, given[0], ANONYMOUS)).toThrow(refused)
    expect(() => catalog.resourcePage(LATEST_MODERN, given[0], ANONYMOUS, [])).toThrow(refused)
  })

  it('are cut alike in every revision', () => {
    const of2025 = JSON.parse(`{${catalog.page('tools', LATEST_LEGACY, given[0], ANONYMOUS).toString()}}`) as Page
    expect(of2025.tools.map(({ name }) => name)).toEqual(pageOf(catalog, given[0]).tools.map(({ name }) => name))
    expect(of2025.nextCursor).toBe(pageOf(catalog, given[0]).nextCursor)
  })

  it('treat an empty cursor the same, whoever asked for what before', () => {
    const ask = (fresh: Catalog): string => {
      try {
        return fresh.page('tools', LATEST_MODERN, '', ANONYMOUS).toString()
      } catch (error) {
        return (error as { code: string }).code
      }
    }
    const unread = ask(catalogOf(10, 3))
    const read = catalogOf(10, 3)
    pageOf(read, undefined)
    expect(ask(read)).toBe(unread)
  })
})

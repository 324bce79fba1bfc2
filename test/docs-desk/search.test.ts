import fc from 'fast-check'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { fuseRankings } from '../../examples/docs-desk/search/fusion.ts'
import { proseOf, queryWords, splitIdentifiers } from '../../examples/docs-desk/search/words.ts'
import { openSqliteStore } from '../../examples/docs-desk/store/sqlite-store.ts'
import { WordEmbedder, openTestDesk, temporaryFolder } from './support.ts'

const NOTES: [title: string, text: string][] = [
  ['Coffee', '# Coffee\n\nDescale the machine every second month. Beans are in the left cupboard.'],
  ['Printer', '# Printer\n\nThe printer jams when the tray is too full. Take out half of the paper.'],
  ['Timeouts', '# Timeouts\n\nSet `keepAliveTimeout` and `max_header_size` before the server starts.'],
  ['日本語', '# 日本語\n\n会議室の予約は総務部に連絡してください。'],
  ['Café', '# Café\n\nLe déjeuner est servi à midi.'],
]

async function openNotes(embedder = new WordEmbedder()): Promise<ReturnType<typeof openTestDesk>> {
  const desk = openTestDesk({}, embedder)
  for (const [title, text] of NOTES) await desk.ingest({ title, text })
  return desk
}

describe('search', () => {
  it.each([
    ['descaling machines', 'Coffee'],
    ['paper jam', 'Printer'],
    ['keep alive timeout', 'Timeouts'],
    ['maximum header size', 'Timeouts'],
    ['keepAliveTimeout', 'Timeouts'],
    ['会議室', '日本語'],
    ['dejeuner', 'Café'],
    ['DÉJEUNER', 'Café'],
  ])('puts the passage first that "%s" is about', async (query, title) => {
    const { passages } = await (await openNotes()).search(query, 3)
    expect(passages[0]?.title).toBe(title)
  })

  it('gives scores from 1 down, no passage twice, and no more than asked for', async () => {
    const { passages } = await (await openNotes()).search('machine printer server', 3)
    expect(passages.length).toBe(3)
    const scores = passages.map(({ score }) => score)
    expect(scores).toEqual(scores.toSorted((a, b) => b - a))
    for (const score of scores) expect(score).toBeGreaterThan(0)
    for (const score of scores) expect(score).toBeLessThanOrEqual(1)
    expect(new Set(passages.map(({ chunk }) => chunk)).size).toBe(3)
  })

  it('finds nothing in an empty knowledge base', async () => {
    expect(await openTestDesk().search('anything', 5)).toEqual({ passages: [], warnings: [] })
  })

  it('takes any text for a query, whatever it means in the query language of the index', async () => {
    const store = openSqliteStore(':memory:')
    const desk = openTestDesk({}, new WordEmbedder(), store)
    for (const [title, text] of NOTES) await desk.ingest({ title, text })
    const hostile = [
      '"',
      '""',
      "'",
      'AND',
      'OR NOT',
      'NEAR(a b, 2)',
      'title:x',
      '{title body}: x',
      '-x',
      '^x',
      'x*',
      '*',
      '(',
      'a"b',
      '\\',
      ';DROP TABLE documents',
      '\0',
      '\ud800',
      '_',
      'x + y',
      '%',
      '🙂',
      '\u0301',
      'a'.repeat(5_000),
      'word '.repeat(5_000),
    ]
    for (const query of hostile) await expect(store.searchText(query, 5), query).resolves.toBeInstanceOf(Array)
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string({ unit: 'binary' }), fc.string()), async (query) => {
        expect((await store.searchText(query, 5)).length).toBeLessThanOrEqual(5)
      }),
      { numRuns: 300 },
    )
    expect((await store.searchText('"machine" OR (', 5)).length).toBe(1)
    expect((await desk.list()).length).toBe(NOTES.length)
  }, 60_000)

  it('answers by words alone, and says so, where the query cannot be embedded', async () => {
    const embedder = new WordEmbedder()
    const desk = await openNotes(embedder)
    embedder.failure = new Error('The model is away.')
    const { passages, warnings } = await desk.search('printer', 3)
    expect(passages[0]?.title).toBe('Printer')
    expect(warnings).toEqual([expect.stringContaining('The model is away.')])
  })

  it('throws the reason of an abort', async () => {
    const desk = await openNotes()
    const reason = new Error('enough')
    await expect(desk.search('printer', 3, AbortSignal.abort(reason))).rejects.toBe(reason)
  })

  it('sees what another process stored', async () => {
    const file = join(await temporaryFolder(), 'desk.db')
    const reader = openTestDesk({}, new WordEmbedder(), openSqliteStore(file))
    const writer = openTestDesk({}, new WordEmbedder(), openSqliteStore(file))
    expect((await reader.search('printer', 3)).passages).toEqual([])
    await writer.ingest({ title: 'Printer', text: 'Out of paper.' })
    const { passages } = await reader.search('printer', 3)
    expect(passages.map(({ title, score }) => [title, score])).toEqual([['Printer', 1]])
  })

  it('makes the index of a file of version 1 anew, and finds what it holds', async () => {
    const file = join(await temporaryFolder(), 'desk.db')
    const before = openSqliteStore(file)
    await openTestDesk({}, new WordEmbedder(), before).ingest({ title: 'Printer', text: 'Out of `paperTray` paper.' })
    const hits = await before.searchText('tray', 5)
    await before.close()
    const database = new DatabaseSync(file)
    database.exec(`DROP TABLE passage_index;
      CREATE VIRTUAL TABLE passage_index USING fts5 (title, headings, body, content = '', contentless_delete = 1);
      PRAGMA user_version = 1`)
    database.close()
    const store = openSqliteStore(file)
    expect(await store.searchText('tray', 5)).toEqual(hits)
    expect(hits.length).toBe(1)
    await store.close()
  })

  it('refuses a file of another version', async () => {
    const file = join(await temporaryFolder(), 'desk.db')
    const database = new DatabaseSync(file)
    database.exec('PRAGMA user_version = 99')
    database.close()
    expect(() => openSqliteStore(file)).toThrow('schema version 99')
  })
})

describe('fusion', () => {
  const hits = (...chunks: number[]): { chunk: number; score: number }[] => chunks.map((chunk) => ({ chunk, score: 0 }))

  it('puts what both rankings hold above what one holds at the same rank, and gives 1 to the first of both', () => {
    const fused = fuseRankings(hits(1, 2), hits(1, 3), { text: 1, vectors: 1, rankConstant: 10 })
    expect(fused.map(({ chunk }) => chunk)).toEqual([1, 2, 3])
    expect(fused[0]!.score).toBeCloseTo(1)
  })

  it('never ranks a passage lower for being higher in one ranking', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(20), { minLength: 2 }), fc.uniqueArray(fc.nat(20)), (text, vectors) => {
        const place = (ranking: readonly number[], chunk: number): number =>
          fuseRankings(hits(...ranking), hits(...vectors)).findIndex((hit) => hit.chunk === chunk)
        const [first, second, ...rest] = text
        expect(place([second!, first!, ...rest], second!)).toBeLessThanOrEqual(place(text, second!))
      }),
    )
  })
})

describe('words', () => {
  it('leaves out words that say little, unless there are no others', () => {
    expect(queryWords('How do I reset the password?')).toEqual(['reset', 'password'])
    expect(queryWords('who are you')).toEqual(['who', 'are', 'you'])
  })

  it('takes identifiers apart', () => {
    expect(splitIdentifiers('`keepAliveTimeout`, max_header_size and plain words')).toBe(
      'keep Alive Timeout max header size',
    )
  })

  it('keeps the sentences of Markdown alone', () => {
    expect(proseOf('## Head\n\nSee **the** [guide](http://x.y).\n\n```js\ncode()\n```\n\nEnd.')).toBe(
      'See the guide. End.',
    )
    expect(proseOf('Text\n\n```js\nnever closed()')).toBe('Text')
  })
})

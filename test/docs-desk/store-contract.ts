import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { normalize } from '../../examples/docs-desk/embedding/embedder.ts'
import { formatOf, readDocument } from '../../examples/docs-desk/reading/read-document.ts'
import { sha256 } from '../../examples/docs-desk/store/sha256.ts'
import type { DocumentStore, NewDocument } from '../../examples/docs-desk/store/document-store.ts'
import { WordEmbedder } from './support.ts'

const SAMPLE = fileURLToPath(new URL('../../examples/docs-desk/sample', import.meta.url))
const MODEL = 'words'

/** A document with a passage for each text. */
export function makeDocument(title: string, ...texts: string[]): NewDocument {
  let start = 0
  const chunks = texts.map((text) => {
    const chunk = { headingPath: [title, 'Part'], start, end: start + text.length, text }
    start = chunk.end + 1
    return chunk
  })
  const text = texts.join('\n')
  return {
    id: `${title.toLowerCase().replaceAll(/[^a-z]+/g, '-')}-${sha256(title).slice(0, 8)}`,
    title,
    source: `text:${title}`,
    contentHash: sha256(text),
    text,
    chunks,
  }
}

/** The documents that come with Docs desk. */
export async function sampleDocuments(): Promise<NewDocument[]> {
  const files = readdirSync(SAMPLE, { recursive: true, encoding: 'utf8' }).toSorted()
  return Promise.all(
    files.map(async (file) => {
      const content = readFileSync(join(SAMPLE, file))
      const { title = file, text, chunks } = await readDocument({ format: formatOf(file)!, content })
      const source = `sample/${file}`
      return { id: sha256(file).slice(0, 8), title, source, contentHash: sha256(content), text, chunks }
    }),
  )
}

/** Gives every passage its vector, and counts how many got one. */
export async function embedAll(
  store: DocumentStore,
  embedder: WordEmbedder = new WordEmbedder(MODEL),
): Promise<number> {
  let stored = 0
  for (;;) {
    const passages = await store.unembedded(embedder.model, 10, '')
    if (passages.length === 0) return stored
    const vectors = await embedder.embedPassages(passages)
    const named = passages.map(({ hash }, index) => ({ hash, vectors: vectors[index]! }))
    stored += await store.putVectors(embedder.model, named)
  }
}

/**
 * What a store of documents promises. `open` gives one more process' view of the same, empty knowledge base, or of a new one
 * for each `isNew`.
 */
export function documentStoreContract(name: string, open: (isNew: boolean) => Promise<DocumentStore>): void {
  const openNew = async (isNew = true): Promise<DocumentStore> => {
    const store = await open(isNew)
    onTestFinished(() => store.close())
    return store
  }
  const vector = (text: string): Promise<Float32Array> => new WordEmbedder(MODEL).embedQuery(text)
  const titles = async (store: DocumentStore): Promise<string[]> => (await store.list()).map(({ title }) => title)
  const found = async (store: DocumentStore, query: string): Promise<string[]> => {
    const hits = await store.searchText(query, 10)
    return (await store.passages(hits.map(({ chunk }) => chunk))).map(({ text }) => text)
  }
  const nearest = async (store: DocumentStore, query: string): Promise<string[]> => {
    const hits = await store.searchVectors(MODEL, await vector(query), 10)
    return (await store.passages(hits.map(({ chunk }) => chunk))).map(({ text }) => text)
  }

  describe(`documents in ${name}`, () => {
    it('are listed by title without regard to case, found by id or title, and read', async () => {
      const store = await openNew()
      for (const title of ['beta', 'Älpha', 'Alpha', 'alpha', 'Gamma'])
        await store.put(makeDocument(title, `On ${title}.`))
      const sorted = [...['Alpha', 'alpha'].toSorted(byId), 'beta', 'Gamma', 'Älpha']
      expect(await titles(store)).toEqual(sorted)
      const gamma = makeDocument('Gamma', 'On Gamma.')
      const [summary] = await store.find('gamma')
      expect(summary).toEqual({
        id: gamma.id,
        title: 'Gamma',
        source: 'text:Gamma',
        characters: 9,
        passages: 1,
        storedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string,
      })
      expect(await store.find(gamma.id)).toEqual([summary])
      expect((await store.find('ALPHA')).length).toBe(2)
      expect(await store.find('älpha')).toEqual([])
      expect(await store.find('nothing')).toEqual([])
      expect(await store.text(gamma.id)).toBe('On Gamma.')
      expect(await store.text('nothing')).toBeUndefined()
      expect(await store.bySource('text:Gamma')).toEqual({ id: gamma.id, contentHash: gamma.contentHash })
      expect(await store.bySource('text:gamma')).toBeUndefined()
    })

    it('are found by the beginning of their source, whatever is special in a pattern', async () => {
      const store = await openNew()
      for (const source of ['a_b/x', 'a_b/y', 'aXb/z', 'a%/z'])
        await store.put({ ...makeDocument(source, 'Text.'), source })
      const sources = async (prefix: string): Promise<string[]> =>
        (await store.withSourcePrefix(prefix)).map(({ source }) => source).toSorted()
      expect(await sources('a_b/')).toEqual(['a_b/x', 'a_b/y'])
      expect(await sources('a%')).toEqual(['a%/z'])
      expect(await sources('b')).toEqual([])
    })

    it('are stored in place of those with the same id, and keep vectors of passages that stay', async () => {
      const store = await openNew()
      expect(await store.put(makeDocument('Leave', 'Holidays are long.', 'Illness is short.'))).toEqual({
        outcome: 'added',
        added: 2,
        kept: 0,
      })
      expect(await embedAll(store)).toBe(2)
      expect(await store.put(makeDocument('Leave', 'Illness is short.', 'Strikes are rare.'))).toEqual({
        outcome: 'updated',
        added: 1,
        kept: 1,
      })
      expect(await found(store, 'holiday')).toEqual([])
      expect(await found(store, 'strike')).toEqual(['Strikes are rare.'])
      expect(await nearest(store, 'illness')).toEqual(['Illness is short.'])
      expect((await store.unembedded(MODEL, 10, '')).map(({ text }) => text)).toEqual(['Strikes are rare.'])
      expect(await titles(store)).toEqual(['Leave'])
    })

    it('are stored once where the contents are the same', async () => {
      const store = await openNew()
      const document = makeDocument('Leave', 'Holidays are long.')
      await store.put(document)
      const before = await store.list()
      const [hit] = await store.searchText('holiday', 1)
      expect(await store.put(document)).toEqual({ outcome: 'unchanged', added: 0, kept: 1 })
      expect(await store.list()).toEqual(before)
      expect(await store.searchText('holiday', 1)).toEqual([hit])
    })

    it('are stored whole and once by several processes at once', async () => {
      const stores = [await openNew(), await openNew(false), await openNew(false)]
      const same = makeDocument('Same', 'First passage.', 'Second passage.')
      const outcomes = await Promise.all(stores.map((store) => store.put(same)))
      expect(outcomes.map(({ outcome }) => outcome).toSorted()).toEqual(['added', 'unchanged', 'unchanged'])
      const versions = stores.map((_, index) =>
        makeDocument('Torn', ...Array.from({ length: 20 }, (_, part) => `Version ${index}, part ${part}.`)),
      )
      await Promise.all(stores.map((store, index) => store.put(versions[index]!)))
      const { id } = versions[0]!
      const text = await stores[0]!.text(id)
      const hits = await stores[0]!.searchText('version', 100)
      const passages = await stores[0]!.passages(hits.map(({ chunk }) => chunk))
      expect(new Set(passages.map((passage) => passage.text))).toEqual(new Set(text!.split('\n')))
      expect((await stores[0]!.find(id))[0]!.passages).toBe(20)
      const counts = await Promise.all(stores.map((store) => embedAll(store)))
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(22)
    })

    it('go with everything that belongs to them alone', async () => {
      const store = await openNew()
      const leave = makeDocument('Leave', 'Holidays are long.')
      await store.put(leave)
      await store.put(makeDocument('Printer', 'Paper is short.'))
      await embedAll(store)
      expect(await store.remove(leave.id)).toBe(true)
      expect(await store.remove(leave.id)).toBe(false)
      expect(await titles(store)).toEqual(['Printer'])
      expect(await found(store, 'holidays')).toEqual([])
      expect(await nearest(store, 'holidays')).toEqual(['Paper is short.'])
      expect(await store.text(leave.id)).toBeUndefined()
      await store.put(leave)
      expect(await store.countUnembedded(MODEL)).toBe(1)
    })

    it('hold any text, and are read back as they were, but for the character 0', async () => {
      const store = await openNew()
      const text = 'Ünï © 🙂 "quoted" {braces} \\back\\ \u0301 \t end'
      await store.put(makeDocument('🙂 "title" \\', text, 'a\0b'))
      const [document] = await store.list()
      expect(document!.title).toBe('🙂 "title" \\')
      expect((await store.text(document!.id))!.split('\n')[0]).toBe(text)
      const [hit] = await store.searchText('quoted', 1)
      const [passage] = await store.passages([hit!.chunk])
      expect(passage).toMatchObject({ text, headingPath: ['🙂 "title" \\', 'Part'], start: 0, end: text.length })
      expect(await store.find('\0')).toEqual([])
    })
  })

  describe(`vectors in ${name}`, () => {
    it('are kept once for each text and model; what has some, or has gone, is passed over', async () => {
      const store = await openNew()
      await store.put(makeDocument('One', 'Alpha.', 'Beta.'))
      const passages = await store.unembedded(MODEL, 10, '')
      const vectors = passages.map(({ hash }) => ({ hash, vectors: [normalize([1, 0])] }))
      expect(
        await store.putVectors(MODEL, [...vectors.slice(0, 1), { hash: 'gone', vectors: [normalize([1, 1])] }]),
      ).toBe(1)
      expect(await store.countUnembedded(MODEL)).toBe(1)
      const other = vectors.map(({ hash }) => ({ hash, vectors: [normalize([0, 1])] }))
      expect(await store.putVectors(MODEL, other)).toBe(1)
      const hits = await store.searchVectors(MODEL, normalize([1, 0]), 10)
      expect(hits.map(({ score }) => score)).toEqual([1, 0])
      expect(await store.countUnembedded(MODEL)).toBe(0)
      expect(await store.countUnembedded('another')).toBe(2)
      expect(await store.searchVectors('another', normalize([1, 0]), 10)).toEqual([])
    })

    it('of several parts count by the nearest, and those of another length take the place of all', async () => {
      const store = await openNew()
      await store.put(makeDocument('One', 'Alpha.', 'Beta.'))
      const [first, second] = await store.unembedded(MODEL, 10, '')
      await store.putVectors(MODEL, [
        { hash: first!.hash, vectors: [normalize([1, 0]), normalize([0, 1])] },
        { hash: second!.hash, vectors: [normalize([1, 1])] },
      ])
      const [best, next] = await store.searchVectors(MODEL, normalize([0, 1]), 10)
      expect([best!.score, next!.score]).toEqual([1, expect.closeTo(Math.SQRT1_2, 5)])
      expect((await store.passages([best!.chunk]))[0]!.text).toBe(first!.text)
      expect(await store.putVectors(MODEL, [{ hash: first!.hash, vectors: [normalize([1, 0, 0])] }])).toBe(1)
      expect(await store.searchVectors(MODEL, normalize([0, 1]), 10)).toEqual([])
      expect((await store.searchVectors(MODEL, normalize([1, 0, 0]), 10)).length).toBe(1)
      expect(await store.countUnembedded(MODEL)).toBe(1)
    })

    it('that are lacking are named from any place on, and around', async () => {
      const store = await openNew()
      await store.put(makeDocument('Many', ...Array.from({ length: 8 }, (_, index) => `Part ${index}.`)))
      const all = (await store.unembedded(MODEL, 100, '')).map(({ hash }) => hash)
      expect(all).toEqual(all.toSorted())
      expect((await store.unembedded(MODEL, 3, all[6]!)).map(({ hash }) => hash)).toEqual([all[6], all[7], all[0]])
      expect((await store.unembedded(MODEL, 1, all[6]!))[0]).toMatchObject({
        title: 'Many',
        headingPath: ['Many', 'Part'],
        text: expect.stringMatching(/^Part \d\.$/) as string,
      })
    })

    it('and documents that another process stores are found at once', async () => {
      const [reader, writer] = [await openNew(), await openNew(false)]
      expect(await found(reader, 'alpha')).toEqual([])
      expect(await nearest(reader, 'alpha')).toEqual([])
      await writer.put(makeDocument('One', 'Alpha.'))
      expect(await reader.countUnembedded(MODEL)).toBe(1)
      await embedAll(writer)
      expect(await reader.countUnembedded(MODEL)).toBe(0)
      expect(await nearest(reader, 'alpha')).toEqual(['Alpha.'])
      await writer.put(makeDocument('One', 'Alpha.', 'Beta alpha.'))
      await embedAll(writer)
      expect((await nearest(reader, 'alpha')).toSorted()).toEqual(['Alpha.', 'Beta alpha.'])
      await writer.remove(makeDocument('One').id)
      expect(await nearest(reader, 'alpha')).toEqual([])
      expect(await found(reader, 'alpha')).toEqual([])
    })
  })

  describe(`full text in ${name}`, () => {
    it('takes any text for a query', async () => {
      const store = await openNew()
      await store.put(makeDocument('Coffee', 'Descale the machine every second month.'))
      const hostile = [
        '"',
        "'",
        'AND',
        'NEAR(a b, 2)',
        'title:x',
        '-x',
        'x*',
        '(',
        '\\',
        ';DROP TABLE documents',
        '\0',
        '\ud800',
        '%',
        '🙂',
        '\u0301',
        'हिन्दी',
        'a'.repeat(5_000),
        'word '.repeat(5_000),
      ]
      for (const query of hostile) expect(await store.searchText(query, 5), query).toEqual([])
      await fc.assert(
        fc.asyncProperty(fc.oneof(fc.string({ unit: 'binary' }), fc.string()), async (query) => {
          expect((await store.searchText(query, 5)).length).toBeLessThanOrEqual(5)
        }),
        { numRuns: 100 },
      )
      expect(await found(store, '"machine" OR (')).toEqual(['Descale the machine every second month.'])
      // The first words of scripts without spaces have dictionaries loaded.
    }, 60_000)

    it('scores alike before and after documents were replaced and removed', async () => {
      const store = await openNew()
      await store.put(makeDocument('Notes', 'common rare', 'common', 'other', 'words', 'of', 'many', 'kinds'))
      const before = await store.searchText('common rare', 5)
      for (let turn = 0; turn < 10; turn++) await store.put(makeDocument('Diary', `Day ${turn}.`, 'Nothing else.'))
      await store.remove(makeDocument('Diary').id)
      expect(await store.searchText('common rare', 5)).toEqual(before)
    })

    it('ranks by BM25: what is rare counts more, and so does what fills more of its passage', async () => {
      const store = await openNew()
      await store.put(
        makeDocument(
          'Notes',
          'common rare',
          'common common',
          'common other words',
          'nothing at all',
          'nor here',
          'nor there',
        ),
      )
      expect((await found(store, 'rare common'))[0]).toBe('common rare')
      expect((await found(store, 'common')).slice(0, 1)).toEqual(['common common'])
      expect(await found(store, 'absent')).toEqual([])
    })
  })
}

const byId = (a: string, b: string): number => (makeDocument(a).id < makeDocument(b).id ? -1 : 1)

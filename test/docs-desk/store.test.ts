// The stores of documents, on one suite, and how far they agree.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { readQuestions } from '../../examples/docs-desk/evaluation/questions.ts'
import type { IngestReport } from '../../examples/docs-desk/ingest/ingest.ts'
import { search } from '../../examples/docs-desk/search/search.ts'
import type { DocumentStore } from '../../examples/docs-desk/store/document-store.ts'
import { openPostgresStore } from '../../examples/docs-desk/store/postgres-store.ts'
import { openSqliteStore } from '../../examples/docs-desk/store/sqlite-store.ts'
import { needs, sharedServer } from '../servers/shared.ts'
import { query, startPostgres } from '../servers/postgres.ts'
import { documentStoreContract, embedAll, makeDocument, sampleDocuments } from './store-contract.ts'
import { openTestDesk, temporaryFolder, WordEmbedder } from './support.ts'
import { emptySchema } from '../support/empty-schema.ts'

const { url } = await sharedServer('postgres')
await needs('postgres')

const newSchema = (): string => emptySchema(url).name

let file = ''
documentStoreContract('SQLite', async (isNew) => {
  if (isNew) file = join(await temporaryFolder(), 'desk.db')
  return openSqliteStore(file)
})
let schema = ''
documentStoreContract('Postgres', async (isNew) => {
  if (isNew) schema = newSchema()
  return openPostgresStore(url, { schema })
})

function open(store: DocumentStore): DocumentStore {
  onTestFinished(() => store.close())
  return store
}

describe('both stores', () => {
  it('rank the sample documents alike: by words, by vectors, and by both', async () => {
    const embedder = new WordEmbedder()
    const stores = [open(openSqliteStore(':memory:')), open(openPostgresStore(url, { schema: newSchema() }))]
    const documents = await sampleDocuments()
    expect(documents.length).toBe(4)
    for (const store of stores) {
      for (const document of documents) await store.put(document)
      // As after a while of use: numbers have gaps, and the counts of the whole have gone up and down.
      await store.remove(documents[1]!.id)
      await store.put(documents[1]!)
      await embedAll(store, embedder)
    }
    const questions = [
      'How much holiday do I get?',
      'vacation days carried over',
      'who is on call at night',
      'expenses travel receipts',
      'the of and',
      'printer',
      ...readQuestions()
        .slice(0, 40)
        .map(({ question }) => question),
    ]
    let hits = 0
    for (const question of questions) {
      const [lite, post] = await Promise.all(stores.map((store) => store.searchText(question, 50)))
      expect(
        post!.map(({ chunk }) => chunk),
        question,
      ).toEqual(lite!.map(({ chunk }) => chunk))
      post!.forEach(({ score }, index) => expect(score).toBeCloseTo(lite![index]!.score, 9))
      hits += post!.length
      const [first, second] = await Promise.all(stores.map((store) => search(store, embedder, question, 10)))
      expect(second, question).toEqual(first)
    }
    expect(hits).toBeGreaterThan(questions.length)
  })
})

describe('Postgres', () => {
  it('makes its tables once, however many processes begin at once, and is then found ready', async () => {
    const name = newSchema()
    const stores = Array.from({ length: 5 }, () => open(openPostgresStore(url, { schema: name })))
    expect(await Promise.all(stores.map((store) => store.list()))).toEqual([[], [], [], [], []])
    expect(await query(url, `select number from ${name}.migrations`)).toEqual([{ number: 1 }])
    expect(await query(url, `select revision::int as revision from ${name}.state`)).toEqual([{ revision: 0 }])
  })

  it('takes a folder in once that two processes ingest at once, and gives each passage its vectors once', async () => {
    const root = join(await temporaryFolder(), 'handbook')
    await mkdir(root)
    for (let index = 0; index < 10; index++) {
      const sections = Array.from({ length: 12 }, (_, part) => `## Part ${part}\n\nSentence ${index}.${part}.`)
      await writeFile(join(root, `document-${index}.md`), sections.join('\n\n'))
    }
    const schema = newSchema()
    const embedders = [new WordEmbedder(), new WordEmbedder()]
    const desks = embedders.map((embedder) =>
      openTestDesk({ roots: [root] }, embedder, openPostgresStore(url, { schema })),
    )
    const reports = await Promise.all(desks.map((desk) => desk.ingest({ path: '.' })))
    const sum = (of: (report: IngestReport) => number): number => reports.reduce((total, one) => total + of(one), 0)
    expect(sum(({ added }) => added.length)).toBe(10)
    expect(sum(({ unchanged }) => unchanged)).toBe(10)
    expect(sum(({ passages }) => passages.added)).toBe(120)
    expect(sum(({ passages }) => passages.embedded)).toBe(120)
    expect(await query(url, `select count(*)::int from ${schema}.vectors`)).toEqual([{ count: 120 }])
    for (const desk of desks) expect((await desk.search('sentence', 5)).warnings).toEqual([])
    // Both may take a batch at the same moment, but they do not go side by side.
    expect(embedders.flatMap(({ embedded }) => embedded).length).toBeLessThan(2 * 120)
  })

  it('refuses tables of a newer version', async () => {
    const name = newSchema()
    await open(openPostgresStore(url, { schema: name })).list()
    await query(url, `insert into ${name}.migrations (number) values (99)`)
    await expect(open(openPostgresStore(url, { schema: name })).list()).rejects.toThrow('is at version 99')
  })

  it('keeps count of what BM25 needs, whatever was put, replaced and removed', async () => {
    const name = newSchema()
    const store = open(openPostgresStore(url, { schema: name }))
    const documents = [makeDocument('A', 'One two.', 'Three.'), makeDocument('B', 'Four.')]
    for (const document of documents) await store.put(document)
    await store.put(makeDocument('A', 'One.', 'Five.'))
    await store.remove(documents[1]!.id)
    const [counted] = await query<{ passages: string; words: string }>(
      url,
      `select s.passages, s.words, w.count, w.sum from ${name}.state s, (select count(*), sum(length) from ${name}.passage_words) w`,
    )
    expect(counted).toEqual({ passages: '2', words: expect.any(String), count: '2', sum: counted!.words })
    await store.remove(documents[0]!.id)
    expect(await query(url, `select passages::int, words::int from ${name}.state`)).toEqual([{ passages: 0, words: 0 }])
  })

  it('leaves nothing half done where the server dies, and goes on when it is back', async () => {
    await using server = await startPostgres()
    const store = open(openPostgresStore(server.url))
    await store.put(makeDocument('Before', 'Kept.'))
    const many = makeDocument('Many', ...Array.from({ length: 300 }, (_, index) => `Part ${index} of many.`))
    const putting = store.put(many).then(
      () => true,
      () => false,
    )
    await server.kill()
    const wasStored = await putting
    await expect(store.list()).rejects.toThrow()
    await server.start()
    const titles = (await store.list()).map(({ title }) => title)
    // A commit whose answer was lost may have been one.
    if (wasStored) expect(titles).toContain('Many')
    if (titles.includes('Many')) expect((await store.find(many.id))[0]!.passages).toBe(300)
    else expect(await store.searchText('many', 5)).toEqual([])
    expect((await store.put(many)).outcome).toBe(titles.includes('Many') ? 'unchanged' : 'added')
    expect((await store.searchText('7 many', 500)).length).toBe(300)
  }, 60_000)
})

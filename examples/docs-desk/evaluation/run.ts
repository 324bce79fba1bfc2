// Measures full text, vectors and hybrid search on questions with judged answers. `--split tune` shows the tuning half alone.
// With DATABASE_URL=postgres://… the index lies there, in a schema of its own.
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createLocalEmbedder } from '../embedding/local-embedder.ts'
import { createDocsDesk } from '../docs-desk.ts'
import { FUSION_WEIGHTS, fuseRankings } from '../search/fusion.ts'
import { CANDIDATES } from '../search/search.ts'
import { DEFAULT_LIMITS, readSettings } from '../settings.ts'
import type { Settings } from '../settings.ts'
import type { Hit } from '../store/document-store.ts'
import { openPostgresStore } from '../store/postgres-store.ts'
import { openSqliteStore } from '../store/sqlite-store.ts'
import { mean, ndcgAt, recallAt } from './metrics.ts'
import { CORPUS_FOLDER, readQuestions, sectionKey } from './questions.ts'
import type { Question } from './questions.ts'

const METHODS = ['full text', 'vectors', 'hybrid'] as const
type Method = (typeof METHODS)[number]
interface Score {
  recall: number
  ndcg: number
}

const { values: flags } = parseArgs({ options: { split: { type: 'string' }, database: { type: 'string' } } })

const { databaseUrl } = readSettings({ DATABASE_URL: process.env['DATABASE_URL'] })
const settings: Settings = {
  // Kept between runs: only what changed since the last one is embedded.
  databaseFile: flags.database ?? '.test-cache/docs-desk-evaluation.db',
  roots: [fileURLToPath(CORPUS_FOLDER)],
  limits: DEFAULT_LIMITS,
}
const store =
  databaseUrl === undefined
    ? openSqliteStore(settings.databaseFile)
    : openPostgresStore(databaseUrl, { schema: 'docs_desk_evaluation' })
const embedder = createLocalEmbedder()
const desk = createDocsDesk(settings, store, embedder)
try {
  await prepare()
  const questions = readQuestions().filter(({ split }) => flags.split === undefined || split === flags.split)
  const scores = new Map<string, Record<Method, Score>>()
  for (const question of questions) scores.set(question.id, await score(question))
  report(questions, scores)
} finally {
  await desk.close()
}

async function prepare(): Promise<void> {
  const started = performance.now()
  const { failed, passages, warnings } = await desk.ingest({ path: '.' })
  if (failed.length > 0 || warnings.length > 0)
    throw new Error(`The corpus was not read whole: ${JSON.stringify({ failed, warnings })}`)
  const all = await desk.list()
  const total = all.reduce((sum, document) => sum + document.passages, 0)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  console.log(
    `${databaseUrl === undefined ? 'SQLite' : 'Postgres'}: ${all.length} documents, ${total} passages; ${passages.embedded} embedded now, in ${seconds} s; ${embedder.model}`,
  )
}

async function score({ question, relevant }: Question): Promise<Record<Method, Score>> {
  const text = await store.searchText(question, CANDIDATES)
  const vectors = await store.searchVectors(embedder.model, await embedder.embedQuery(question), CANDIDATES)
  const judgements = new Map(relevant.map(({ document, heading, grade }) => [sectionKey(document, heading), grade]))
  const measure = async (hits: readonly Hit[]): Promise<Score> => {
    const ranking = await toSections(hits)
    return { recall: recallAt(5, ranking, judgements), ndcg: ndcgAt(10, ranking, judgements) }
  }
  return {
    'full text': await measure(text),
    vectors: await measure(vectors),
    hybrid: await measure(fuseRankings(text, vectors)),
  }
}

/** Sections in the order of their best passage. Judgements are by section, so that they hold however text is cut. */
async function toSections(hits: readonly Hit[]): Promise<string[]> {
  const passages = await store.passages(hits.map(({ chunk }) => chunk))
  const document = (source: string): string => source.slice(source.indexOf('/') + 1)
  return [...new Set(passages.map(({ source, headingPath }) => sectionKey(document(source), headingPath.at(-1) ?? '')))]
}

function report(questions: readonly Question[], scores: ReadonlyMap<string, Record<Method, Score>>): void {
  const table = (name: string, subset: readonly Question[]): void => {
    if (subset.length === 0) return
    console.log(`\n${name} (${subset.length} questions)`.padEnd(44) + 'recall@5   nDCG@10')
    for (const method of METHODS) {
      const rows = subset.map(({ id }) => scores.get(id)![method])
      const [recall, ndcg] = [mean(rows.map((row) => row.recall)), mean(rows.map((row) => row.ndcg))]
      console.log(`  ${method.padEnd(40)} ${recall.toFixed(3)}      ${ndcg.toFixed(3)}`)
    }
  }
  console.log(`Fusion: ${JSON.stringify(FUSION_WEIGHTS)}\n\nnDCG@10 by question, hybrid against full text`)
  const counts = { win: 0, tie: 0, loss: 0 }
  for (const { id, question } of questions) {
    const { hybrid, 'full text': text, vectors } = scores.get(id)!
    const verdict = hybrid.ndcg > text.ndcg + 1e-9 ? 'win' : hybrid.ndcg < text.ndcg - 1e-9 ? 'loss' : 'tie'
    counts[verdict]++
    const figures = [text, vectors, hybrid].map(({ ndcg }) => ndcg.toFixed(2)).join('  ')
    console.log(`  ${id} ${verdict.padEnd(4)}  text, vectors, hybrid: ${figures}  ${question.slice(0, 70)}`)
  }
  console.log(`  ${counts.win} wins, ${counts.tie} ties, ${counts.loss} losses`)
  table('All questions', questions)
  for (const split of ['tune', 'held-out'] as const)
    table(
      `Split: ${split}`,
      questions.filter((question) => question.split === split),
    )
  for (const style of ['natural', 'keyword'] as const)
    table(
      `Style: ${style}`,
      questions.filter((question) => question.style === style),
    )
  if (!isBetter(questions, scores)) {
    console.error('\nHybrid search is not better than full text alone.')
    process.exitCode = 1
  }
}

/** Whether hybrid search beats full text alone on both figures. */
function isBetter(questions: readonly Question[], scores: ReadonlyMap<string, Record<Method, Score>>): boolean {
  const average = (method: Method, figure: keyof Score): number =>
    mean(questions.map(({ id }) => scores.get(id)![method][figure]))
  return (['recall', 'ndcg'] as const).every((figure) => average('hybrid', figure) > average('full text', figure))
}

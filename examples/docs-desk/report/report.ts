import type { Model } from '../answer/answer.ts'
import type { Step } from '../ingest/steps.ts'
import type { FoundPassage, SearchResult } from '../search/search.ts'
import type { Report, ReportSection } from './render.ts'
import { summarize } from './summarize.ts'

/** Passages that a report is made from, at most. */
const MAX_PASSAGES = 25
/** Of the best passage's score. What no word of the topic led to lies below it, unless nothing else was found. */
const LEAST_SHARE = 0.25

/** What a report needs. */
export interface ReportParts {
  find(topic: string, limit: number): Promise<SearchResult>
  /** Sums up; without it the report is made of the documents' own sentences. */
  model: Model | undefined
  step: Step
}

/**
 * Gathers what the documents say on a topic: the passages that match, and a summary of those of each document. The search and
 * each summary are steps.
 *
 * @throws the reason of `signal`, and what the search and the model throw.
 */
export async function gatherReport(
  { find, model, step }: ReportParts,
  topic: string,
  progress: (done: number, total: number, message: string) => void,
  signal?: AbortSignal,
): Promise<Report> {
  const { passages, warnings } = await step('passages', async () => {
    const found = await find(topic, MAX_PASSAGES)
    const least = (found.passages[0]?.score ?? 0) * LEAST_SHARE
    return { ...found, passages: found.passages.filter(({ score }) => score >= least) }
  })
  const documents = new Map<string, FoundPassage[]>()
  for (const passage of passages) documents.set(passage.document, [...(documents.get(passage.document) ?? []), passage])
  const total = documents.size + 1
  const sections: ReportSection[] = []
  for (const [document, own] of documents) {
    signal?.throwIfAborted()
    const { title } = own[0]!
    progress(sections.length + 1, total + 1, `Summing up "${title}"`)
    const summary = await step(`summary of ${document}`, () => summarize(topic, own, model))
    sections.push({ title, uri: `doc://${document}`, summary, passages: own })
  }
  progress(total, total + 1, 'Writing the report')
  return { topic, sections, warnings }
}

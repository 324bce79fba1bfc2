import { errorMessage } from '../desk-error.ts'
import type { Embedder } from '../embedding/embedder.ts'
import type { DocumentStore, Hit, Passage } from '../store/document-store.ts'
import { fuseRankings } from './fusion.ts'

/** A passage that a search found. */
export interface FoundPassage extends Passage {
  /** From 0 to 1; only for comparing passages of one search. */
  score: number
}

/** What a search found, the best first. */
export interface SearchResult {
  passages: FoundPassage[]
  /** What made the result poorer than it could be, for people to read. */
  warnings: string[]
}

/** How many passages of each ranking are fused. */
export const CANDIDATES = 50

/**
 * Hybrid search: full text and vectors, fused. Where the query cannot be embedded, full text alone answers, with a warning.
 *
 * @throws the reason of `signal`.
 */
export async function search(
  store: DocumentStore,
  embedder: Embedder,
  query: string,
  limit: number,
  signal?: AbortSignal,
): Promise<SearchResult> {
  const depth = Math.max(CANDIDATES, limit)
  const warnings: string[] = []
  const text = await store.searchText(query, depth)
  let vectors: Hit[] = []
  try {
    vectors = await store.searchVectors(embedder.model, await embedder.embedQuery(query, signal), depth)
  } catch (error) {
    signal?.throwIfAborted()
    warnings.push(`Searched by words alone, because the query could not be embedded: ${errorMessage(error)}`)
  }
  const missing = await store.countUnembedded(embedder.model)
  if (missing > 0)
    warnings.push(`${missing} passages are found by their words alone until an ingest has embedded them.`)
  const hits = fuseRankings(text, vectors).slice(0, limit)
  const passages = await store.passages(hits.map(({ chunk }) => chunk))
  const scores = new Map(hits.map(({ chunk, score }) => [chunk, score]))
  return { passages: passages.map((passage) => ({ ...passage, score: scores.get(passage.chunk)! })), warnings }
}

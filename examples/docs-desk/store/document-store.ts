import type { PassageText } from '../embedding/embedder.ts'
import type { Chunk } from '../reading/chunk.ts'

/** A document, as lists show it. */
export interface DocumentSummary {
  /** Stable for a source: made from its title and a hash of the source. */
  id: string
  title: string
  /** Where it came from: "folder/file.md" below an allowed folder, or "text" for a text that was handed in. */
  source: string
  /** Length of its text. */
  characters: number
  passages: number
  /** ISO 8601: when its present contents were stored. */
  storedAt: string
}

/** A document to be stored. */
export interface NewDocument {
  id: string
  title: string
  source: string
  /** Hash of what was read, and of the version of the reader. */
  contentHash: string
  text: string
  chunks: readonly Chunk[]
}

/** How many passages of a stored document are new, and how many were there before. */
export interface StoredPassages {
  added: number
  kept: number
}

/** A passage of a stored document. */
export interface Passage {
  chunk: number
  document: string
  title: string
  source: string
  headingPath: string[]
  text: string
  /** Offsets in the document's text. */
  start: number
  end: number
}

/** A passage that has no vector yet. */
export interface Unembedded extends PassageText {
  hash: string
}

/** The vectors of one passage text. */
export interface PassageVectors {
  hash: string
  vectors: readonly Float32Array[]
}

/** A found passage and its score, the best first in every list. Scores of different searches are not comparable. */
export interface Hit {
  chunk: number
  score: number
}

/**
 * Where documents, passages, full-text index and vectors live. Every method is one atomic change or one consistent read.
 * Vectors belong to the text of a passage (by hash) and a model, so a passage that did not change, or moved within its
 * document, keeps its vectors.
 */
export interface DocumentStore {
  /** All documents, by title. */
  list(): Promise<DocumentSummary[]>
  /** Documents whose id or title is this; by id there is at most one. */
  find(idOrTitle: string): Promise<DocumentSummary[]>
  /** The text of a document, undefined if there is none of this id. */
  text(id: string): Promise<string | undefined>
  /** Id and content hash of the document of a source. */
  bySource(source: string): Promise<{ id: string; contentHash: string } | undefined>
  /** Documents whose source begins with this. */
  withSourcePrefix(prefix: string): Promise<{ id: string; source: string }[]>
  /** Stores a document in place of the one with the same id. Vectors that nothing uses any more go. */
  put(document: NewDocument): Promise<StoredPassages>
  /** Removes a document with everything that belongs to it alone; false if there is none. */
  remove(id: string): Promise<boolean>
  /** How many different passages have no vector of this model. */
  countUnembedded(model: string): Promise<number>
  /** Some of the passages that have no vector of this model. */
  unembedded(model: string, limit: number): Promise<Unembedded[]>
  /** Stores vectors. Those of a passage that has gone in the meantime are dropped. */
  putVectors(model: string, passages: readonly PassageVectors[]): Promise<void>
  /** Passages that hold words of the query, by BM25. Any text is a valid query. */
  searchText(query: string, limit: number): Promise<Hit[]>
  /** Passages by the cosine of their nearest vector of this model. */
  searchVectors(model: string, vector: Float32Array, limit: number): Promise<Hit[]>
  /** Passages by number, in the order asked; those that have gone are left out. */
  passages(chunks: readonly number[]): Promise<Passage[]>
  close(): Promise<void>
}

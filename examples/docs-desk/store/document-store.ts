import type { PassageText } from '../embedding/embedder.ts'
import type { Chunk } from '../reading/chunk.ts'
import { sha256 } from './sha256.ts'

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

/** What storing a document did: how many of its passages are new, and how many were there before. */
export interface StoredDocument {
  /** `unchanged`: a document of this id and content hash was there, and stays as it is. */
  outcome: 'added' | 'updated' | 'unchanged'
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
 * Where documents, passages, full-text index and vectors live. Every method is one atomic change or one consistent read, and
 * several processes may share what is below it. Vectors belong to the text of a passage (by hash) and a model, so a passage
 * that did not change, or moved within its document, keeps its vectors.
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
  /**
   * Stores a document in place of the one with the same id. Vectors that nothing uses any more go. One that is there with the
   * same content hash is left as it is, so that storing it twice, or from two processes at once, is storing it once.
   */
  put(document: NewDocument): Promise<StoredDocument>
  /** Removes a document with everything that belongs to it alone; false if there is none. */
  remove(id: string): Promise<boolean>
  /** How many different passages have no vector of this model. */
  countUnembedded(model: string): Promise<number>
  /**
   * Some of the passages that have no vector of this model: in the order of their hashes, from `start` on, and around. Who
   * begins at a place of its own rarely takes what another process takes at the same moment.
   */
  unembedded(model: string, limit: number, start: string): Promise<Unembedded[]>
  /**
   * Stores vectors. A passage that has gone in the meantime, or has vectors of this model already, is passed over.
   * Returns how many passages got theirs.
   */
  putVectors(model: string, passages: readonly PassageVectors[]): Promise<number>
  /** Passages that hold words of the query, by BM25. Any text is a valid query. */
  searchText(query: string, limit: number): Promise<Hit[]>
  /** Passages by the cosine of their nearest vector of this model. */
  searchVectors(model: string, vector: Float32Array, limit: number): Promise<Hit[]>
  /** Passages by number, in the order asked; those that have gone are left out. */
  passages(chunks: readonly number[]): Promise<Passage[]>
  close(): Promise<void>
}

/** Names what is embedded of a passage. */
export function passageHash(title: string, { headingPath, text }: Chunk): string {
  return sha256(JSON.stringify([title, headingPath, text]))
}

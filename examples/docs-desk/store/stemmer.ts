import { DatabaseSync } from 'node:sqlite'

/** A word as the full-text index knows it. */
export interface Stem {
  term: string
  /** As many words as it counts for in the length of a text. */
  tokens: number
}

/** What may be part of a word: letters, numbers, marks, and characters of private use. */
const WORD = /[\p{L}\p{N}\p{M}\p{Co}]+/gu

/**
 * Cuts and stems words as SQLite's full-text index does. It is that index which does it, in memory and empty but for the
 * moment, so that both stores know the same words.
 */
export class Stemmer {
  readonly #database = new DatabaseSync(':memory:')

  constructor() {
    this.#database.exec(`
      CREATE VIRTUAL TABLE cut USING fts5 (word, content = '', tokenize = 'porter unicode61 remove_diacritics 2');
      CREATE VIRTUAL TABLE token USING fts5vocab (cut, 'instance');`)
  }

  /** The stem of each word; none for what is no word to the index, such as a mark that stands alone. */
  stems(words: ReadonlySet<string>): Map<string, Stem> {
    const all = [...words]
    const stems = new Map<string, Stem>()
    this.#database.exec('BEGIN')
    const add = this.#database.prepare('INSERT INTO cut (rowid, word) VALUES (?, ?)')
    all.forEach((word, index) => add.run(index + 1, word))
    // Some scripts have marks at which the index cuts a word; its pieces together are the term, as they are a phrase there.
    for (const row of this.#database.prepare('SELECT doc, term FROM token ORDER BY doc, "offset"').iterate()) {
      const word = all[(row['doc'] as number) - 1]!
      const before = stems.get(word)
      const term = row['term'] as string
      stems.set(word, before ? { term: `${before.term} ${term}`, tokens: before.tokens + 1 } : { term, tokens: 1 })
    }
    this.#database.exec(`INSERT INTO cut (cut) VALUES ('delete-all'); COMMIT`)
    return stems
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close()
  }
}

/** How often each term stands in a text, and how many words it has in all. */
export interface CountedTerms {
  length: number
  frequencies: Record<string, number>
}

/** Counts the terms of texts. */
export function countTerms(stemmer: Stemmer, texts: readonly string[]): CountedTerms[] {
  const cut = texts.map((text) => text.match(WORD) ?? [])
  const stems = stemmer.stems(new Set(cut.flat()))
  return cut.map((words) => {
    const frequencies = new Map<string, number>()
    let length = 0
    for (const word of words) {
      const stem = stems.get(word)
      if (stem === undefined) continue
      length += stem.tokens
      frequencies.set(stem.term, (frequencies.get(stem.term) ?? 0) + 1)
    }
    return { length, frequencies: Object.fromEntries(frequencies) }
  })
}

import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { StatementSync } from 'node:sqlite'
import { DeskError } from '../desk-error.ts'
import { queryWords } from '../search/words.ts'
import { databaseVersion } from './database-version.ts'
import { passageHash } from './document-store.ts'
import type { DocumentStore, DocumentSummary, Hit, Passage, StoredDocument, Unembedded } from './document-store.ts'
import { indexedTexts } from './index-words.ts'
import { PASSAGE_INDEX, SCHEMA, SCHEMA_VERSION } from './sqlite-schema.ts'
import { fromBlob, toBlob, VectorMatrix } from './vector-matrix.ts'

const BUSY_TIMEOUT_MS = 5_000

/**
 * Opens the SQLite file, making it and its folder if need be. Several processes may share the file. Calls are
 * synchronous inside and short: the longest is storing a big document (50 ms for one of 1,500 passages).
 *
 * @throws {DeskError} `invalid_settings` if another version of Docs desk made the file.
 */
export function openSqliteStore(file: string): DocumentStore {
  if (file !== ':memory:') mkdirSync(dirname(file), { recursive: true })
  const database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS })
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON')
  transact(database, () => prepareSchema(database, file))
  return sqliteStore(database)
}

function prepareSchema(database: DatabaseSync, file: string): void {
  const version = database.prepare('PRAGMA user_version').get()?.['user_version']
  if (version === 0) database.exec(SCHEMA)
  else if (version === 1) indexAnew(database)
  else if (version !== SCHEMA_VERSION)
    throw new DeskError(
      'invalid_settings',
      `${file} has schema version ${String(version)}, and this is version ${SCHEMA_VERSION}. Move the file away and ingest again.`,
    )
}

/** The index of version 1 kept no texts; they are made again from the passages. */
function indexAnew(database: DatabaseSync): void {
  database.exec(`DROP TABLE passage_index; ${PASSAGE_INDEX}`)
  const rows = database.prepare(
    `SELECT chunk, title, source, heading_path, passages.text, start, "end"
     FROM passages JOIN documents ON documents.id = passages.document`,
  )
  const add = database.prepare('INSERT INTO passage_index (rowid, title, headings, body) VALUES (?, ?, ?, ?)')
  for (const row of rows.all()) {
    const passage = toPassage(row)
    const { title, headings, body } = indexedTexts(passage, passage)
    add.run(passage.chunk, title, headings, body)
  }
}

/** Runs a change in one transaction. The write lock is taken at once, so that a busy file is waited for, not failed on. */
function transact<T>(database: DatabaseSync, change: () => T): T {
  database.exec('BEGIN IMMEDIATE')
  try {
    const result = change()
    database.exec('COMMIT')
    return result
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

const SUMMARY = `SELECT id, title, source, length(text) AS characters, stored_at AS storedAt,
  (SELECT count(*) FROM passages WHERE document = documents.id) AS passages FROM documents`
const UNEMBEDDED = `FROM passages JOIN documents ON documents.id = passages.document
  WHERE NOT EXISTS (SELECT 1 FROM vectors WHERE vectors.hash = passages.hash AND vectors.model = ?)`

function sqliteStore(database: DatabaseSync): DocumentStore {
  const statements = new Map<string, StatementSync>()
  const sql = (text: string): StatementSync => {
    const known = statements.get(text)
    if (known) return known
    const statement = database.prepare(text)
    statements.set(text, statement)
    return statement
  }
  // The index moves SQLite's last row id to rows of its own, whose numbers are beyond the safe integers, and every later
  // write reports that number.
  const write = (text: string): StatementSync => {
    const statement = sql(text)
    statement.setReadBigInts(true)
    return statement
  }
  const matrices = new Map<string, { version: string; matrix: VectorMatrix }>()
  let counted: { version: string; count: number } | undefined

  const removePassages = (document: string): void => {
    write('DELETE FROM passage_index WHERE rowid IN (SELECT chunk FROM passages WHERE document = ?)').run(document)
    write('DELETE FROM passages WHERE document = ?').run(document)
  }
  const hashesOf = (document: string): Set<string> =>
    new Set(
      sql('SELECT hash FROM passages WHERE document = ?')
        .all(document)
        .map((row) => row['hash'] as string),
    )
  /** Read anew after any process changed the file. */
  const matrixOf = (model: string, dimensions: number): VectorMatrix => {
    const version = `${databaseVersion(database)}/${dimensions}`
    const known = matrices.get(model)
    if (known?.version === version) return known.matrix
    const rows = sql(
      'SELECT chunk, hash, parts FROM passages JOIN vectors USING (hash) WHERE model = ? AND dimensions = ? ORDER BY chunk',
    )
      .all(model, dimensions)
      .map((row) => row as { chunk: number; hash: string; parts: Uint8Array })
    const parts = new Map(rows.map((row) => [row.hash, row.parts]))
    const matrix = new VectorMatrix(dimensions, rows, (hash) => fromBlob(parts.get(hash)!))
    matrices.set(model, { version, matrix })
    return matrix
  }
  const removeUnusedVectors = (hashes: Iterable<string>): void => {
    for (const hash of hashes)
      write('DELETE FROM vectors WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM passages WHERE hash = ?1)').run(hash)
  }

  return {
    list: async () => sql(`${SUMMARY} ORDER BY title COLLATE NOCASE, id`).all().map(toSummary),
    async find(idOrTitle) {
      const byId = sql(`${SUMMARY} WHERE id = ?`).all(idOrTitle)
      return (byId.length > 0 ? byId : sql(`${SUMMARY} WHERE title = ? COLLATE NOCASE ORDER BY id`).all(idOrTitle)).map(
        toSummary,
      )
    },
    text: async (id) => sql('SELECT text FROM documents WHERE id = ?').get(id)?.['text'] as string | undefined,
    async bySource(source) {
      const row = sql('SELECT id, content_hash AS contentHash FROM documents WHERE source = ?').get(source)
      return row && { id: row['id'] as string, contentHash: row['contentHash'] as string }
    },
    withSourcePrefix: async (prefix) =>
      sql('SELECT id, source FROM documents WHERE substr(source, 1, length(?1)) = ?1')
        .all(prefix)
        .map((row) => ({ id: row['id'] as string, source: row['source'] as string })),
    put: async ({ id, title, source, contentHash, text, chunks }) =>
      transact(database, (): StoredDocument => {
        const stored = sql('SELECT content_hash AS contentHash FROM documents WHERE id = ?').get(id)
        if (stored?.['contentHash'] === contentHash) return { outcome: 'unchanged', added: 0, kept: chunks.length }
        const before = hashesOf(id)
        removePassages(id)
        write(
          `INSERT INTO documents (id, title, source, content_hash, text, stored_at) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT (id) DO UPDATE SET title = excluded.title, source = excluded.source,
             content_hash = excluded.content_hash, text = excluded.text, stored_at = excluded.stored_at`,
        ).run(id, title, source, contentHash, text, new Date().toISOString())
        const addPassage = write(
          'INSERT INTO passages (document, heading_path, text, start, "end", hash) VALUES (?, ?, ?, ?, ?, ?)',
        )
        const addWords = write('INSERT INTO passage_index (rowid, title, headings, body) VALUES (?, ?, ?, ?)')
        let kept = 0
        for (const chunk of chunks) {
          const hash = passageHash(title, chunk)
          if (before.has(hash)) kept++
          const path = JSON.stringify(chunk.headingPath)
          const row = addPassage.run(id, path, chunk.text, chunk.start, chunk.end, hash).lastInsertRowid
          const texts = indexedTexts({ title, source }, chunk)
          addWords.run(row, texts.title, texts.headings, texts.body)
        }
        removeUnusedVectors(before)
        return { outcome: stored ? 'updated' : 'added', added: chunks.length - kept, kept }
      }),
    remove: async (id) =>
      transact(database, () => {
        const before = hashesOf(id)
        removePassages(id)
        const { changes } = write('DELETE FROM documents WHERE id = ?').run(id)
        removeUnusedVectors(before)
        return changes > 0n
      }),
    async countUnembedded(model) {
      const version = `${databaseVersion(database)}/${model}`
      // Every search asks, and counting reads the whole index of passages.
      if (counted?.version !== version) {
        const row = sql(`SELECT count(DISTINCT passages.hash) AS count ${UNEMBEDDED}`).get(model)
        counted = { version, count: row?.['count'] as number }
      }
      return counted.count
    },
    unembedded: async (model, limit, start) =>
      sql(`SELECT passages.hash, title, heading_path, passages.text ${UNEMBEDDED} GROUP BY passages.hash
           ORDER BY passages.hash < ?, passages.hash LIMIT ?`)
        .all(model, start, limit)
        .map(toUnembedded),
    putVectors: async (model, passages) =>
      transact(database, () => {
        const dimensions = passages[0]?.vectors[0]?.length ?? 0
        // An endpoint may serve another model under the old name; vectors of two lengths cannot be compared.
        write('DELETE FROM vectors WHERE model = ? AND dimensions <> ?').run(model, dimensions)
        const add = write(`INSERT OR IGNORE INTO vectors (hash, model, dimensions, parts)
          SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM passages WHERE hash = ?1)`)
        return passages.reduce(
          (sum, { hash, vectors }) =>
            sum + Number(add.run(hash, model, dimensions, toBlob(model, dimensions, vectors)).changes),
          0,
        )
      }),
    async searchText(query, limit) {
      const words = queryWords(query)
      if (words.length === 0) return []
      // Only letters, digits and marks are left in a word, and the quotes make each a plain term whatever it says.
      const match = words.map((word) => `"${word}"`).join(' OR ')
      return sql(
        `SELECT rowid AS chunk, -bm25(passage_index) AS score
         FROM passage_index WHERE passage_index MATCH ? ORDER BY score DESC, rowid LIMIT ?`,
      )
        .all(match, limit)
        .map((row): Hit => ({ chunk: row['chunk'] as number, score: row['score'] as number }))
    },
    searchVectors: async (model, vector, limit) => matrixOf(model, vector.length).search(vector, limit),
    async passages(chunks) {
      const get = sql(`SELECT chunk, document, title, source, heading_path, passages.text, start, "end"
        FROM passages JOIN documents ON documents.id = passages.document WHERE chunk = ?`)
      return chunks.flatMap((chunk) => {
        const row = get.get(chunk)
        return row ? toPassage(row) : []
      })
    },
    async close() {
      if (database.isOpen) database.close()
    },
  }
}

type Row = Record<string, unknown>

function toSummary(row: Row): DocumentSummary {
  const { id, title, source, characters, passages, storedAt } = row as unknown as DocumentSummary
  return { id, title, source, characters, passages, storedAt }
}

function toUnembedded(row: Row): Unembedded {
  const { hash, title, text } = row as unknown as Unembedded
  return { hash, title, headingPath: JSON.parse(row['heading_path'] as string) as string[], text }
}

function toPassage(row: Row): Passage {
  const { chunk, document, title, source, text, start, end } = row as unknown as Passage
  const headingPath = JSON.parse(row['heading_path'] as string) as string[]
  return { chunk, document, title, source, headingPath, text, start, end }
}

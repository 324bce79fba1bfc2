/** Version of the schema, kept in `PRAGMA user_version`. */
export const SCHEMA_VERSION = 2

/**
 * The full-text index; its row ids are the numbers of passages. It keeps the texts that it was given, though the passages hold
 * nearly the same: without them (`content = ''`) SQLite does not take a deleted row out of the counts that BM25 rests on, and
 * with every document that was replaced, rare words and common ones came to count alike.
 */
export const PASSAGE_INDEX = `
CREATE VIRTUAL TABLE passage_index USING fts5 (
  title, headings, body, tokenize = 'porter unicode61 remove_diacritics 2'
);
PRAGMA user_version = ${SCHEMA_VERSION};
`

/** The tables. A vector belongs to a passage text by hash, not to a row, so that replaced rows keep their vectors. */
export const SCHEMA = `
CREATE TABLE documents (
  id           TEXT PRIMARY KEY,
  title        TEXT NOT NULL,
  source       TEXT NOT NULL UNIQUE,
  content_hash TEXT NOT NULL,
  text         TEXT NOT NULL,
  stored_at    TEXT NOT NULL
) STRICT;
CREATE INDEX documents_by_title ON documents (title COLLATE NOCASE);

CREATE TABLE passages (
  chunk        INTEGER PRIMARY KEY AUTOINCREMENT,
  document     TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
  heading_path TEXT NOT NULL,
  text         TEXT NOT NULL,
  start        INTEGER NOT NULL,
  "end"        INTEGER NOT NULL,
  hash         TEXT NOT NULL
) STRICT;
CREATE INDEX passages_by_document ON passages (document);
CREATE INDEX passages_by_hash ON passages (hash);

CREATE TABLE vectors (
  hash       TEXT NOT NULL,
  model      TEXT NOT NULL,
  dimensions INTEGER NOT NULL,
  parts      BLOB NOT NULL, -- the vectors, one after the other, as 32-bit floats of this machine
  PRIMARY KEY (hash, model)
) STRICT;
${PASSAGE_INDEX}`

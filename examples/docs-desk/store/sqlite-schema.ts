/** Version of the schema, kept in `PRAGMA user_version`. */
export const SCHEMA_VERSION = 1

/**
 * The tables. `passage_index` is contentless: the words are in the index, the text is in `passages`, and the row ids are
 * the same. A vector belongs to a passage text by hash, not to a row, so that replaced rows keep their vectors.
 */
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

CREATE VIRTUAL TABLE passage_index USING fts5 (
  title, headings, body,
  content = '', contentless_delete = 1, tokenize = 'porter unicode61 remove_diacritics 2'
);

PRAGMA user_version = ${SCHEMA_VERSION};
`

import type { Pool, PoolClient } from 'pg'
import { queryWords } from '../search/words.ts'
import { passageHash } from './document-store.ts'
import type { DocumentStore, DocumentSummary, Hit, Passage, StoredDocument, Unembedded } from './document-store.ts'
import { indexedTexts } from './index-words.ts'
import { prepareSchema, quote } from './postgres-schema.ts'
import { statements } from './postgres-sql.ts'
import { PostgresVectors } from './postgres-vectors.ts'
import { countTerms, Stemmer } from './stemmer.ts'
import { toBlob } from './vector-matrix.ts'

const CONNECT_TIMEOUT_MS = 5_000
const STATEMENT_TIMEOUT_MS = 30_000
/** A process that is stopped in the middle of a change holds up all others for so long. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
const MAX_CONNECTIONS = 10

/** Settings of a Postgres store. */
export interface PostgresStoreOptions {
  /** Where the tables are; made if need be. @default 'docs_desk' */
  schema?: string
}

/**
 * A knowledge base in Postgres, for several nodes and workers. Needs no extension. The first call connects, and makes or
 * updates the tables; where the database can't be reached, each later call tries again.
 *
 * Every call throws the driver's error where the database does not answer; the first ones {@link DeskError}
 * `invalid_settings` if a newer version of Docs desk made the tables.
 */
export function openPostgresStore(url: string, { schema = 'docs_desk' }: PostgresStoreOptions = {}): DocumentStore {
  const sql = statements(quote(schema))
  const vectorsOf = new PostgresVectors(sql)
  const stemmer = new Stemmer()
  let connected: Promise<Pool> | undefined
  let isClosed = false
  const counted = new Map<string, { revision: string; count: number }>()

  const pool = (): Promise<Pool> => {
    if (isClosed) throw new Error('Docs desk was closed.')
    if (connected) return connected
    const connecting = connect(url, schema)
    connected = connecting
    connecting.catch(() => {
      if (connected === connecting) connected = undefined
    })
    return connecting
  }
  const query = async <Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> =>
    (await (await pool()).query<Row>(text, values.map(storable))).rows
  const transact = async <T>(change: (client: PoolClient, revision: string) => Promise<T>): Promise<T> => {
    const client = await (await pool()).connect()
    try {
      await client.query('begin')
      const { rows } = await client.query<{ revision: string }>(sql.nextRevision)
      const result = await change(client, rows[0]!.revision)
      await client.query('commit')
      client.release()
      return result
    } catch (error) {
      // The connection goes, and with it the transaction, in whatever state they are.
      client.release(true)
      throw error
    }
  }
  const removePassages = async (client: PoolClient, document: string): Promise<Set<string>> =>
    new Set((await client.query<{ hash: string }>(sql.removePassages, [document])).rows.map(({ hash }) => hash))
  const revision = async (): Promise<string> => (await query<{ revision: string }>(sql.revision))[0]!.revision

  return {
    list: async () => (await query<SummaryRow>(sql.list)).map(toSummary),
    find: async (idOrTitle) => (await query<SummaryRow>(sql.find, [idOrTitle])).map(toSummary),
    text: async (id) => (await query<{ text: string }>(sql.text, [id]))[0]?.text,
    bySource: async (source) => (await query<{ id: string; contentHash: string }>(sql.bySource, [source]))[0],
    withSourcePrefix: (prefix) => query<{ id: string; source: string }>(sql.withSourcePrefix, [prefix]),
    async put({ id, title, source, contentHash, text, chunks }) {
      const terms = countTerms(
        stemmer,
        chunks.map((chunk) => Object.values(indexedTexts({ title, source }, chunk)).join(' ')),
      )
      const hashes = chunks.map((chunk) => passageHash(title, chunk))
      return transact(async (client): Promise<StoredDocument> => {
        const stored = (await client.query<{ contentHash: string }>(sql.contentHash, [id])).rows[0]
        if (stored?.contentHash === contentHash) return { outcome: 'unchanged', added: 0, kept: chunks.length }
        const before = await removePassages(client, id)
        await client.query(sql.putDocument, [id, title, source, contentHash, text].map(storable))
        const columns = [
          chunks.map(({ headingPath }) => JSON.stringify(headingPath.map(storable))),
          chunks.map((chunk) => chunk.text),
          chunks.map(({ start }) => start),
          chunks.map(({ end }) => end),
          hashes,
          terms.map(({ length }) => length),
          terms.map(({ frequencies }) => JSON.stringify(frequencies)),
        ]
        await client.query(sql.addPassages, [id, ...columns.map(storable)])
        await client.query(sql.removeUnusedVectors, [[...before]])
        const kept = hashes.filter((hash) => before.has(hash)).length
        return { outcome: stored ? 'updated' : 'added', added: chunks.length - kept, kept }
      })
    },
    remove: (id) =>
      transact(async (client) => {
        const before = await removePassages(client, id)
        const { rowCount } = await client.query(sql.removeDocument, [id])
        await client.query(sql.removeUnusedVectors, [[...before]])
        return rowCount === 1
      }),
    async countUnembedded(model) {
      const now = await revision()
      const known = counted.get(model)
      // Every search asks, and counting reads the whole index of passages.
      if (known?.revision === now) return known.count
      const { count } = (await query<{ count: number }>(sql.countUnembedded, [model]))[0]!
      counted.set(model, { revision: now, count })
      return count
    },
    unembedded: (model, limit, start) => query<Unembedded>(sql.unembedded, [model, limit, start]),
    putVectors: (model, passages) =>
      transact(async (client, present) => {
        const dimensions = passages[0]?.vectors[0]?.length ?? 0
        const blobs = passages.map(({ vectors }) => Buffer.from(toBlob(model, dimensions, vectors).buffer))
        // An endpoint may serve another model under the old name; vectors of two lengths cannot be compared.
        await client.query(sql.removeOtherVectors, [model, dimensions])
        const hashes = passages.map(({ hash }) => hash)
        const { rowCount } = await client.query(sql.putVectors, [model, dimensions, present, hashes, blobs])
        return rowCount ?? 0
      }),
    async searchText(text, limit) {
      const words = queryWords(text)
      const stems = stemmer.stems(new Set(words))
      const terms = words.flatMap((word) => stems.get(word)?.term ?? [])
      return terms.length === 0 ? [] : query<Hit>(sql.searchText, [terms, limit])
    },
    async searchVectors(model, vector, limit) {
      const matrix = await vectorsOf.at(await pool(), await revision(), model, vector.length)
      return matrix.search(vector, limit)
    },
    passages: (chunks) => query<Passage>(sql.passages, [chunks]),
    async close() {
      isClosed = true
      stemmer.close()
      const open = connected
      connected = undefined
      // A connection that could not be made needs no end; who asked for it has the error.
      await (await open?.catch(() => undefined))?.end()
    },
  }
}

async function connect(url: string, schema: string): Promise<Pool> {
  const { default: pg } = await import('pg')
  const pool = new pg.Pool({
    connectionString: url,
    max: MAX_CONNECTIONS,
    application_name: 'docs-desk',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    allowExitOnIdle: true,
    // Compiling the search took a hundred times as long as the search.
    options: '-c jit=off',
  })
  // A connection that breaks: the pool makes another one, and who used it is told by the query under way.
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined))
  try {
    const client = await pool.connect()
    try {
      await prepareSchema(client, schema)
    } finally {
      client.release()
    }
    return pool
  } catch (error) {
    await pool.end()
    throw error
  }
}

/** Postgres keeps no character 0 in a text. */
function storable<T>(value: T): T | string | unknown[] {
  if (typeof value === 'string') return value.replaceAll('\0', '\ufffd')
  return Array.isArray(value) ? value.map(storable) : value
}

type SummaryRow = Omit<DocumentSummary, 'storedAt'> & { storedAt: Date }

function toSummary({ id, title, source, characters, passages, storedAt }: SummaryRow): DocumentSummary {
  return { id, title, source, characters, passages, storedAt: storedAt.toISOString() }
}

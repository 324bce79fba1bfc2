import type { Pool } from 'pg'
import type { statements } from './postgres-sql.ts'
import { fromBlob, VectorMatrix } from './vector-matrix.ts'
import type { PassageHash } from './vector-matrix.ts'

interface Loaded {
  revision: string
  matrix: VectorMatrix
}

/**
 * The vectors of each model in this process, as far as they are asked for. Postgres without an extension can't search vectors,
 * so it keeps them, and each process compares them itself. The first search reads all; a search after a change, the list of
 * passages and the vectors that are new.
 */
export class PostgresVectors {
  readonly #sql: ReturnType<typeof statements>
  readonly #loaded = new Map<string, Loaded>()
  readonly #loading = new Map<string, Promise<Loaded>>()

  constructor(sql: ReturnType<typeof statements>) {
    this.#sql = sql
  }

  /** The vectors of a model as they were at `revision` or later. */
  async at(pool: Pool, revision: string, model: string, dimensions: number): Promise<VectorMatrix> {
    const key = `${dimensions}/${model}`
    for (;;) {
      const known = this.#loaded.get(key)
      if (known && BigInt(known.revision) >= BigInt(revision)) return known.matrix
      // Searches that come together read once. What was begun before this one's revision may lack it: then once more.
      const loading = this.#loading.get(key) ?? this.#load(pool, key, model, dimensions)
      this.#loading.set(key, loading)
      try {
        this.#loaded.set(key, await loading)
      } finally {
        if (this.#loading.get(key) === loading) this.#loading.delete(key)
      }
    }
  }

  async #load(pool: Pool, key: string, model: string, dimensions: number): Promise<Loaded> {
    const before = this.#loaded.get(key)
    const client = await pool.connect()
    try {
      await client.query('begin isolation level repeatable read, read only')
      const revision = (await client.query<{ revision: string }>(this.#sql.revision)).rows[0]!.revision
      const passages = (await client.query<PassageHash>(this.#sql.embeddedPassages, [model, dimensions])).rows
      const { rows } = await client.query<{ hash: string; parts: Buffer }>(this.#sql.vectorsSince, [
        model,
        dimensions,
        before?.revision ?? '-1',
      ])
      await client.query('commit')
      client.release()
      const added = new Map(rows.map(({ hash, parts }) => [hash, parts]))
      const matrix = new VectorMatrix(dimensions, passages, (hash) => {
        const parts = added.get(hash)
        return parts ? fromBlob(parts) : before?.matrix.vectorsOf(hash)
      })
      return { revision, matrix }
    } catch (error) {
      client.release(true)
      throw error
    }
  }
}

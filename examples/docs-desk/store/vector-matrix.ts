import type { DatabaseSync } from 'node:sqlite'
import { databaseVersion } from './database-version.ts'
import type { Hit } from './document-store.ts'

interface Loaded {
  version: string
  /** The passage of each row of `values`. */
  chunks: Int32Array
  /** All vectors, one after the other. */
  values: Float32Array
}

/**
 * The vectors of one model in memory, searched one by one: exact, and quicker than an index up to some 100,000 vectors
 * (10,000 of 512 dimensions take about 5 ms). Read anew after any process changed the file.
 */
export class VectorMatrix {
  readonly #database: DatabaseSync
  readonly #loaded = new Map<string, Loaded>()

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  /** The passages nearest to a vector by cosine; a passage counts by the nearest of its vectors. */
  search(model: string, query: Float32Array, limit: number): Hit[] {
    const dimensions = query.length
    const { chunks, values } = this.#load(model, dimensions)
    const best = new Map<number, number>()
    for (let row = 0; row < chunks.length; row++) {
      const offset = row * dimensions
      let product = 0
      for (let index = 0; index < dimensions; index++) product += values[offset + index]! * query[index]!
      const chunk = chunks[row]!
      if (product > (best.get(chunk) ?? -Infinity)) best.set(chunk, product)
    }
    return [...best]
      .map(([chunk, score]): Hit => ({ chunk, score }))
      .sort((a, b) => b.score - a.score || a.chunk - b.chunk)
      .slice(0, limit)
  }

  #load(model: string, dimensions: number): Loaded {
    const version = `${databaseVersion(this.#database)}/${dimensions}`
    const known = this.#loaded.get(model)
    if (known?.version === version) return known
    const rows = this.#database
      .prepare('SELECT chunk, parts FROM passages JOIN vectors USING (hash) WHERE model = ? AND dimensions = ?')
      .all(model, dimensions)
      .map((row) => ({ chunk: row['chunk'] as number, parts: row['parts'] as Uint8Array }))
    const vectorBytes = dimensions * Float32Array.BYTES_PER_ELEMENT
    const count = rows.reduce((sum, { parts }) => sum + parts.byteLength / vectorBytes, 0)
    const loaded: Loaded = { version, chunks: new Int32Array(count), values: new Float32Array(count * dimensions) }
    const bytes = new Uint8Array(loaded.values.buffer)
    let vector = 0
    for (const { chunk, parts } of rows) {
      bytes.set(parts, vector * vectorBytes)
      const end = vector + parts.byteLength / vectorBytes
      loaded.chunks.fill(chunk, vector, end)
      vector = end
    }
    this.#loaded.set(model, loaded)
    return loaded
  }
}

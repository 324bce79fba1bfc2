import type { Hit } from './document-store.ts'

/** A passage and the name of its vectors. */
export interface PassageHash {
  chunk: number
  hash: string
}

/**
 * The vectors of one model in memory, searched one by one: exact, and quick enough for some 50,000 vectors (4,200 of 512
 * dimensions were searched in 4 ms). It never changes; a store makes a new one out of the old when passages have changed.
 */
export class VectorMatrix {
  readonly dimensions: number
  /** The passage of each row of `#values`. */
  readonly #chunks: Int32Array
  /** All vectors, one after the other. */
  readonly #values: Float32Array
  /** Where the vectors of a passage text begin and end in `#values`. */
  readonly #places = new Map<string, [from: number, to: number]>()

  /** `vectorsOf` gives the vectors of a passage text, one after the other; passages without any are left out. */
  constructor(
    dimensions: number,
    passages: readonly PassageHash[],
    vectorsOf: (hash: string) => Float32Array | undefined,
  ) {
    this.dimensions = dimensions
    const known = passages.flatMap(({ chunk, hash }) => {
      const vectors = vectorsOf(hash)
      return vectors === undefined ? [] : [{ chunk, hash, vectors }]
    })
    const length = known.reduce((sum, { vectors }) => sum + vectors.length, 0)
    this.#values = new Float32Array(length)
    this.#chunks = new Int32Array(length / dimensions)
    let from = 0
    for (const { chunk, hash, vectors } of known) {
      const to = from + vectors.length
      this.#values.set(vectors, from)
      this.#chunks.fill(chunk, from / dimensions, to / dimensions)
      this.#places.set(hash, [from, to])
      from = to
    }
  }

  /** The vectors of a passage text, one after the other, where they are known. */
  vectorsOf(hash: string): Float32Array | undefined {
    const place = this.#places.get(hash)
    return place && this.#values.subarray(...place)
  }

  /** The passages nearest to a vector by cosine; a passage counts by the nearest of its vectors. */
  search(query: Float32Array, limit: number): Hit[] {
    const hits: Hit[] = []
    // The vectors of one passage lie side by side.
    for (let row = 0; row < this.#chunks.length;) {
      const chunk = this.#chunks[row]!
      let score = -Infinity
      for (; this.#chunks[row] === chunk; row++)
        score = Math.max(score, dotProduct(this.#values, row * this.dimensions, query))
      hits.push({ chunk, score })
    }
    return hits.sort((a, b) => b.score - a.score || a.chunk - b.chunk).slice(0, limit)
  }
}

function dotProduct(values: Float32Array, offset: number, query: Float32Array): number {
  let product = 0
  for (let index = 0; index < query.length; index++) product += values[offset + index]! * query[index]!
  return product
}

/**
 * The vectors of one passage as they are stored: one after the other, as 32-bit floats of this machine.
 *
 * @throws {Error} for vectors of other dimensions.
 */
export function toBlob(model: string, dimensions: number, vectors: readonly Float32Array[]): Uint8Array {
  const parts = new Float32Array(vectors.length * dimensions)
  vectors.forEach((vector, part) => {
    if (vector.length !== dimensions)
      throw new Error(`Model "${model}" gave vectors of ${dimensions} and of ${vector.length} dimensions.`)
    parts.set(vector, part * dimensions)
  })
  return new Uint8Array(parts.buffer)
}

/** What {@link toBlob} made. Copied, since the bytes of a driver need not lie where floats may. */
export function fromBlob(bytes: Uint8Array): Float32Array {
  return new Float32Array(Uint8Array.from(bytes).buffer)
}

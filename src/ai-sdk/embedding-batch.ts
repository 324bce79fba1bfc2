/*
 * One batch of texts, of which only the missing ones are embedded.
 *
 * look up → embed what no other call is embedding, store it, and wait for the others → again, what those have failed in →
 * other lengths
 *
 * 1. A text is embedded once for the batch, and once for all batches of the node that want it meanwhile.
 * 2. What another call fails in is this one's to embed: its caller may have gone, or its batch be too big.
 * 3. All vectors of a batch have one length. Where the model gives another one than it did, it is another model under the same
 *    name, and what is left of the old one is embedded anew.
 */
import type { EmbeddingModelV4Result } from '@ai-sdk/provider'
import type { Cache, CacheEntry, CacheSlot } from '../cache/cache.ts'
import type { Codec } from '../cache/codec.ts'
import { orAborted } from './guarded.ts'
import { saidTokens } from './usage.ts'
import { fromVectorBytes, toVectorBytes, type KeptVector } from './vectors.ts'

const VECTORS: Codec<KeptVector> = { encode: toVectorBytes, decode: fromVectorBytes, isDense: true }

/** What a model gave for some texts, each with its part of what that cost. */
export interface Embedded {
  readonly result: EmbeddingModelV4Result
  readonly vectors: readonly KeptVector[]
}

/** Texts that are being embedded on this node, by their entries. */
export type Coming = Map<string, Promise<KeptVector>>

/** What a batch is embedded with. */
export interface BatchParts {
  readonly cache: Cache
  /** The texts, each once. */
  readonly entries: ReadonlyMap<string, CacheEntry>
  readonly coming: Coming
  /** Length that the caller wants. */
  readonly dimensions: number | undefined
  readonly signal: AbortSignal
  embed(texts: string[]): Promise<Embedded>
}

export class EmbeddingBatch {
  readonly #parts: BatchParts
  readonly #vectors = new Map<string, KeptVector>()
  readonly #slots = new Map<string, CacheSlot<KeptVector>>()
  /** What was in the cache, and is good. */
  hits: string[] = []
  /** What another call has embedded. */
  readonly waited: string[] = []
  /** Of the last call of the model. */
  last: EmbeddingModelV4Result | undefined
  /** Used in all calls, as the provider says. */
  usedTokens = 0

  constructor(parts: BatchParts) {
    this.#parts = parts
  }

  of(text: string): KeptVector {
    return this.#vectors.get(text)!
  }

  /** @throws what the model throws, and where it gives fewer vectors than it was given texts; the reason of the signal. */
  async run(): Promise<void> {
    const texts = [...this.#parts.entries.keys()]
    const isMissing = (text: string): boolean => !this.#vectors.has(text)
    for (let missing = texts; missing.length > 0; missing = missing.filter(isMissing)) {
      await this.#lookUp(missing)
      await this.#embedOrWait(missing.filter(isMissing))
    }
    await this.#mend(texts)
  }

  async #lookUp(texts: readonly string[]): Promise<void> {
    const { cache, entries, dimensions } = this.#parts
    const slots = await cache.lookup(
      texts.map((text) => entries.get(text)!),
      VECTORS,
    )
    for (const [index, text] of texts.entries()) {
      const slot = slots[index]!
      this.#slots.set(text, slot)
      const vector = slot.found?.value
      if (vector === undefined || (dimensions !== undefined && vector.vector.length !== dimensions)) continue
      this.#vectors.set(text, vector)
      this.hits.push(text)
    }
  }

  /** What another call fails in stays missing. */
  async #embedOrWait(missing: readonly string[]): Promise<void> {
    const { coming, signal } = this.#parts
    const elsewhere = missing.filter((text) => coming.has(this.#nameOf(text)))
    const others = elsewhere.map((text) => orAborted(coming.get(this.#nameOf(text))!, signal))
    const settling = Promise.allSettled(others)
    await this.#embed(missing.filter((text) => !elsewhere.includes(text)))
    for (const [index, one] of (await settling).entries())
      if (one.status === 'fulfilled') {
        this.#vectors.set(elsewhere[index]!, one.value)
        this.waited.push(elsewhere[index]!)
      }
    signal.throwIfAborted()
  }

  async #mend(texts: readonly string[]): Promise<void> {
    const present = this.last?.embeddings[0]?.length
    const [first] = texts
    const length = present ?? (first === undefined ? 0 : this.of(first).vector.length)
    const others = texts.filter((text) => this.of(text).vector.length !== length)
    if (others.length === 0) return
    // Nobody knows which of two lengths is the present one, where the model was not asked.
    const again = present === undefined ? texts : others
    this.hits = this.hits.filter((text) => !again.includes(text))
    await this.#embed(again)
  }

  async #embed(texts: readonly string[]): Promise<void> {
    if (texts.length === 0) return
    const { coming, embed } = this.#parts
    const work = embed([...texts])
    const each = new Map(texts.map((text, index) => [text, vectorOf(work, index, texts.length)]))
    for (const [text, vector] of each) coming.set(this.#nameOf(text), vector)
    try {
      const { result } = await work
      this.last = result
      this.usedTokens += saidTokens(result.usage?.tokens) ?? 0
      for (const [text, vector] of each) this.#vectors.set(text, await vector)
      await Promise.all(texts.map((text) => this.#slots.get(text)!.store(this.of(text))))
    } finally {
      for (const [text, vector] of each)
        if (coming.get(this.#nameOf(text)) === vector) coming.delete(this.#nameOf(text))
    }
  }

  #nameOf(text: string): string {
    const { partition, key } = this.#parts.entries.get(text)!
    return `${partition} ${String(key)}`
  }
}

/** One of the vectors that come; who waits for it alone need not know of the others. */
function vectorOf(work: Promise<Embedded>, index: number, count: number): Promise<KeptVector> {
  const vector = work.then(({ vectors }) => {
    if (vectors.length !== count) throw new Error(`Expected ${count} embeddings, but the model gave ${vectors.length}.`)
    return vectors[index]!
  })
  vector.catch(() => undefined) // told by the work itself
  return vector
}

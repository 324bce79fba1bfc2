import type { EmbeddingModelV4, EmbeddingModelV4Middleware, EmbeddingModelV4Result } from '@ai-sdk/provider'
import { partitionOf, type Cache, type CacheEntry } from '../cache/cache.ts'
import type { Codec } from '../cache/codec.ts'
import type { Call } from '../kernel/call.ts'
import { currentCall, needCurrentCall } from '../kernel/current-call.ts'
import { callKey } from './call-key.ts'
import { guarded, orAborted } from './guarded.ts'
import { metered, tell, type Metered } from './meter.ts'
import { checkModelOptions, type EmbeddingModelOptions } from './options.ts'
import { estimateTokens, inputOnly } from './usage.ts'
import { fromVectorBytes, toFloat32, toVectorBytes, type KeptVector } from './vectors.ts'

type Params = Parameters<EmbeddingModelV4['doEmbed']>[0]

// Here, and not where a model is wrapped: that may be within the first call that needs it.
needCurrentCall()

/** Label of these values among all that is cached. */
const CACHE = 'embedding'
const VECTORS: Codec<KeptVector> = { encode: toVectorBytes, decode: fromVectorBytes, isDense: true }

/**
 * A middleware for embedding models of the AI SDK (`wrapEmbeddingModel`), for use in the handlers of a server: calls are guarded
 * by a dependency, held to the limits on tokens, and counted with what they cost; embeddings are cached across nodes, each text's
 * by itself, so that a batch computes only what is missing. A text that is being embedded for another call on this node is waited
 * for. With a cache, embeddings are float32: the same numbers, whether they come from it or not.
 *
 * It finds the call that it runs in by itself. Outside a handler nothing is cached, limited or counted.
 *
 * @throws {HoldfastError} `invalid_definition`
 */
export function embeddingModelMiddleware(options: EmbeddingModelOptions = {}): EmbeddingModelV4Middleware {
  checkModelOptions('embeddingModelMiddleware', options, [])
  const { cache: kept, dependency, prices } = options
  /** Texts that are being embedded on this node, by cache and key. */
  const coming = new WeakMap<Cache, Map<string, Promise<KeptVector>>>()

  /** Calls the model. */
  const embed = async (
    of: Metered,
    model: EmbeddingModelV4,
    params: Params,
    signal: AbortSignal | undefined,
  ): Promise<{ result: EmbeddingModelV4Result; vectors: KeptVector[] }> => {
    const { values } = params
    const call = (own: AbortSignal | undefined): PromiseLike<EmbeddingModelV4Result> =>
      model.doEmbed(own === undefined ? params : { ...params, abortSignal: own })
    const estimate = (): number => estimateTokens(values)
    const {
      value: result,
      tokens,
      ms,
    } = await metered(of, estimate, signal, async (spend) => {
      const given = await (dependency === undefined ? call(signal) : guarded(dependency, true, signal, call))
      spend(inputOnly(given.usage?.tokens ?? estimate()))
      return given
    })
    const characters = Math.max(
      1,
      values.reduce((sum, { length }) => sum + length, 0),
    )
    const vectors = result.embeddings.map((vector, index) => ({
      vector,
      tokens: (tokens.input * (values[index]?.length ?? 0)) / characters,
      ms: ms / values.length,
    }))
    return { result, vectors }
  }

  /** The embeddings of some different texts, of which only the missing ones are computed. */
  const embedMissing = async (
    of: Metered & { readonly call: Call },
    entries: ReadonlyMap<string, CacheEntry>,
    model: EmbeddingModelV4,
    params: Params,
    signal: AbortSignal,
  ): Promise<EmbeddingModelV4Result> => {
    const { cache } = of.call.services
    const texts = [...entries.keys()]
    const slots = await cache.lookup([...entries.values()], VECTORS)
    const slotOf = new Map(texts.map((text, index) => [text, slots[index]!]))
    const vectors = new Map<string, KeptVector>()
    for (const [text, { found }] of slotOf)
      if (found !== undefined && hasLength(found.value, params.dimensions)) vectors.set(text, found.value)
    let hits = [...vectors.keys()]
    const flights = coming.get(cache) ?? new Map<string, Promise<KeptVector>>()
    coming.set(cache, flights)
    const nameOf = (text: string): string => nameOfEntry(entries.get(text)!)
    let last: EmbeddingModelV4Result | undefined
    let tokens = 0

    const compute = async (missing: readonly string[]): Promise<void> => {
      if (missing.length === 0) return
      const work = embed(of, model, { ...params, values: [...missing] }, signal)
      const each = new Map(missing.map((text, index) => [text, pick(work, index, missing.length)]))
      for (const [text, vector] of each) flights.set(nameOf(text), vector)
      try {
        const { result } = await work
        last = result
        tokens += result.usage?.tokens ?? 0
        await Promise.all(
          Array.from(each, async ([text, vector]) => {
            vectors.set(text, await vector)
            await slotOf.get(text)!.store(vectors.get(text)!)
          }),
        )
      } finally {
        for (const [text, vector] of each) if (flights.get(nameOf(text)) === vector) flights.delete(nameOf(text))
      }
    }

    const missing = texts.filter((text) => !vectors.has(text))
    const waited = missing.filter((text) => flights.has(nameOf(text)))
    const joined = waited.map((text) => flights.get(nameOf(text))!)
    await compute(missing.filter((text) => !waited.includes(text)))
    const settled = await Promise.allSettled(joined.map((vector) => orAborted(vector, signal)))
    settled.forEach((one, index) => one.status === 'fulfilled' && vectors.set(waited[index]!, one.value))
    signal.throwIfAborted()
    tellOf(
      of,
      'waited',
      settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])),
    )
    // What another call has failed to embed is this one's to embed.
    await compute(waited.filter((text) => !vectors.has(text)))
    // A model that gives vectors of another length than before is another model under the same name.
    const length = last?.embeddings[0]?.length
    const others = texts.filter((text) => vectors.get(text)!.vector.length !== (length ?? lengthOf(vectors, texts[0]!)))
    if (others.length > 0) {
      const again = length === undefined ? texts : others
      hits = hits.filter((text) => !again.includes(text))
      await compute(again)
    }
    tellOf(
      of,
      'cached',
      hits.map((text) => vectors.get(text)!),
    )
    return {
      embeddings: params.values.map((text) => toFloat32(vectors.get(text)!.vector)),
      usage: { tokens },
      warnings: last?.warnings ?? [],
      ...(last?.response !== undefined && { response: last.response }),
      providerMetadata: { ...last?.providerMetadata, holdfast: { cachedTexts: hits.length } },
    }
  }

  return {
    specificationVersion: 'v4',
    async wrapEmbed({ model, params }): Promise<EmbeddingModelV4Result> {
      const call = currentCall()
      const of: Metered = { call, operation: 'embed', modelId: model.modelId, prices }
      const partition = call && kept && partitionOf(call.principal, kept.scope)
      if (partition === undefined) return (await embed(of, model, params, signalOf(call, params))).result
      const { ttlMs, tags, version } = kept!
      const { provider, modelId } = model
      const entries = new Map(
        params.values.map((text): [string, CacheEntry] => {
          const key = callKey({ operation: 'embed', provider, modelId, params: { ...params, values: [text] } })
          return [text, { cache: CACHE, key, partition, ttlMs, tags, version }]
        }),
      )
      return embedMissing({ ...of, call: call! }, entries, model, params, signalOf(call, params)!)
    },
  }
}

const nameOfEntry = ({ partition, key }: CacheEntry): string => `${partition} ${String(key)}`
const hasLength = ({ vector }: KeptVector, length: number | undefined): boolean =>
  length === undefined || vector.length === length
const lengthOf = (vectors: ReadonlyMap<string, KeptVector>, text: string): number => vectors.get(text)!.vector.length

function signalOf(call: Call | undefined, { abortSignal }: Params): AbortSignal | undefined {
  if (call === undefined) return abortSignal
  return abortSignal === undefined ? call.signal : AbortSignal.any([call.signal, abortSignal])
}

/** One of the vectors that come; who waits for it alone need not know of the others. */
function pick(work: Promise<{ vectors: KeptVector[] }>, index: number, count: number): Promise<KeptVector> {
  const vector = work.then(({ vectors }) => {
    if (vectors.length !== count) throw new Error(`Expected ${count} embeddings, but the model gave ${vectors.length}.`)
    return vectors[index]!
  })
  vector.catch(() => undefined) // told by the work itself
  return vector
}

/** Tells what was not computed. */
function tellOf(of: Metered, outcome: 'cached' | 'waited', vectors: readonly KeptVector[]): void {
  if (vectors.length === 0) return
  const tokens = Math.round(vectors.reduce((sum, one) => sum + one.tokens, 0))
  const ms = vectors.reduce((sum, one) => sum + one.ms, 0)
  tell(of, outcome, inputOnly(tokens), ms)
}

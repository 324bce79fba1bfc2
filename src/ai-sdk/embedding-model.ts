import type { EmbeddingModelV4, EmbeddingModelV4Middleware, EmbeddingModelV4Result } from '@ai-sdk/provider'
import { partitionOf, type Cache, type CacheEntry } from '../cache/cache.ts'
import { currentCall, needCurrentCall } from '../kernel/current-call.ts'
import { callKey } from './call-key.ts'
import { EmbeddingBatch, type Coming, type Embedded } from './embedding-batch.ts'
import { guarded } from './guarded.ts'
import { metered, tell, type Metered } from './meter.ts'
import { checkModelOptions, isTagged, type EmbeddingModelOptions } from './options.ts'
import { callerSignal } from './caller-signal.ts'
import { estimateTokens, inputOnly, saidTokens } from './usage.ts'
import { toFloat32, type KeptVector } from './vectors.ts'

type Params = Parameters<EmbeddingModelV4['doEmbed']>[0]

// Here, and not where a model is wrapped: that may be within the first call that needs it.
needCurrentCall()

/** Label of these values among all that is cached. */
const CACHE = 'embedding'

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
  const coming = new WeakMap<Cache, Coming>()

  /** Calls the model. */
  const embed = async (
    of: Metered,
    model: EmbeddingModelV4,
    params: Params,
    signal: AbortSignal | undefined,
  ): Promise<Embedded> => {
    const { values } = params
    const call = (own: AbortSignal | undefined): PromiseLike<EmbeddingModelV4Result> =>
      model.doEmbed(own === undefined ? params : { ...params, abortSignal: own })
    const estimate = (): number => estimateTokens(values)
    const { value, tokens, ms } = await metered(of, estimate, signal, async (spend) => {
      const given = await (dependency === undefined ? call(signal) : guarded(dependency, true, signal, call))
      spend(inputOnly(saidTokens(given.usage?.tokens) ?? estimate()))
      return given
    })
    const characters = values.reduce((sum, { length }) => sum + length, 0)
    const vectors = value.embeddings.map((vector, index) => ({
      vector: toFloat32(vector),
      tokens: (tokens.input * (values[index]?.length ?? 0)) / Math.max(1, characters),
      ms: ms / values.length,
    }))
    return { result: value, vectors }
  }

  return {
    specificationVersion: 'v4',
    async wrapEmbed({ model, params }): Promise<EmbeddingModelV4Result> {
      const call = currentCall()
      const { provider, modelId } = model
      const of: Metered = { call, operation: 'embed', modelId, prices }
      const partition = call && kept && partitionOf(call.principal, kept.scope)
      if (partition === undefined) return (await embed(of, model, params, callerSignal(call, params))).result
      const { ttlMs, tags, version } = kept!
      const entries = new Map(
        params.values.map((text): [string, CacheEntry] => {
          const key = callKey({ operation: 'embed', provider, modelId, params: { ...params, values: [text] } })
          return [text, { cache: CACHE, key, partition, ttlMs, tags, version }]
        }),
      )
      const signal = callerSignal(call!, params)
      const { cache } = call!.services
      const batch = new EmbeddingBatch({
        cache,
        entries,
        // Of what may be invalidated meanwhile each batch embeds its own.
        coming: isTagged(tags) ? new Map<string, Promise<KeptVector>>() : comingOf(coming, cache),
        dimensions: params.dimensions,
        signal,
        embed: (values) => embed(of, model, { ...params, values }, signal),
      })
      await batch.run()
      tellSpared(of, 'cached', batch.hits, batch)
      tellSpared(of, 'waited', batch.waited, batch)
      const { last, usedTokens: tokens } = batch
      return {
        // One text may stand there twice, and be waited for by another batch.
        embeddings: params.values.map((text) => batch.of(text).vector.slice()),
        usage: { tokens },
        warnings: last?.warnings ?? [],
        ...(last?.response !== undefined && { response: last.response }),
        providerMetadata: { ...last?.providerMetadata, holdfast: { cachedTexts: batch.hits.length } },
      }
    },
  }
}

function comingOf(all: WeakMap<Cache, Coming>, cache: Cache): Coming {
  let coming = all.get(cache)
  if (coming === undefined) all.set(cache, (coming = new Map<string, Promise<KeptVector>>()))
  return coming
}

/** Tells what was not computed. */
function tellSpared(of: Metered, outcome: 'cached' | 'waited', texts: readonly string[], batch: EmbeddingBatch): void {
  if (texts.length === 0) return
  const vectors = texts.map((text) => batch.of(text))
  const tokens = Math.round(vectors.reduce((sum, one) => sum + one.tokens, 0))
  const ms = vectors.reduce((sum, one) => sum + one.ms, 0)
  tell(of, outcome, inputOnly(tokens), ms)
}

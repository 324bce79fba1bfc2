import type { Dependency } from '../define/dependency.ts'
import { checkFields, checkOptions, invalid, quote } from '../define/names.ts'
import { checkPrices, type PriceTable } from './prices.ts'
import type { ReplayTiming } from './recording.ts'

/** How long answers are kept, and for whom. */
export interface ModelCacheOptions {
  /** How long an answer is fresh. */
  ttlMs: number
  /**
   * How long after that it is still given out, while the model is asked anew; not of streams, which are asked for anew at once.
   * Default 0.
   */
  staleMs?: number
  /** How long after `ttlMs` it is given out where the model fails. Default 0. */
  staleIfErrorMs?: number
  /**
   * Who shares an answer: each caller has their own (`principal`; an anonymous one none), or everybody (`public`). An answer depends
   * on nothing but what the model is given, so that `public` tells nobody anything but, by its speed, that somebody has asked the
   * same. Default `principal`.
   */
  scope?: 'principal' | 'public'
  /** Names by which answers can be invalidated (`ctx.invalidate`). Default: none. */
  tags?: readonly string[]
  /** Answers of other versions are not seen: change it to begin anew. Default: an empty text. */
  version?: string
}

/** How answers of a language model are kept. */
export interface LanguageModelCacheOptions extends ModelCacheOptions {
  /**
   * Keeps also what was sampled: answers to calls whose temperature is above 0, or left to the provider. Who asks the same again
   * then gets the same answer. Default false: only `temperature: 0`.
   */
  sampled?: boolean
  /**
   * How a kept stream is replayed: as fast as it is read (`collapsed`), or in the time that it took (`kept`).
   * Default `collapsed`.
   */
  timing?: ReplayTiming
}

/** What holds for calls of embedding models. */
export interface ModelOptions {
  /**
   * Guards calls of the model: time-outs, retries, breaker, bulkhead. Of a stream `timeoutMs` is the time until its first output,
   * and then between any two parts. A question to a model changes nothing, so it is repeated also where the dependency is not
   * `idempotent`, but for calls with tools that the provider runs. The AI SDK's own retries end with the guard's. Default: not
   * guarded.
   */
  dependency?: Dependency
  /** What tokens cost. Default: no cost is counted. */
  prices?: PriceTable
}

/** See {@link languageModelMiddleware}. */
export interface LanguageModelOptions extends ModelOptions {
  /** Keeps answers. Default: every call is made. */
  cache?: LanguageModelCacheOptions
}

/** See {@link embeddingModelMiddleware}. */
export interface EmbeddingModelOptions extends ModelOptions {
  /** Keeps embeddings, each text's by itself. Default: every call is made. */
  cache?: Omit<ModelCacheOptions, 'staleMs' | 'staleIfErrorMs'>
}

const CACHE_FIELDS = ['ttlMs', 'scope', 'tags', 'version']

/** @throws {HoldfastError} `invalid_definition` */
export function checkModelOptions(where: string, options: ModelOptions, cacheFields: readonly string[]): void {
  checkOptions(where, options)
  checkFields(where, options, ['dependency', 'prices', 'cache'])
  const { dependency, prices, cache } = options as LanguageModelOptions
  if (dependency !== undefined && (dependency as Partial<Dependency>).kind !== 'dependency')
    invalid(where, `\`dependency\` is ${quote(dependency)}.`, 'Give it the result of defineDependency({ … }).')
  if (prices !== undefined) checkPrices(where, prices)
  if (cache === undefined) return
  checkFields(`${where}, cache`, cache, [...CACHE_FIELDS, ...cacheFields])
  const { ttlMs, staleMs = 0, staleIfErrorMs = 0, scope = 'principal', timing = 'collapsed' } = cache
  for (const [field, value, least] of [
    ['ttlMs', ttlMs, 1],
    ['staleMs', staleMs, 0],
    ['staleIfErrorMs', staleIfErrorMs, 0],
  ] as const)
    if (!Number.isSafeInteger(value) || value < least)
      invalid(where, `\`cache.${field}\` is ${quote(value)}.`, `It must be a whole number, ${least} or more.`)
  if (scope !== 'principal' && scope !== 'public')
    invalid(where, `\`cache.scope\` is ${quote(scope)}.`, 'It is "principal" or "public".')
  if (timing !== 'collapsed' && timing !== 'kept')
    invalid(where, `\`cache.timing\` is ${quote(timing)}.`, 'It is "collapsed" or "kept".')
}

/** Whether an answer can be invalidated: then nobody is given one that was begun before. */
export const isTagged = (tags: readonly string[] | undefined): boolean => tags !== undefined && tags.length > 0

import type {
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4GenerateResult,
  LanguageModelV4Middleware,
  LanguageModelV4StreamResult,
} from '@ai-sdk/provider'
import { partitionOf, type Cache, type CacheEntry } from '../cache/cache.ts'
import type { Codec } from '../cache/codec.ts'
import type { Call } from '../kernel/call.ts'
import { currentCall, inCall, needCurrentCall } from '../kernel/current-call.ts'
import { SharedCall } from '../kernel/shared-call.ts'
import { callKey } from './call-key.ts'
import { callerSignal } from './caller-signal.ts'
import { generate, stream } from './guarded.ts'
import { LiveStream } from './live-stream.ts'
import { clockOf, metered, tell, type Metered } from './meter.ts'
import { fromBytes, toBytes } from './model-json.ts'
import { checkModelOptions, isTagged, type LanguageModelOptions } from './options.ts'
import {
  asCached,
  finishOf,
  isComplete,
  isLasting,
  replay,
  toKept,
  toRecording,
  type KeptResult,
  type RecordedPart,
  type Recording,
} from './recording.ts'
import { estimateCall, tokensOf, type TokenCount } from './usage.ts'

// Here, and not where a model is wrapped: that may be within the first call that needs it.
needCurrentCall()

/** Label of these values among all that is cached. */
const CACHE = 'llm'

const RESULTS: Codec<KeptResult> = {
  encode: (result) => toBytes(toKept(result)),
  decode: (bytes) => fromBytes(bytes) as KeptResult,
  keepingOf: (result) => (isLasting(result) ? 'value' : 'shared'),
}
const RECORDINGS: Codec<Recording> = {
  encode: (recording) => toBytes(toRecording(recording)),
  decode: (bytes) => fromBytes(bytes) as Recording,
  // Who waits on another node would be given a broken stream as if it were the answer.
  keepingOf: (recording) => (isComplete(recording) ? 'value' : 'own'),
}

/**
 * A middleware for language models of the AI SDK (`wrapLanguageModel`), for use in the handlers of a server: calls are guarded by a
 * dependency, held to the limits on tokens, and counted with what they cost; answers are cached across nodes, and asked for once
 * however many want them. A stream is kept when it is complete, and replayed as a stream.
 *
 * It finds the call that it runs in by itself. Outside a handler nothing is cached, limited or counted.
 *
 * @throws {HoldfastError} `invalid_definition`
 */
export function languageModelMiddleware(options: LanguageModelOptions = {}): LanguageModelV4Middleware {
  checkModelOptions('languageModelMiddleware', options, ['staleMs', 'staleIfErrorMs', 'sampled', 'timing'])
  const { cache: kept, dependency, prices } = options
  /** Streams that come in now on this node, by cache and key. */
  const live = new WeakMap<Cache, Map<string, LiveStream>>()

  const entryOf = (
    call: Call | undefined,
    operation: Metered['operation'],
    { provider, modelId }: LanguageModelV4,
    params: LanguageModelV4CallOptions,
  ): CacheEntry | undefined => {
    if (call === undefined || kept === undefined) return undefined
    if (params.temperature !== 0 && kept.sampled !== true) return undefined
    const partition = partitionOf(call.principal, kept.scope)
    if (partition === undefined) return undefined
    const { ttlMs, staleMs, staleIfErrorMs, tags, version } = kept
    return {
      cache: CACHE,
      key: callKey({ operation, provider, modelId, params: { ...params } }),
      partition,
      ttlMs,
      // What a reader has been given of a stream can't be taken back for an older one.
      staleMs: operation === 'stream' ? 0 : staleMs,
      staleIfErrorMs,
      tags,
      version,
      maxFlightMs: dependency?.deadlineMs,
    }
  }

  const generateNow = async (
    of: Metered,
    model: LanguageModelV4,
    params: LanguageModelV4CallOptions,
    signal: AbortSignal | undefined,
  ): Promise<KeptResult> => {
    const work = async (spend: (tokens: TokenCount) => void): Promise<LanguageModelV4GenerateResult> => {
      const result = await generate(model, params, dependency, signal)
      spend(tokensOf(result.usage, params, result.content))
      return result
    }
    const { value: result, ms } = await metered(of, () => estimateCall(params), signal, work)
    return { result, ms }
  }

  /** Has the model stream into `sink`; what came is kept where it is complete. */
  const streamNow = async (
    of: Metered,
    model: LanguageModelV4,
    params: LanguageModelV4CallOptions,
    signal: AbortSignal,
    sink: LiveStream,
  ): Promise<Recording> => {
    const clock = clockOf(of.call)
    const parts: RecordedPart[] = []
    const work = async (spend: (tokens: TokenCount) => void): Promise<void> => {
      const startedMs = clock.monotonic()
      try {
        await stream(model, params, dependency, signal, {
          open: (head) => sink.open(head),
          push(part) {
            parts.push([Math.round(clock.monotonic() - startedMs), part])
            sink.push(part)
          },
        })
      } finally {
        // Also of one that broke off: what was said was paid for.
        if (parts.length > 0) spend(tokensOfParts(parts, params))
      }
    }
    const { ms } = await metered(of, () => estimateCall(params), signal, work)
    return { parts, ms }
  }

  const streamThrough = async (
    of: Metered & { readonly call: Call },
    entry: CacheEntry,
    model: LanguageModelV4,
    params: LanguageModelV4CallOptions,
    into: LiveStream,
  ): Promise<Recording> => {
    const { cache } = of.call.services
    let failure: { readonly error: unknown } | undefined
    const compute = async (flight: AbortSignal): Promise<Recording> => {
      const signal = AbortSignal.any([flight, into.signal])
      try {
        const recording = await inCall(new SharedCall(of.call, signal), () =>
          streamNow(of, model, params, signal, into),
        )
        into.end() // who reads need not wait for it to be stored
        return recording
      } catch (error) {
        failure = { error }
        throw error
      }
    }
    const { value, from } = await cache.through(entry, compute, RECORDINGS, { signal: into.signal })
    if (from === 'computed') return value
    // Nobody can be given an older answer who has been given a part of this one.
    if (failure !== undefined && into.hasBegun) throw failure.error
    tell(of, from === 'waited' ? 'waited' : 'cached', tokensOfParts(value.parts, params), value.ms)
    into.open({})
    for await (const part of replay(value, kept?.timing ?? 'collapsed', clockOf(of.call), into.signal)) into.push(part)
    return value
  }

  /**
   * A stream that comes in already is read by all who want it; but one with tags, since it may have begun before its answer was
   * invalidated: of these the cache knows which may be waited for.
   */
  const join = (
    of: Metered & { readonly call: Call },
    entry: CacheEntry,
    model: LanguageModelV4,
    params: LanguageModelV4CallOptions,
  ): LiveStream => {
    const { cache } = of.call.services
    const streams = live.get(cache) ?? new Map<string, LiveStream>()
    live.set(cache, streams)
    const name = `${entry.partition} ${String(entry.key)}`
    const known = isTagged(entry.tags) ? undefined : streams.get(name)
    if (known !== undefined && !known.isAbandoned) {
      known.ended.then(
        (value) => value && tell(of, 'waited', tokensOfParts(value.parts, params), value.ms),
        () => undefined, // told by its first reader's call
      )
      return known
    }
    const fresh = new LiveStream()
    streams.set(name, fresh)
    fresh.follow(streamThrough(of, entry, model, params, fresh))
    const forget = (): void => void (streams.get(name) === fresh && streams.delete(name))
    fresh.ended.then(forget, forget)
    return fresh
  }

  return {
    specificationVersion: 'v4',
    async wrapGenerate({ model, params }): Promise<LanguageModelV4GenerateResult> {
      const call = currentCall()
      const of: Metered = { call, operation: 'generate', modelId: model.modelId, prices }
      const entry = entryOf(call, 'generate', model, params)
      const caller = callerSignal(call, params)
      if (entry === undefined) return (await generateNow(of, model, params, caller)).result
      const compute = (signal: AbortSignal): Promise<KeptResult> =>
        inCall(new SharedCall(call!, signal), () => generateNow(of, model, params, signal))
      const { value, from } = await call!.services.cache.through(entry, compute, RESULTS, caller && { signal: caller })
      if (from === 'computed') return value.result
      tell(
        of,
        from === 'waited' ? 'waited' : 'cached',
        tokensOf(value.result.usage, params, value.result.content),
        value.ms,
      )
      return asCached(value.result)
    },
    async wrapStream({ model, params }): Promise<LanguageModelV4StreamResult> {
      const call = currentCall()
      const of: Metered = { call, operation: 'stream', modelId: model.modelId, prices }
      const entry = entryOf(call, 'stream', model, params)
      const caller = callerSignal(call, params)
      if (entry !== undefined) return join({ ...of, call: call! }, entry, model, params).read(caller)
      const own = new LiveStream()
      own.follow(streamNow(of, model, params, own.signal, own))
      return own.read(caller)
    },
  }
}

function tokensOfParts(parts: readonly RecordedPart[], params: LanguageModelV4CallOptions): TokenCount {
  const given = parts.map(([, part]) => part)
  return tokensOf(finishOf(parts)?.usage, params, given)
}

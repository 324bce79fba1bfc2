import type {
  LanguageModelV4FinishReason,
  LanguageModelV4GenerateResult,
  LanguageModelV4StreamPart,
  SharedV4ProviderMetadata,
} from '@ai-sdk/provider'
import type { Clock } from '../ports/clock.ts'

/** A part of a stream, and when it came, in milliseconds since the call. */
export type RecordedPart = readonly [atMs: number, part: LanguageModelV4StreamPart]

/** A stream that has come to its end, as it is kept. */
export interface Recording {
  readonly parts: readonly RecordedPart[]
  readonly ms: number
}

/** An answer that came at once, as it is kept. */
export interface KeptResult {
  readonly result: LanguageModelV4GenerateResult
  readonly ms: number
}

/** How a kept stream is replayed: all of it as fast as it is read, or part by part in the time that it took. */
export type ReplayTiming = 'collapsed' | 'kept'

/** What an answer from the cache says of itself, under `holdfast` in its provider metadata. */
export const FROM_CACHE: SharedV4ProviderMetadata[string] = { cached: true }

/** An answer that ended so says the same the next time; one that was cut off, filtered or broken may not. */
const KEPT_REASONS: ReadonlySet<LanguageModelV4FinishReason['unified']> = new Set(['stop', 'length', 'tool-calls'])
/** What is never kept: an approval is asked for once, under an id of the provider's; raw parts are for finding faults. */
const UNKEPT_PARTS: ReadonlySet<string> = new Set(['tool-approval-request', 'error', 'raw'])

/** The answer without the request and the bodies, which are large, and without the headers of a connection. */
export function toKept({ result, ms }: KeptResult): KeptResult {
  const { content, finishReason, usage, warnings, providerMetadata, structuredOutputText, response } = result
  const { id, timestamp, modelId } = response ?? {}
  return {
    ms,
    result: {
      content,
      finishReason,
      usage,
      warnings,
      ...(providerMetadata !== undefined && { providerMetadata }),
      ...(structuredOutputText !== undefined && { structuredOutputText }),
      response: {
        ...(id !== undefined && { id }),
        ...(timestamp !== undefined && { timestamp }),
        ...(modelId !== undefined && { modelId }),
      },
    },
  }
}

/** Whether the same question would be answered the same way. */
export function isLasting({ result }: KeptResult): boolean {
  return KEPT_REASONS.has(result.finishReason.unified) && !result.content.some(({ type }) => UNKEPT_PARTS.has(type))
}

/** Whether a stream has come to its end, and the same question would be answered the same way. */
export function isComplete({ parts }: Recording): boolean {
  const finish = finishOf(parts)
  if (finish === undefined || !KEPT_REASONS.has(finish.finishReason.unified)) return false
  return !parts.some(([, { type }]) => UNKEPT_PARTS.has(type))
}

/** The stream without what kept its connection alive. */
export function toRecording({ parts, ms }: Recording): Recording {
  return { ms, parts: parts.filter(([, { type }]) => type !== 'ping') }
}

/** The part that ends a stream. */
export function finishOf(
  parts: readonly RecordedPart[],
): Extract<LanguageModelV4StreamPart, { type: 'finish' }> | undefined {
  for (let index = parts.length - 1; index >= 0; index--) {
    const part = parts[index]![1]
    if (part.type === 'finish') return part
  }
  return undefined
}

/** An answer from the cache, which says that it is one. */
export function asCached(result: LanguageModelV4GenerateResult): LanguageModelV4GenerateResult {
  return { ...result, providerMetadata: { ...result.providerMetadata, holdfast: FROM_CACHE } }
}

/**
 * The parts of a kept stream, one after the other; the last says that it is from the cache.
 * @throws the reason of `signal`.
 */
export async function* replay(
  { parts }: Recording,
  timing: ReplayTiming,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<LanguageModelV4StreamPart> {
  const startMs = clock.monotonic()
  for (const [atMs, part] of parts) {
    const waitMs = timing === 'kept' ? startMs + atMs - clock.monotonic() : 0
    if (waitMs > 0) await clock.sleep(waitMs, signal)
    signal.throwIfAborted()
    yield part.type === 'finish'
      ? { ...part, providerMetadata: { ...part.providerMetadata, holdfast: FROM_CACHE } }
      : part
  }
}

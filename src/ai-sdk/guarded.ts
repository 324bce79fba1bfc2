/*
 * Calls of a model under the guard of a dependency.
 *
 * A stream is one attempt from its call to its end:
 *
 *   call → first output (within `timeoutMs`, and repeated as the dependency says) → each further part (within `timeoutMs`) → end
 *
 * 1. Nothing is given on before the first output is there: until then another attempt can take its place.
 * 2. After it nothing is repeated: what was said can't be taken back. The breaker still counts that it broke.
 * 3. It keeps its place in the bulkhead until it has ended.
 */
import type {
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4GenerateResult,
  LanguageModelV4StreamPart,
} from '@ai-sdk/provider'
import type { Dependency } from '../define/dependency.ts'
import { currentAttempt, type Attempt } from '../resilience/attempt.ts'
import type { StreamHead } from './live-stream.ts'

/** What takes the parts of a stream. */
export interface StreamSink {
  open(head: StreamHead): void
  push(part: LanguageModelV4StreamPart): void
}

/** What comes before any output. */
const PRELUDE: ReadonlySet<LanguageModelV4StreamPart['type']> = new Set([
  'stream-start',
  'response-metadata',
  'ping',
  'raw',
  'text-start',
  'reasoning-start',
  'tool-input-start',
])

/**
 * An answer in one piece.
 * @throws what the model throws; {@link HoldfastError} `dependency_unavailable`, `dependency_timeout`; the reason of `signal`
 */
export async function generate(
  model: LanguageModelV4,
  params: LanguageModelV4CallOptions,
  dependency: Dependency | undefined,
  signal: AbortSignal | undefined,
): Promise<LanguageModelV4GenerateResult> {
  if (dependency === undefined) return model.doGenerate(withSignal(params, signal))
  return guarded(dependency, isRepeatable(params), signal, (own) => model.doGenerate(withSignal(params, own)))
}

/**
 * Runs work under a guard. What the guard has given up on is not tried again by the AI SDK either, whose `maxRetries` is 2
 * where nobody has said 0: it goes by `isRetryable` of the error.
 */
export async function guarded<T>(
  dependency: Dependency,
  idempotent: boolean,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => PromiseLike<T>,
): Promise<T> {
  try {
    return await dependency.use(work, { idempotent, ...(signal && { signal }) })
  } catch (error) {
    if (error instanceof Error && 'isRetryable' in error) Object.defineProperty(error, 'isRetryable', { value: false })
    throw error
  }
}

/**
 * A question to a model changes nothing, so that it may be repeated though nobody knows whether it was answered. A tool that the
 * provider itself runs may have done something.
 */
const isRepeatable = ({ tools = [] }: LanguageModelV4CallOptions): boolean =>
  tools.every(({ type }) => type === 'function')

/**
 * Has a model stream to a sink; resolves when the stream has ended.
 * @throws as {@link generate}, also in the midst of the stream
 */
export async function stream(
  model: LanguageModelV4,
  params: LanguageModelV4CallOptions,
  dependency: Dependency | undefined,
  signal: AbortSignal,
  sink: StreamSink,
): Promise<void> {
  if (dependency === undefined) {
    const begun = await begin(model, withSignal(params, signal))
    return begun.drain(sink, undefined, signal)
  }
  let attempt: Attempt | undefined
  const begun = await guarded(dependency, isRepeatable(params), signal, async (own) => {
    attempt = currentAttempt()!
    attempt.keep()
    try {
      return await begin(model, withSignal(params, own))
    } catch (error) {
      attempt.release()
      throw error
    }
  })
  try {
    await begun.drain(sink, attempt, attempt!.signal)
    attempt!.release()
  } catch (error) {
    attempt!.release(error)
    throw error
  }
}

/** A stream that has brought its first output. */
interface Begun {
  drain(sink: StreamSink, attempt: Attempt | undefined, signal: AbortSignal): Promise<void>
}

async function begin(model: LanguageModelV4, params: LanguageModelV4CallOptions): Promise<Begun> {
  const signal = params.abortSignal!
  const { stream: parts, ...head } = await orAborted(model.doStream(params), signal)
  const reader = parts.getReader()
  // What comes of it nobody need hear: the request ends with its signal.
  const leave = (reason: unknown): void => void reader.cancel(reason).catch(() => undefined)
  const held: LanguageModelV4StreamPart[] = []
  try {
    for (let isPrelude = true; isPrelude;) {
      const { done, value } = await orAborted(reader.read(), signal)
      if (done) break
      if (value.type === 'error') throw value.error
      held.push(value)
      isPrelude = PRELUDE.has(value.type)
    }
  } catch (error) {
    leave(error)
    throw error
  }
  return {
    async drain(sink, attempt, own) {
      let broken: { readonly error: unknown } | undefined
      sink.open(head)
      for (const part of held) sink.push(part)
      try {
        for (;;) {
          attempt?.read()
          const { done, value } = await orAborted(reader.read(), own)
          attempt?.rest()
          if (done) break
          if (value.type === 'error') broken ??= value
          sink.push(value)
        }
      } catch (error) {
        leave(error)
        throw error
      }
      // It was told in a part of the stream; the breaker hears of it, too.
      if (broken !== undefined) attempt?.release(broken.error)
    },
  }
}

const withSignal = (params: LanguageModelV4CallOptions, signal: AbortSignal | undefined): LanguageModelV4CallOptions =>
  signal === undefined ? params : { ...params, abortSignal: signal }

/** What is waited for, or the reason of the signal: not every model heeds it. */
export function orAborted<T>(promise: PromiseLike<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason)
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(
      (value) => {
        signal.removeEventListener('abort', onAbort)
        resolve(value)
      },
      (error: unknown) => {
        signal.removeEventListener('abort', onAbort)
        reject(error)
      },
    )
  })
}

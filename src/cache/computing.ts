import { HoldfastError } from '../errors/holdfast-error.ts'
import { toPortable } from '../errors/portable-error.ts'
import { ERRORS } from '../errors/table.ts'
import type { Clock } from '../ports/clock.ts'
import type { Telemetry } from '../ports/telemetry.ts'
import type { Generations } from './generations.ts'
import type { Held, MemoryTier } from './held.ts'
import type { CacheRequest } from './request.ts'

/** What a flight has come to, for all who wait for it. */
export interface Landing<T> {
  readonly from: 'store' | 'stale_if_error' | 'waited' | 'computed'
  readonly held?: Held
  /** For who began it alone. */
  readonly own?: { readonly value: T }
  /** Computing has failed, and that is kept. */
  readonly thrown?: unknown
  /** To be stored for other nodes. */
  readonly kept?: Held
}

/** A value that could not be computed anew is served so long before that is tried again. */
const RETRY_MS = 1_000

/** What {@link Computing} works with. */
export interface ComputingParts {
  readonly clock: Clock
  readonly telemetry: Pick<Telemetry, 'failure'>
  readonly memory: MemoryTier
  readonly generations: Generations
}

/** Computes values, and says what becomes of them. */
export class Computing {
  readonly #parts: ComputingParts

  constructor(parts: ComputingParts) {
    this.#parts = parts
  }

  /**
   * Computes a value; what is to be kept is in memory then.
   * @param generations of its tags, as read before; `undefined`: unknown, so that nothing is kept
   * @param old value of these generations, served where computing fails
   * @throws what computing throws, where nothing takes its place
   */
  async compute<T>(
    request: CacheRequest<T>,
    generations: string | undefined,
    old: Held | undefined,
    signal: AbortSignal,
  ): Promise<Landing<T>> {
    const { entry, codec } = request
    const { clock, telemetry } = this.#parts
    /** What is served in place of a failure, if something is. */
    const inPlaceOf = (error: unknown): Landing<T> | undefined => {
      const nowMs = clock.now()
      if (old === undefined || old.isThrown || old.generations !== generations || signal.aborted) return undefined
      if (nowMs >= old.keptUntilMs) return undefined
      old.retryAtMs = nowMs + RETRY_MS
      telemetry.failure(undefined, `A value of the cache "${entry.cache}" could not be computed anew.`, error)
      return { from: 'stale_if_error', held: old }
    }
    let value: T
    try {
      value = await request.compute(signal)
    } catch (error) {
      const instead = inPlaceOf(error)
      if (instead !== undefined) return instead
      if ((entry.negativeTtlMs ?? 0) === 0 || generations === undefined || signal.aborted || passes(error)) throw error
      const held: Held = {
        payload: Buffer.from(JSON.stringify(toPortable(error))),
        isThrown: true,
        generations,
        ...request.timesOf(clock.now(), true),
      }
      this.#remember(request, held)
      return { from: 'computed', thrown: error ?? new Error('Computing threw nothing.'), kept: held }
    }
    const keeping = codec.keepingOf?.(value) ?? 'value'
    if (keeping === 'own') return { from: 'computed', own: { value } }
    const instead = keeping === 'value' ? undefined : inPlaceOf(new Error('The result tells of a failure.'))
    if (instead !== undefined) return instead
    const held = this.toHeld(request, value, generations)
    const isKept =
      keeping === 'value' || (keeping === 'failure' && entry.negativeTtlMs !== undefined && entry.negativeTtlMs > 0)
    if (!isKept || generations === undefined || signal.aborted)
      return { from: 'computed', held: { ...held, freshUntilMs: 0 } }
    this.#remember(request, held)
    return { from: 'computed', held, kept: held }
  }

  /** What was invalidated meanwhile is of no use, and may stand in the way of a newer one. */
  #remember<T>(request: CacheRequest<T>, held: Held): void {
    const present = this.#parts.generations.known(request.tagKeys, Infinity)
    if (present === undefined || present === held.generations) this.#parts.memory.put(request.text, held, request.codec)
  }

  /** A value that was computed now. @param generations of its tags, as read before; `undefined`: unknown */
  toHeld<T>(request: CacheRequest<T>, value: T, generations: string | undefined): Held {
    const { codec } = request
    const isFailure = codec.keepingOf?.(value) === 'failure'
    return {
      payload: codec.encode(value),
      isThrown: false,
      generations: generations ?? '',
      ...request.timesOf(this.#parts.clock.now(), isFailure),
      ...(codec.isShareable === true ? { shared: { value } } : {}),
    }
  }
}

/** A failure that may be over the next moment, and says so itself. */
const passes = (error: unknown): boolean => error instanceof HoldfastError && ERRORS[error.code].retryable

import { artifactsNamedIn } from '../artifacts/keys.ts'
import { ValueGone, type Artifacts } from '../artifacts/artifacts.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Entry } from '../kernel/request-state.ts'
import { fromEntryValue, fromValueKey, toEntryValue, toValueKey } from './payload.ts'
import type { Clock } from '../ports/clock.ts'
import { persistently } from './persistent.ts'
import type { Attempt, AttemptTask } from './worker.ts'

/** A value up to this lies in the journal; a bigger one lies among the artifacts, and the journal has its key. */
const INLINE_BYTES = 64 * 1024
/** Most that one task may record: an attempt has all of it in memory. */
const MAX_BYTES = 64 * 1024 * 1024

/** What a {@link Journal} works with. */
export interface JournalParts {
  readonly attempt: Attempt<AttemptTask>
  readonly owner: string
  /** `undefined` where nodes have no artifact store in common: then values of any size lie in the journal. */
  readonly artifacts: Artifacts | undefined
  readonly clock: Clock
  /** Of the attempt: what waits for a store that is away ends with it. */
  readonly signal: AbortSignal
  readonly onError: (error: unknown) => void
}

/**
 * What a task has put on record of steps and sleeps, and puts there: big values lie in the artifact store. While that is away they
 * are waited for as long as the attempt has time: to fail would cost the task an attempt for what it has no part in.
 */
export class Journal {
  readonly #parts: JournalParts
  #bytes = 0

  constructor(parts: JournalParts) {
    this.#parts = parts
  }

  /** What is on record. @throws {ValueGone}, or the reason of the attempt's signal. */
  read({ journal }: AttemptTask): Promise<Entry[]> {
    return Promise.all(
      journal.flatMap(({ kind, name, value }) => (kind === 'step' ? [this.#readValue(name, value!)] : [])),
    )
  }

  async #readValue(name: string, value: Uint8Array): Promise<Entry> {
    const key = fromValueKey(value)
    const bytes = key === undefined ? value : await this.#insist(() => this.#store().getValue(key))
    this.#bytes += bytes.length
    return fromEntryValue(name, bytes)
  }

  #store(): Artifacts {
    const { artifacts } = this.#parts
    if (artifacts !== undefined) return artifacts
    throw new HoldfastError(
      'invalid_option',
      'A task has values in an artifact store, and this worker has none: set HOLDFAST_ARTIFACTS_URL as on the others.',
    )
  }

  /**
   * Puts an entry on record. `false`: the task is another's.
   * @throws {HoldfastError} `journal_too_large`, or the reason of the attempt's signal.
   */
  async record(entry: Entry): Promise<boolean> {
    const value = toEntryValue(entry)
    if (this.#bytes + value.length > MAX_BYTES)
      throw new HoldfastError(
        'journal_too_large',
        `The step ${JSON.stringify(entry[0])} has ${value.length} bytes, after ${this.#bytes} on record; a task may record ${MAX_BYTES}. Put big results into ctx.artifacts, and record their links.`,
      )
    this.#bytes += value.length
    const { attempt, owner, artifacts } = this.#parts
    const named = artifactsNamedIn(Buffer.from(value.buffer, value.byteOffset, value.length).toString(), owner)
    const { id: taskId, fence } = attempt.task
    if (artifacts === undefined || value.length <= INLINE_BYTES)
      return (await attempt.recordStep(entry[0], value, named)) !== 'lost'
    // Each try has a key of its own: what one that failed has written after all is collected.
    const key = await this.#insist(() => artifacts.putValue({ owner, taskId, fence }, value))
    return (await attempt.recordStep(entry[0], toValueKey(key), [key, ...named])) !== 'lost'
  }

  /** Does something with the store until that is there. */
  async #insist<T>(work: () => Promise<T>): Promise<T> {
    const { clock, signal, onError } = this.#parts
    const tried = await persistently(
      clock,
      signal,
      () =>
        work().then(
          (value) => ({ value }),
          (error: unknown) => {
            if (error instanceof HoldfastError && error.code === 'backend_failed' && !(error instanceof ValueGone))
              throw error
            return { error }
          },
        ),
      onError,
    )
    if ('error' in tried) throw tried.error
    return tried.value
  }
}

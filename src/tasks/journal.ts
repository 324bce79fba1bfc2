import { artifactsNamedIn } from '../artifacts/keys.ts'
import type { Artifacts } from '../artifacts/artifacts.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import type { Entry } from '../kernel/request-state.ts'
import { fromEntryValue, fromValueKey, toEntryValue, toValueKey } from './payload.ts'
import type { Attempt, AttemptTask } from './worker.ts'

/** A value up to this lies in the journal; a bigger one lies among the artifacts, and the journal has its key. */
const INLINE_BYTES = 64 * 1024
/** Most that one task may record: an attempt has all of it in memory. */
const MAX_BYTES = 64 * 1024 * 1024

/** What a task has put on record of steps and sleeps, and puts there: big values lie in the artifact store. */
export class Journal {
  readonly #attempt: Attempt<AttemptTask>
  readonly #owner: string
  readonly #artifacts: Artifacts | undefined
  #bytes = 0

  /** @param artifacts `undefined` where nodes have no artifact store in common: then values of any size lie in the journal. */
  constructor(attempt: Attempt<AttemptTask>, owner: string, artifacts: Artifacts | undefined) {
    this.#attempt = attempt
    this.#owner = owner
    this.#artifacts = artifacts
  }

  /** What is on record. @throws {HoldfastError} `backend_failed` where a value can't be read now. */
  read({ journal }: AttemptTask): Promise<Entry[]> {
    return Promise.all(
      journal.flatMap(({ kind, name, value }) => (kind === 'step' ? [this.#readValue(name, value!)] : [])),
    )
  }

  async #readValue(name: string, value: Uint8Array): Promise<Entry> {
    const key = fromValueKey(value)
    const bytes = key === undefined ? value : await this.#store().getValue(key)
    this.#bytes += bytes.length
    return fromEntryValue(name, bytes)
  }

  #store(): Artifacts {
    if (this.#artifacts !== undefined) return this.#artifacts
    throw new HoldfastError(
      'invalid_option',
      'A task has values in an artifact store, and this worker has none: set HOLDFAST_ARTIFACTS_URL as on the others.',
    )
  }

  /**
   * Puts an entry on record. `false`: the task is another's.
   * @throws {HoldfastError} `journal_too_large`, and what the artifact store throws.
   */
  async record(entry: Entry): Promise<boolean> {
    const value = toEntryValue(entry)
    if (this.#bytes + value.length > MAX_BYTES)
      throw new HoldfastError(
        'journal_too_large',
        `The step ${JSON.stringify(entry[0])} has ${value.length} bytes, after ${this.#bytes} on record; a task may record ${MAX_BYTES}. Put big results into ctx.artifacts, and record their links.`,
      )
    this.#bytes += value.length
    const named = artifactsNamedIn(Buffer.from(value.buffer, value.byteOffset, value.length).toString(), this.#owner)
    const { task } = this.#attempt
    if (this.#artifacts === undefined || value.length <= INLINE_BYTES)
      return (await this.#attempt.recordStep(entry[0], value, named)) !== 'lost'
    const key = await this.#artifacts.putValue({ owner: this.#owner, taskId: task.id, fence: task.fence }, value)
    return (await this.#attempt.recordStep(entry[0], toValueKey(key), [key, ...named])) !== 'lost'
  }
}

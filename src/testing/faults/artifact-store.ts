import type { ArtifactStore } from '../../ports/artifact-store.ts'
import { systemClock, type Clock } from '../../ports/clock.ts'
import { underFault, type FaultPlan, type OperationFault } from './plan.ts'

/**
 * An artifact store with whose operations things go wrong, as a plan says.
 *
 * @example
 * let fault: OperationFault | undefined
 * const store = new FaultyArtifactStore(new MyArtifactStore(), () => fault)
 */
export class FaultyArtifactStore implements ArtifactStore {
  /** There where the store has it. */
  readonly signUrl?: NonNullable<ArtifactStore['signUrl']>
  readonly #store: ArtifactStore
  readonly #plan: FaultPlan<OperationFault>
  readonly #clock: Clock

  /**
   * @param store carries out what is to be carried out; closed with this one.
   * @param plan asked with the name of the operation (`put`, `get`, …); `close` never fails.
   * @param clock for delays. Default: the machine's.
   */
  constructor(store: ArtifactStore, plan: FaultPlan<OperationFault>, clock: Clock = systemClock) {
    this.#store = store
    this.#plan = plan
    this.#clock = clock
    if (store.signUrl !== undefined)
      this.signUrl = (key, ttlMs) => this.#run('signUrl', () => store.signUrl!(key, ttlMs))
  }

  put(...args: Parameters<ArtifactStore['put']>): ReturnType<ArtifactStore['put']> {
    return this.#run('put', () => this.#store.put(...args))
  }
  get(...args: Parameters<ArtifactStore['get']>): ReturnType<ArtifactStore['get']> {
    return this.#run('get', () => this.#store.get(...args))
  }
  head(...args: Parameters<ArtifactStore['head']>): ReturnType<ArtifactStore['head']> {
    return this.#run('head', () => this.#store.head(...args))
  }
  delete(...args: Parameters<ArtifactStore['delete']>): ReturnType<ArtifactStore['delete']> {
    return this.#run('delete', () => this.#store.delete(...args))
  }
  list(...args: Parameters<ArtifactStore['list']>): ReturnType<ArtifactStore['list']> {
    return this.#run('list', () => this.#store.list(...args))
  }
  clearUploads(...args: Parameters<ArtifactStore['clearUploads']>): ReturnType<ArtifactStore['clearUploads']> {
    return this.#run('clearUploads', () => this.#store.clearUploads(...args))
  }
  close(): Promise<void> {
    return this.#store.close()
  }

  #run<T>(operation: string, run: () => Promise<T>): Promise<T> {
    return underFault(this.#plan(operation), operation, (ms) => this.#clock.sleep(ms), run)
  }
}

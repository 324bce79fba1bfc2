import { systemClock, type Clock } from '../../ports/clock.ts'
import type { StateStore } from '../../ports/state-store.ts'
import { underFault, type FaultPlan, type OperationFault } from './plan.ts'

/**
 * A state store with whose operations things go wrong, as a plan says.
 *
 * @example
 * let fault: OperationFault | undefined
 * const store = new FaultyStateStore(new MyStateStore(), () => fault)
 */
export class FaultyStateStore implements StateStore {
  readonly #store: StateStore
  readonly #plan: FaultPlan<OperationFault>
  readonly #clock: Clock

  /**
   * @param store carries out what is to be carried out; closed with this one.
   * @param plan asked with the name of the operation (`set`, `append`, …); `close` never fails.
   * @param clock for delays. Default: the machine's.
   */
  constructor(store: StateStore, plan: FaultPlan<OperationFault>, clock: Clock = systemClock) {
    this.#store = store
    this.#plan = plan
    this.#clock = clock
  }

  getMany(...args: Parameters<StateStore['getMany']>): ReturnType<StateStore['getMany']> {
    return this.#run('getMany', () => this.#store.getMany(...args))
  }
  set(...args: Parameters<StateStore['set']>): ReturnType<StateStore['set']> {
    return this.#run('set', () => this.#store.set(...args))
  }
  compareAndSet(...args: Parameters<StateStore['compareAndSet']>): ReturnType<StateStore['compareAndSet']> {
    return this.#run('compareAndSet', () => this.#store.compareAndSet(...args))
  }
  delete(...args: Parameters<StateStore['delete']>): ReturnType<StateStore['delete']> {
    return this.#run('delete', () => this.#store.delete(...args))
  }
  append(...args: Parameters<StateStore['append']>): ReturnType<StateStore['append']> {
    return this.#run('append', () => this.#store.append(...args))
  }
  readAfter(...args: Parameters<StateStore['readAfter']>): ReturnType<StateStore['readAfter']> {
    return this.#run('readAfter', () => this.#store.readAfter(...args))
  }
  takeTokens(...args: Parameters<StateStore['takeTokens']>): ReturnType<StateStore['takeTokens']> {
    return this.#run('takeTokens', () => this.#store.takeTokens(...args))
  }
  acquire(...args: Parameters<StateStore['acquire']>): ReturnType<StateStore['acquire']> {
    return this.#run('acquire', () => this.#store.acquire(...args))
  }
  release(...args: Parameters<StateStore['release']>): ReturnType<StateStore['release']> {
    return this.#run('release', () => this.#store.release(...args))
  }
  extend(...args: Parameters<StateStore['extend']>): ReturnType<StateStore['extend']> {
    return this.#run('extend', () => this.#store.extend(...args))
  }
  close(): Promise<void> {
    return this.#store.close()
  }

  #run<T>(operation: string, run: () => Promise<T>): Promise<T> {
    return underFault(this.#plan(operation), operation, (ms) => this.#clock.sleep(ms), run)
  }
}

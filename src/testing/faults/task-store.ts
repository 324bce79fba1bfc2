import { systemClock, type Clock } from '../../ports/clock.ts'
import type { TaskStore } from '../../ports/task-store.ts'
import { underFault, type FaultPlan, type OperationFault } from './plan.ts'

/**
 * A task store with whose operations things go wrong, as a plan says.
 *
 * @example
 * let fault: OperationFault | undefined
 * const store = new FaultyTaskStore(new MyTaskStore(), () => fault)
 */
export class FaultyTaskStore implements TaskStore {
  readonly #store: TaskStore
  readonly #plan: FaultPlan<OperationFault>
  readonly #clock: Clock

  /**
   * @param store carries out what is to be carried out; closed with this one.
   * @param plan asked with the name of the operation (`create`, `finish`, …); `close` never fails.
   * @param clock for delays. Default: the machine's.
   */
  constructor(store: TaskStore, plan: FaultPlan<OperationFault>, clock: Clock = systemClock) {
    this.#store = store
    this.#plan = plan
    this.#clock = clock
  }

  create(...args: Parameters<TaskStore['create']>): ReturnType<TaskStore['create']> {
    return this.#run('create', () => this.#store.create(...args))
  }
  get(...args: Parameters<TaskStore['get']>): ReturnType<TaskStore['get']> {
    return this.#run('get', () => this.#store.get(...args))
  }
  versions(...args: Parameters<TaskStore['versions']>): ReturnType<TaskStore['versions']> {
    return this.#run('versions', () => this.#store.versions(...args))
  }
  claim(...args: Parameters<TaskStore['claim']>): ReturnType<TaskStore['claim']> {
    return this.#run('claim', () => this.#store.claim(...args))
  }
  heartbeat(...args: Parameters<TaskStore['heartbeat']>): ReturnType<TaskStore['heartbeat']> {
    return this.#run('heartbeat', () => this.#store.heartbeat(...args))
  }
  recordStep(...args: Parameters<TaskStore['recordStep']>): ReturnType<TaskStore['recordStep']> {
    return this.#run('recordStep', () => this.#store.recordStep(...args))
  }
  park(...args: Parameters<TaskStore['park']>): ReturnType<TaskStore['park']> {
    return this.#run('park', () => this.#store.park(...args))
  }
  answer(...args: Parameters<TaskStore['answer']>): ReturnType<TaskStore['answer']> {
    return this.#run('answer', () => this.#store.answer(...args))
  }
  finish(...args: Parameters<TaskStore['finish']>): ReturnType<TaskStore['finish']> {
    return this.#run('finish', () => this.#store.finish(...args))
  }
  retry(...args: Parameters<TaskStore['retry']>): ReturnType<TaskStore['retry']> {
    return this.#run('retry', () => this.#store.retry(...args))
  }
  release(...args: Parameters<TaskStore['release']>): ReturnType<TaskStore['release']> {
    return this.#run('release', () => this.#store.release(...args))
  }
  cancel(...args: Parameters<TaskStore['cancel']>): ReturnType<TaskStore['cancel']> {
    return this.#run('cancel', () => this.#store.cancel(...args))
  }
  attend(...args: Parameters<TaskStore['attend']>): ReturnType<TaskStore['attend']> {
    return this.#run('attend', () => this.#store.attend(...args))
  }
  isOver(...args: Parameters<TaskStore['isOver']>): ReturnType<TaskStore['isOver']> {
    return this.#run('isOver', () => this.#store.isOver(...args))
  }
  sweep(...args: Parameters<TaskStore['sweep']>): ReturnType<TaskStore['sweep']> {
    return this.#run('sweep', () => this.#store.sweep(...args))
  }
  close(): Promise<void> {
    return this.#store.close()
  }

  #run<T>(operation: string, run: () => Promise<T>): Promise<T> {
    return underFault(this.#plan(operation), operation, (ms) => this.#clock.sleep(ms), run)
  }
}

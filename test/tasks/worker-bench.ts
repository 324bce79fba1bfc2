// What tests of a worker work with: a worker on a clock that moves only when a test says so.
import { afterEach, beforeEach } from 'vitest'
import { MemoryTaskQueue } from '../../src/backends/memory/task-queue.ts'
import type { NewTask, Task } from '../../src/ports/task-store.ts'
import { LoopLeaseKeeper } from '../../src/tasks/lease-keeper.ts'
import { Worker, type Attempt, type AttemptOutcome } from '../../src/tasks/worker.ts'
import { FakeClock } from '../../src/testing/index.ts'
import { ReferenceTaskStore } from '../../src/testing/reference-task-store.ts'
import { STANDING } from '../support/standing.ts'
import { newTask } from '../support/new-task.ts'

export const bytes = (text: string): Uint8Array => Buffer.from(text)
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
export const done: AttemptOutcome = { kind: 'completed', result: bytes('"done"') }

/** Of the test that runs: made anew before each, its workers drained after it. */
class WorkerBench {
  readonly clock = new FakeClock()
  /** What workers that are started from now on work on. */
  store = new ReferenceTaskStore(this.clock)
  readonly errors: unknown[] = []
  readonly queue = new MemoryTaskQueue((error) => this.errors.push(error))
  readonly workers: { worker: Worker; keeper: LoopLeaseKeeper }[] = []
}
export let at: WorkerBench
beforeEach(() => {
  at = new WorkerBench()
})
afterEach(async () => {
  for (const { worker, keeper } of at.workers) {
    const draining = worker.drain(0)
    await at.clock.advance(10)
    await draining
    await keeper.close()
  }
})

export async function start(
  run: (attempt: Attempt) => Promise<AttemptOutcome>,
  more: {
    concurrency?: number
    name?: string
    toolConcurrency?: Map<string, number>
    onStuck?: () => void
  } = {},
): Promise<Worker> {
  const { clock, store, queue, errors, workers } = at
  const { name = `worker-${workers.length}`, concurrency = 2, toolConcurrency, onStuck } = more
  const keeper = new LoopLeaseKeeper({
    store,
    worker: name,
    times: { leaseMs: 30_000, renewMs: 10_000 },
    clock,
    onError: (error) => errors.push(error),
  })
  const worker = new Worker({
    name,
    store,
    queue,
    topology: STANDING,
    keeper,
    clock,
    run,
    onChanged: () => undefined,
    onError: (_message, error) => errors.push(error),
    tools: ['work', 'other'],
    ...(toolConcurrency === undefined ? {} : { toolConcurrency }),
    ...(onStuck === undefined ? {} : { onStuck }),
    queues: ['q'],
    handlerRevisions: [],
    concurrency,
    leaseMs: 30_000,
    pollMs: 5_000,
  })
  workers.push({ worker, keeper })
  await worker.start()
  await settle()
  return worker
}
export const settle = async (): Promise<void> => {
  for (let index = 0; index < 10; index++) await turn()
}

export async function add(more: Partial<NewTask> = {}): Promise<string> {
  const { task } = await at.store.create(newTask(more))
  return task.id
}
export const read = async (id: string): Promise<Task> => (await at.store.get(id, 'ann'))!
export const ring = async (...ids: string[]): Promise<void> => {
  await at.queue.ring('q', ids)
  await settle()
}

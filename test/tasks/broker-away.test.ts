import { afterEach, expect, test, vi } from 'vitest'
import * as z from 'zod'
import { MemoryTaskQueue } from '../../src/backends/memory/task-queue.ts'
import { HoldfastError } from '../../src/errors/holdfast-error.ts'
import { createRuntime, defineServer, defineTool, type Runtime, type TaskQueue } from '../../src/index.ts'
import { until } from '../servers/tools.ts'

// A broker is a doorbell: what happens to nodes and workers that start while it is away.

const server = defineServer({
  name: 'jobs',
  version: '1.0.0',
  tools: [defineTool({ name: 'job', description: 'A job', input: z.object({}), task: true, run: () => 'done' })],
})
const away = new HoldfastError('backend_failed', 'There is no connection to the broker.')

/** A broker that fails as it is told. */
class Broker implements TaskQueue {
  readonly #bells = new MemoryTaskQueue(() => undefined)
  readonly heard: string[] = []
  failure: Error | undefined
  #check(): void {
    if (this.failure !== undefined) throw this.failure
  }
  async ensureTopology(): Promise<void> {
    this.#check()
  }
  async ring(queue: string, ids: readonly string[]): Promise<void> {
    this.#check()
    await this.#bells.ring(queue, ids)
  }
  async listen(...[queues, onRing, options]: Parameters<TaskQueue['listen']>): ReturnType<TaskQueue['listen']> {
    this.#check()
    return this.#bells.listen(
      queues,
      (bell) => {
        this.heard.push(...bell.taskIds)
        return onRing(bell)
      },
      options,
    )
  }
  depth = async (): Promise<undefined> => undefined
  close = (): Promise<void> => this.#bells.close()
}

let runtime: Runtime | undefined
let broker: Broker
afterEach(async () => {
  await runtime?.close()
  runtime = undefined
  await broker.close()
})

const open = async (failure: Error | undefined, pollMs: number): Promise<Runtime> => {
  broker = new Broker()
  broker.failure = failure
  return createRuntime(server, { dataDir: false, logLevel: 'silent', queue: broker, worker: { pollMs } })
}
const runJob = async (): Promise<string> => {
  const { id } = await runtime!.tasks.create('job', {})
  await until('The end of a task', 5000, async () => (await runtime!.tasks.get(id))?.status === 'completed')
  return id
}
const failures = async (): Promise<string[]> =>
  (await runtime!.metrics()).body.match(/^holdfast_task_queue_failures_total.*$/gm) ?? []

test('a node with a worker starts while the broker is away, runs tasks, and hears bells once it is back', async () => {
  runtime = await open(away, 50)
  const unheard = await runJob()
  expect(broker.heard).toEqual([])
  expect(await failures()).toEqual(['holdfast_task_queue_failures_total{reason="away"} 1'])
  broker.failure = undefined
  await vi.waitUntil(async () => broker.heard.includes(await runJob()), { timeout: 10_000 })
  expect(broker.heard).not.toContain(unheard)
})

test('a broker with other queues than are needed ends a start, and nothing is left open', async () => {
  const differs = new HoldfastError('backend_mismatch', 'The queue is not durable.')
  await expect(open(differs, 50)).rejects.toBe(differs)
})

test('where that shows only later it is counted, tasks run all the same, and bells ring when it has been put right', async () => {
  runtime = await open(away, 50)
  broker.failure = new HoldfastError('backend_mismatch', 'The queue is not durable.')
  await vi.waitUntil(async () => (await failures()).length > 1, { timeout: 10_000 })
  expect(await failures()).toEqual([
    'holdfast_task_queue_failures_total{reason="away"} 1',
    'holdfast_task_queue_failures_total{reason="differs"} 1',
  ])
  await runJob()
  broker.failure = undefined
  await vi.waitUntil(async () => broker.heard.includes(await runJob()), { timeout: 20_000 })
}, 40_000)

test('a broker that is there from the start is listened to before the start is over', async () => {
  runtime = await open(undefined, 60_000)
  const id = await runJob()
  expect(broker.heard).toEqual([id])
  expect(await failures()).toEqual([])
})

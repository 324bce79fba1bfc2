import { afterEach, describe, expect, test } from 'vitest'
import { createRuntime, defineServer, defineTool, type Runtime, type WorkerOptions } from '../../src/index.ts'

const slow = defineTool({ name: 'slow', description: 'Slow', task: { queue: 'slow' }, run: () => 'done' })
const quick = defineTool({ name: 'quick', description: 'Quick', task: true, run: () => 'done' })
const server = defineServer({ name: 'workers', version: '1.0.0', tools: [slow, quick] })

let runtime: Runtime | undefined
afterEach(() => runtime?.close())
const open = async (worker: WorkerOptions | boolean): Promise<Runtime> =>
  (runtime = await createRuntime(server, { worker, dataDir: false, logLevel: 'silent' }))

const WRONG: [Record<string, unknown>, string, RegExp][] = [
  [{ concurency: 2 }, 'unknown_option', /no option `worker\.concurency`\. Did you mean `concurrency`\?/],
  [{ slots: 2 }, 'unknown_option', /no option `worker\.slots`/],
  [{ concurrency: 0 }, 'invalid_option', /`worker\.concurrency` is 0; .*whole number, 1 or more/],
  [{ concurrency: 2.5 }, 'invalid_option', /2\.5/],
  [{ concurrency: '4' }, 'invalid_option', /"4"/],
  [{ concurrency: Infinity }, 'invalid_option', /is Infinity/],
  [{ leaseMs: 0 }, 'invalid_option', /`worker\.leaseMs` is 0/],
  [{ leaseMs: NaN }, 'invalid_option', /is NaN/],
  [{ pollMs: -1 }, 'invalid_option', /`worker\.pollMs` is -1/],
  [{ hungAfterMs: 100 }, 'invalid_option', /`worker\.hungAfterMs` is 100; .*500 or more/],
  [{ queues: 'slow' }, 'invalid_option', /`worker\.queues` is "slow"; it must be a list/],
  [{ queues: [] }, 'invalid_option', /`worker\.queues` is \[\]/],
  [{ queues: [1] }, 'invalid_option', /`worker\.queues` is \[1\]/],
  [{ queues: ['slow', 'fast'] }, 'invalid_option', /the queue "fast"; there are slow, default\./],
  [{ triggers: 1 }, 'invalid_option', /`worker\.triggers` is 1; it must be true or false/],
  [{ definition: '' }, 'invalid_option', /`worker\.definition` is ""/],
  [{ definition: 7 }, 'invalid_option', /a path or a URL/],
  [{ onStuck: 'restart' }, 'invalid_option', /`worker\.onStuck` is "restart"; it must be a function/],
]

describe.each(WRONG)('a worker with %o', (given, code, message) => {
  test('is refused when the runtime is made', async () => {
    await expect(open(given as WorkerOptions)).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
  })
  test('is refused when it is started by itself', async () => {
    const { startWorker } = await open(false)
    await expect(startWorker(given as WorkerOptions)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    })
  })
})

test('what is undefined is as if it were not there', async () => {
  const given = { concurrency: undefined, queues: undefined, leaseMs: undefined } as unknown as WorkerOptions
  const { tasks } = await open(given)
  const { id } = await tasks.create('slow', {})
  await expect.poll(async () => (await tasks.get(id))?.status).toBe('completed')
})

import { expect, test } from 'vitest'
import { MemoryArtifactStore } from '../../src/backends/memory/artifact-store.ts'
import { defineServer, defineTool } from '../../src/index.ts'
import { systemClock } from '../../src/ports/clock.ts'
import { connect, FaultyArtifactStore } from '../../src/testing/index.ts'

const BIG = 'x'.repeat(100_000)
let attempts = 0
/** Its second attempt reads the big step of the first. */
const work = defineTool({
  name: 'work',
  description: 'Records a big step, and fails once after it',
  task: { maxAttempts: 2, maxBackoffMs: 1, retryable: (error) => (error as Error).message === 'Not yet.' },
  async run(_args, { step }) {
    const text = await step('big', () => BIG)
    if (++attempts === 1) throw new Error('Not yet.')
    return `${text.length} at ${attempts}`
  },
})
const save = defineTool({
  name: 'save',
  description: 'Writes an artifact, as a task',
  task: { maxAttempts: 3, maxBackoffMs: 1 },
  run: (_args, { artifacts }) => artifacts.put('x', { name: 'x' }),
})
const write = defineTool({
  name: 'write',
  description: 'Writes an artifact',
  run: (_args, { artifacts }) => artifacts.put('x', { name: 'x' }),
})
const server = defineServer({ name: 'away', version: '1.0.0', tools: [work, save, write] })

/** A store whose first operations of each kind fail. */
function failing(counts: Record<string, number>): { store: FaultyArtifactStore; left: Record<string, number> } {
  const left = { ...counts }
  const store = new FaultyArtifactStore(new MemoryArtifactStore(systemClock), (operation) =>
    (left[operation] ?? 0) > 0 && left[operation]!-- > 0 ? 'error-before' : undefined,
  )
  return { store, left }
}

test('a big step waits for a store that is away, and so does the attempt that reads it: no attempt is charged', async () => {
  attempts = 0
  const { store, left } = failing({ put: 4, get: 3 })
  await using client = await connect(server, { tasks: true, runtime: { artifacts: store } })
  expect((await client.callTool('work')).text).toBe(`${BIG.length} at 2`)
  expect(left).toEqual({ put: 0, get: 0 })
})

test('what waits for the store ends when the task is cancelled', async () => {
  attempts = 0
  const { store, left } = failing({ put: 1e9 })
  await using client = await connect(server, { tasks: true, runtime: { artifacts: store } })
  const task = await client.startTask('work')
  await expect.poll(() => left['put']).toBeLessThan(1e9)
  await task.cancel()
  expect((await task.wait()).status).toBe('cancelled')
  expect(attempts).toBe(0)
})

test('a value that is gone for good ends the task, and is not waited for', async () => {
  attempts = 0
  const memory = new MemoryArtifactStore(systemClock)
  const store: MemoryArtifactStore = Object.assign(Object.create(memory) as MemoryArtifactStore, {
    put: (...args: Parameters<MemoryArtifactStore['put']>) => memory.put(...args),
    get: async () => undefined,
    close: () => memory.close(),
  })
  await using client = await connect(server, { tasks: true, runtime: { artifacts: store } })
  const task = await client.startTask('work')
  expect((await task.wait()).status).toBe('failed')
})

test('a task that writes an artifact while the store is away is tried again', async () => {
  const { store } = failing({ put: 2 })
  await using client = await connect(server, { tasks: true, runtime: { artifacts: store } })
  expect((await client.callTool('save')).content).toMatchObject([{ type: 'resource_link' }])
})

test('a call that writes one says that a store is away, and nothing of the reason', async () => {
  const { store } = failing({ put: 1 })
  await using client = await connect(server, { runtime: { artifacts: store } })
  const { isError, text } = await client.callTool('write')
  expect(isError).toBe(true)
  expect(text).toMatch(
    /^The tool "write" could not reach a store that it needs; try again in some seconds \(request [\w-]+\)\.$/,
  )
})

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { generateKeys } from '../../src/compose/options.ts'
import { openTaskStore } from '../../src/compose/task-store.ts'
import { systemClock } from '../../src/ports/clock.ts'
import type { Task, TaskAdmin, TaskStore } from '../../src/ports/task-store.ts'
import { sharedServer } from '../servers/shared.ts'
import { kafkaSender, rabbitmqSender, sqsSender } from '../support/brokers.ts'

vi.setConfig({ testTimeout: 90_000 })
vi.stubEnv('AWS_ACCESS_KEY_ID', process.env['AWS_ACCESS_KEY_ID'] ?? 'test')
vi.stubEnv('AWS_SECRET_ACCESS_KEY', process.env['AWS_SECRET_ACCESS_KEY'] ?? 'test')
const brokers = {
  RabbitMQ: [rabbitmqSender, await sharedServer('rabbitmq')],
  Kafka: [kafkaSender, await sharedServer('kafka')],
  SQS: [sqsSender, await sharedServer('sqs')],
} as const

const keys = generateKeys()
let folder: string
let tasks: string
let store: TaskStore & TaskAdmin
const children = new Set<ChildProcess>()
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-triggers-'))
  tasks = `sqlite:${join(folder, 'tasks.db')}`
  store = await openTaskStore(tasks, systemClock)
})
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL')
  children.clear()
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

/** Starts a worker; resolves when it runs, or with the signal that ended it. */
async function start(env: Record<string, string>): Promise<{ child: ChildProcess; exit: Promise<unknown[]> }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'trigger-worker.ts')], {
    env: { ...process.env, TASKS: tasks, HOLDFAST_KEYS: keys, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.add(child)
  const exit = once(child, 'exit')
  await Promise.race([once(child.stdout, 'data'), exit])
  return { child, exit }
}
async function stop({ child, exit }: Awaited<ReturnType<typeof start>>): Promise<void> {
  child.kill('SIGTERM')
  expect(await exit).toEqual([0, null])
}
const all = async (): Promise<readonly Task[]> => (await store.list({ limit: 200 })).tasks
const results = (found: readonly Task[]): string[] =>
  found.map(({ result }) => (result === undefined ? 'open' : Buffer.from(result).toString()))
const bodies = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, index) => JSON.stringify({ document: `doc-${from + index}.` }))

test.each(Object.entries(brokers))(
  '%s: a worker killed between the creation of a task and the acknowledgement of its message leaves one task of each message',
  async (_name, [createSender, server]) => {
    const sender = await createSender(server)
    await sender.send(bodies(0, 8))
    const first = await start({ SOURCE: sender.url, DIE_AFTER_CREATES: '3' })
    expect(await first.exit).toEqual([null, 'SIGKILL'])
    const left = await all()
    expect(left.length).toBeGreaterThanOrEqual(3)
    expect(left.length).toBeLessThan(8) // else nothing was under way
    const [second, third] = [await start({ SOURCE: sender.url }), await start({ SOURCE: sender.url })]
    await sender.send(bodies(8, 4))
    await vi.waitUntil(async () => (await all()).filter(({ state }) => state === 'completed').length >= 12, {
      timeout: 60_000,
      interval: 100,
    })
    await stop(second)
    await stop(third)
    const found = await all()
    expect(found).toHaveLength(12)
    for (let index = 0; index < 12; index++)
      expect(results(found).filter((result) => result.includes(`doc-${index}.`))).toHaveLength(1)
    // Each was acknowledged: nothing comes again to who listens next.
    const fourth = await start({ SOURCE: sender.url })
    await sender.send(bodies(12, 1))
    await vi.waitUntil(async () => (await all()).length > 12, { timeout: 60_000, interval: 100 })
    await new Promise((resolve) => setTimeout(resolve, 3500)) // longer than a message that was not deleted from SQS is hidden
    await stop(fourth)
    expect(await all()).toHaveLength(13)
  },
)

test('a schedule that two workers run has one task a time, also when one of them is killed', async () => {
  const [one, two] = [await start({}), await start({})]
  await vi.waitUntil(async () => (await all()).length >= 2, { timeout: 30_000, interval: 100 })
  one.child.kill('SIGKILL')
  const before = (await all()).length
  await vi.waitUntil(async () => (await all()).length >= before + 2, { timeout: 30_000, interval: 100 })
  await stop(two)
  const times = (await all()).map(({ createdMs }) => Math.floor(createdMs / 1000))
  expect(new Set(times).size).toBe(times.length)
})

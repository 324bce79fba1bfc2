import { randomUUID } from 'node:crypto'
import { afterAll, expect, test } from 'vitest'
import { openPostgresQueue } from '../../src/backends/postgres/task-queue.ts'
import { withSchema } from '../../src/backends/postgres/url.ts'
import type { TaskQueue } from '../../src/ports/task-queue.ts'
import { query } from '../servers/postgres.ts'
import { needs, sharedServer } from '../servers/shared.ts'
import { until } from '../servers/tools.ts'
import { startToxiproxy } from '../servers/toxiproxy.ts'

await needs('postgres', 'toxiproxy')
const { url } = await sharedServer('postgres')
const proxies = await startToxiproxy()
afterAll(() => proxies[Symbol.asyncDispose]())

/** A queue that keeps what its listener heard, and how its connection fared. */
async function listening(at: string, queue: string) {
  const bells: (readonly string[])[] = []
  const states: string[] = []
  const end: TaskQueue = await openPostgresQueue(at, {
    onUp: () => states.push('up'),
    onDown: () => states.push('down'),
    onRefused: () => undefined,
  })
  await end.listen([queue], async ({ taskIds }) => void bells.push(taskIds), { credits: 5 })
  return { end, bells, states, [Symbol.asyncDispose]: () => end.close() }
}

test('rings that come together go out together, and reach who listens in another process', async () => {
  const queue = randomUUID()
  await using there = await listening(url, queue)
  await using here = await listening(url, randomUUID())
  const ids = Array.from({ length: 500 }, () => randomUUID())
  await Promise.all(ids.map((id) => here.end.ring(queue, [id])))
  await until('Every bell', 5000, async () => new Set(there.bells.flat()).size === ids.length)
  expect(there.bells.length).toBeLessThan(20)
  expect(here.bells).toEqual([])
})

test('deployments that share a database, each with its schema, do not hear each other', async () => {
  const queue = randomUUID()
  await using one = await listening(withSchema(url, 'one'), queue)
  await using two = await listening(withSchema(url, 'two'), queue)
  await one.end.ring(queue, ['a'])
  await two.end.ring(queue, ['b'])
  await until('Both bells', 5000, async () => one.bells.length > 0 && two.bells.length > 0)
  expect([one.bells, two.bells]).toEqual([[['a']], [['b']]])
})

test('a connection that says nothing any more is replaced, and whoever listens looks for what was missed', async () => {
  const queue = randomUUID()
  const { hostname, port } = new URL(url)
  const link = await proxies.proxy(`bell-${queue}`, { host: hostname, port: Number(port) })
  const through = new URL(url)
  through.host = `${link.host}:${link.port}`
  through.search = '?statementTimeoutMs=500&connectTimeoutMs=500'
  await using there = await listening(through.href, queue)
  await using here = await listening(url, randomUUID())
  expect(there.bells).toEqual([])
  await link.add('timeout', { timeout: 0 })
  await until('The loss', 15_000, async () => there.states.at(-1) === 'down')
  await expect(there.end.ring(queue, [])).rejects.toMatchObject({ code: 'backend_failed' })
  await here.end.ring(queue, ['missed'])
  await link.clear()
  await until('A bell', 15_000, async () => there.bells.length > 0)
  expect(there.bells[0]).toEqual([])
  await here.end.ring(queue, ['heard'])
  await until('The next bell', 5000, async () => there.bells.flat().includes('heard'))
  expect(there.states).toEqual(['up', 'down', 'up'])
}, 40_000)

test('a server that is away is no error of who listens, and closing waits for nobody', async () => {
  const states: string[] = []
  const end = await openPostgresQueue('postgres://nobody@127.0.0.1:1/none?connectTimeoutMs=300', {
    onUp: () => states.push('up'),
    onDown: () => states.push('down'),
    onRefused: () => undefined,
  })
  await end.listen(['q'], async () => undefined, { credits: 1 })
  await expect(end.ring('q', ['a'])).rejects.toMatchObject({ code: 'backend_failed' })
  await end.close()
  expect(states).toEqual(['down'])
})

test('closing leaves no connection behind', async () => {
  const name = `bell${process.pid}`
  const at = new URL(url)
  at.searchParams.set('application_name', name)
  const open = async (): Promise<number> =>
    (await query(url, `select from pg_stat_activity where application_name = '${name}'`)).length
  const one = await listening(at.href, 'q')
  expect(await open()).toBe(1)
  await one.end.ring('q', ['a'])
  await one.end.close()
  await until('The end', 5000, async () => (await open()) === 0)
})

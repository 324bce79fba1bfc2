// What goes on without Redis, how fast, and how soon the rest says so.
import { resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { modern, modernInit, open, openSession, post, send, initializeMessage, type Reply } from '../clients/raw.ts'
import { needs } from '../servers/shared.ts'
import { until } from '../servers/tools.ts'
import { startToxiproxy } from '../servers/toxiproxy.ts'
import { startTestCluster, type TestCluster } from './cluster.ts'
import { startNodes } from './nodes.ts'
import { streamOf, subscribeInit } from './stream-keeper.ts'

await needs('redis', 'toxiproxy')

/** A command is given up after 1 s (`commandTimeoutMs`); the longest request makes a few, one after the other. */
const BOUND_MS = 4000

let cluster: TestCluster
beforeAll(async () => {
  cluster = await startTestCluster({ definition: resolve(import.meta.dirname, 'fixture.ts') })
}, 60_000)
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
})

async function blackHole(): Promise<void> {
  await cluster.link.add('timeout', { timeout: 0 })
  await cluster.link.add('timeout', { timeout: 0 }, { stream: 'upstream' })
}
const heal = async (): Promise<void> => {
  await cluster.link.clear()
  const isUp = async (origin: string): Promise<boolean> =>
    /^holdfast_state_up 1$/m.test(await (await fetch(`${origin}/metrics`)).text())
  await until('The nodes having Redis again', 10_000, async () =>
    (await Promise.all(cluster.nodes.map(({ origin }) => isUp(origin)))).every(Boolean),
  )
}
const callAdd = (url: string): Promise<Reply> => modern(url, 'tools/call', { name: 'add', arguments: { a: 1, b: 2 } })

/** Answers within a time, to clients that call without a pause. */
async function answersWithin(durationMs: number, url: string): Promise<number> {
  const endMs = performance.now() + durationMs
  let answers = 0
  const client = async (): Promise<void> => {
    while (performance.now() < endMs) {
      expect((await callAdd(url)).message?.result).toBeDefined()
      answers++
    }
  }
  await Promise.all(Array.from({ length: 4 }, client))
  return answers
}

test('calls that need no state go on at full speed', async () => {
  await using toxiproxy = await startToxiproxy()
  const other = await toxiproxy.proxy('other', cluster.redis)
  const env = { HOLDFAST_STATE_URL: `redis://${other.host}:${other.port}` }
  await using stack = new AsyncDisposableStack()
  const definition = resolve(import.meta.dirname, 'fixture.ts')
  const [lost] = await startNodes(1, { definition, env })
  stack.use(lost!)
  await other.add('timeout', { timeout: 0 })
  await other.add('timeout', { timeout: 0 }, { stream: 'upstream' })
  const withRedis = cluster.nodes[0]!.url
  await Promise.all([withRedis, lost!.url].map((url) => answersWithin(1500, url))) // warm, and the loss is noticed
  // Turn about in short spells, so that a busy machine slows both alike.
  let [kept, without] = [0, 0]
  for (let spell = 0; spell < 20; spell++) {
    kept += await answersWithin(100, withRedis)
    without += await answersWithin(100, lost!.url)
  }
  expect(without / kept, `${without} answers without Redis, ${kept} with it`).toBeGreaterThan(0.8)
  const startedMs = performance.now()
  expect(await lost!.process.kill('SIGTERM')).toBe(0)
  expect(performance.now() - startedMs).toBeLessThan(BOUND_MS) // it stops in order all the same
}, 60_000)

test('nothing waits longer than its time-out, and what needs state says that it may be tried again', async () => {
  const { url } = cluster
  const session = await openSession(url)
  await blackHole()
  const outcomes: Record<string, string> = {}
  const measure = async (
    name: string,
    ask: () => Promise<{ status: number; message?: Reply['message'] }>,
  ): Promise<void> => {
    const startedMs = performance.now()
    const { status, message } = await ask()
    const data = message?.error?.data
    expect(performance.now() - startedMs, name).toBeLessThan(BOUND_MS)
    if (status >= 500) expect(data, name).toMatchObject({ retryable: true })
    outcomes[name] =
      status < 300 ? (message?.error === undefined ? 'served' : `${data?.['code']}`) : `${status} ${data?.['code']}`
  }
  const opening = (init: Parameters<typeof open>[1]) => async () => {
    const stream = await open(url, init)
    const text = stream.status === 200 ? '' : await stream.text()
    await stream.close()
    return {
      status: stream.status,
      ...(text === '' ? {} : { message: JSON.parse(text) as NonNullable<Reply['message']> }),
    }
  }
  const keyed = { meta: {}, headers: {} }
  const keyedInit = modernInit('tools/call', { name: 'token' }, keyed)
  const keyedBody = JSON.parse(keyedInit.body as string) as { params: { _meta: object } }
  Object.assign(keyedBody.params._meta, { 'dev.holdfast/idempotencyKey': crypto.randomUUID() })
  await Promise.all([
    measure('2026 call', () => callAdd(url)),
    measure('2026 call with idempotency key', () => send(url, { ...keyedInit, body: JSON.stringify(keyedBody) })),
    measure('2026 listen', opening(modernInit('subscriptions/listen', { notifications: { toolsListChanged: true } }))),
    measure('initialize', () => post(url, initializeMessage('2025-11-25'))),
    measure('2025 call', () => session.request('tools/call', { name: 'add', arguments: { a: 1, b: 2 } })),
    measure('2025 call that streams', () =>
      session.request('tools/call', { name: 'count', arguments: { to: 2, everyMs: 10 }, _meta: { progressToken: 1 } }),
    ),
    measure('2025 GET stream', opening(streamOf(session.headers)(undefined))),
    measure('resources/subscribe', () => send(url, subscribeInit(session.headers, 'board://one'))),
    measure('DELETE', () => session.end()),
  ])
  await heal()
  expect(outcomes).toMatchObject({
    '2026 call': 'served',
    '2026 call with idempotency key': '503 state_unavailable',
    initialize: 'served',
    '2025 call': 'served',
    '2025 call that streams': 'served',
    '2025 GET stream': '503 state_unavailable',
    '2026 listen': '503 state_unavailable',
    'resources/subscribe': '503 state_unavailable',
    DELETE: '503 state_unavailable',
  })
}, 60_000)

// Deploys: all nodes are restarted one after the other, under load, behind a real HAProxy.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openSession } from '../clients/raw.ts'
import { startHaproxy } from '../servers/haproxy.ts'
import { needs } from '../servers/shared.ts'
import { until } from '../servers/tools.ts'
import { History, judge } from './history.ts'
import { Load } from './load.ts'
import { isReady, startNodes, type ClusterNode } from './nodes.ts'
import { longCall, sessionCalls, statelessCall, streamedCall } from './operations.ts'
import { listenTo, StreamKeeper, streamOf } from './stream-keeper.ts'

await needs('haproxy')

const FIXTURE = resolve(import.meta.dirname, 'fixture.ts')
/** HAProxy asks every 500 ms and needs two bad answers. */
const DRAIN_DELAY_MS = 2000

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdfast-rolling-'))
})
afterEach(async () => {
  await rm(dir, { recursive: true, force: true })
})

async function restart(node: ClusterNode): Promise<void> {
  expect(await node.process.kill('SIGTERM')).toBe(0)
  await node.process.start()
  await sleep(1000) // the balancer asks the node, and finds it ready
}

test('a rolling restart behind HAProxy loses no call, no session and no stream, without one retry by a client', async () => {
  await using stack = new AsyncDisposableStack()
  const env = { HOLDFAST_DRAIN_DELAY_MS: String(DRAIN_DELAY_MS) }
  const nodes = await startNodes(3, { definition: FIXTURE, env })
  for (const node of nodes) stack.use(node)
  const haproxy = stack.use(await startHaproxy(nodes.map(({ host, port }) => `${host}:${port}`)))
  await until('All nodes being ready', 5000, async () =>
    (await Promise.all(nodes.map(({ origin }) => isReady(origin)))).every(Boolean),
  )
  const url = `${haproxy.origin}/mcp`
  const { headers } = await openSession(url)
  const keepers = [new StreamKeeper(url, streamOf(headers)), new StreamKeeper(url, listenTo('board://one'))]
  const history = new History(join(dir, 'history'))
  const load = new Load(url, history, { maxTries: 1, timeoutMs: 10_000 })
  for (let index = 0; index < 4; index++) load.add('2026 call', index, 10, statelessCall)
  for (let index = 0; index < 3; index++) load.add('2026 call of 2 s', index, 10, longCall(2000))
  for (let index = 0; index < 4; index++) load.add('2025 session', index, 10, sessionCalls({ checkEnd: false }))
  for (let index = 0; index < 2; index++) load.add('2025 call with progress', index, 10, streamedCall(10, 100))
  await sleep(500)
  for (const node of nodes) await history.fault('restart', () => restart(node))
  await load.stop()
  for (const keeper of keepers) await keeper.close()
  const verdict = judge(history.file)
  expect(verdict.problems).toEqual([])
  expect(verdict.tries).toMatchObject({ retry: 0, broken: 0, late: 0, bad: 0 })
  for (const { ok } of Object.values(verdict.operations)) expect(ok).toBeGreaterThan(5)
  for (const { connections, rudeEnds, problems } of keepers) {
    expect(connections).toBeGreaterThan(1)
    expect(problems).toEqual([])
    expect(rudeEnds).toBe(1) // our own
  }
}, 60_000)

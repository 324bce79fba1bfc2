// Everything that can break, once, under load. `npm run test:cluster` goes on for as long as is asked.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { needs } from '../servers/shared.ts'
import { FAULTS, runChaos } from './chaos.ts'
import { startTestCluster, type TestCluster } from './cluster.ts'
import { History, judge, type HistoryEvent } from './history.ts'

await needs('redis', 'toxiproxy')

let dir: string
let cluster: TestCluster
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdfast-chaos-'))
  cluster = await startTestCluster({ definition: resolve(import.meta.dirname, 'fixture.ts') })
}, 60_000)
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
  await rm(dir, { recursive: true, force: true })
})

test('whatever breaks, clients are told to try again, a retry succeeds, and streams hear of the next change', async () => {
  const seed = 20_260_728
  const verdict = await runChaos(cluster, new History(join(dir, 'history')), { seed, faults: Object.keys(FAULTS) })
  expect(verdict.problems).toEqual([])
  expect(verdict.tries.bad).toBe(0)
  for (const [name, { times, hits }] of Object.entries(verdict.faults)) {
    expect(times, name).toBe(1)
    expect(hits, `${name} must have hit requests under way`).toBeGreaterThan(0)
  }
  for (const [name, { ok, failed }] of Object.entries(verdict.operations)) {
    expect(ok, name).toBeGreaterThan(3)
    expect(failed, name).toBe(0)
  }
}, 120_000)

/** A history of one operation with one try, and perhaps a fault from 1 to 2 s. */
function verdictOf(events: Partial<HistoryEvent>[], mayBeLate: string[] = []): string[] {
  const history = new History(join(dir, `${Math.random()}`))
  for (const event of events) history.write({ process: 'p', op: 'call', opId: 1, phase: 'ok', ...event })
  return judge(history.file, mayBeLate).problems
}

test('the verdict sees what must not be', () => {
  const [invoke, ok] = [{ phase: 'invoke' }, { phase: 'ok' }] as const
  const [begin, end] = [
    { op: 'pause', opId: 2, phase: 'begin' },
    { op: 'pause', opId: 2, phase: 'end' },
  ] as const
  const tried = (outcome: HistoryEvent['outcome']) => ({ phase: 'try', outcome: outcome!, ms: 5, why: 'why' }) as const
  expect(verdictOf([invoke, tried('ok'), ok])).toEqual([])
  expect(verdictOf([begin, invoke, tried('retry'), tried('broken'), tried('ok'), ok, end])).toEqual([])
  expect(verdictOf([invoke, tried('retry'), ok]).join()).toContain('while nothing was broken')
  expect(verdictOf([begin, invoke, tried('bad'), ok, end]).join()).toContain('why')
  expect(verdictOf([begin, invoke, tried('late'), ok, end]).join()).toContain('hung')
  expect(verdictOf([begin, invoke, tried('late'), ok, end], ['pause'])).toEqual([])
  expect(verdictOf([invoke, tried('ok'), { phase: 'fail', why: 'why' }]).join()).toContain('failed for good')
  expect(verdictOf([invoke, tried('ok')]).join()).toContain('never ended')
})

// The schedule of faults, without anything to break.
import { expect, test } from 'vitest'
import type { QueueBackend, StoreBackend } from './backends/backend.ts'
import { Links } from './backends/links.ts'
import { backendFaults, FIRST, processFaults, schedule, type Victims } from './nemesis.ts'
import type { ChaosProcess } from './processes/chaos-process.ts'
import { CRASH_POINTS } from './processes/crash.ts'

const members = (role: string, count: number): ChaosProcess[] =>
  Array.from({ length: count }, (_, index) => ({ name: `${role}-${index + 1}` }) as ChaosProcess)
const backend = (name: string) =>
  ({
    links: new Links({} as never, name, { host: '127.0.0.1', port: 1 }),
    faults: { [`${name} paused`]: async () => undefined },
  }) as unknown as StoreBackend & QueueBackend
const VICTIMS: Victims = {
  workers: members('worker', 4),
  nodes: members('node', 3),
  store: backend('store'),
  queue: backend('broker'),
  leaseMs: 2000,
}
const LANES = [processFaults(VICTIMS), backendFaults(VICTIMS)]

/** What a seed has planned, as far as it is looked at. */
function planned(lane: (typeof LANES)[number], seed: number, count: number, first?: readonly string[]): unknown[] {
  return schedule(lane, seed, first)
    .take(count)
    .map(({ name, targets, lastingMs, pauseMs }) => ({ name, targets, lastingMs, pauseMs }))
    .toArray()
}

test('a seed gives the same schedule again, and another seed another one', () => {
  for (const lane of LANES) {
    expect(planned(lane, 7, 100)).toEqual(planned(lane, 7, 100))
    expect(planned(lane, 7, 100)).not.toEqual(planned(lane, 8, 100))
  }
})

test('each fault comes once before any comes again, whatever comes first', () => {
  for (const [lane, first] of [[LANES[0]!, FIRST], [LANES[1]!]] as const) {
    const names = schedule(lane, 3, first)
      .take(lane.length * 2)
      .map(({ name }) => name)
      .toArray()
    const all = lane.map(({ name }) => name).sort()
    expect(names.slice(0, lane.length).sort()).toEqual(all)
    expect(names.slice(lane.length).sort()).toEqual(all)
    expect(new Set(all).size).toBe(lane.length)
  }
  expect(
    schedule(LANES[0]!, 3, FIRST)
      .take(2)
      .map(({ name }) => name)
      .toArray(),
  ).toEqual(FIRST)
})

test('every crash point is struck, and every process can be a target', () => {
  const strikes = schedule(LANES[0]!, 11).take(400).toArray()
  for (const point of Object.keys(CRASH_POINTS))
    expect(strikes.some(({ name }) => name === `killed ${point}`)).toBe(true)
  const struck = new Set(strikes.flatMap(({ targets }) => targets))
  expect([...struck].sort()).toEqual([...VICTIMS.workers, ...VICTIMS.nodes].map(({ name }) => name).sort())
})

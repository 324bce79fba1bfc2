import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, expect, test } from 'vitest'
import { eventually } from '../clients/eventually.ts'
import { withOptions } from '../contracts/redis.ts'
import { sharedServer } from '../servers/shared.ts'
import type { Answered, Asked } from './node-process.ts'

const url = withOptions(await sharedServer('redis'), `killed-${process.pid}`)
const folder = mkdtempSync(join(tmpdir(), 'holdfast-killed-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const children = new Set<ChildProcess>()
afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
  children.clear()
})

async function start(): Promise<ChildProcess> {
  const child = fork(new URL('./node-process.ts', import.meta.url), [url], { execArgv: [] })
  children.add(child)
  await once(child, 'message')
  return child
}
function ask(child: ChildProcess, asked: Asked): Promise<Answered> {
  const answer = once(child, 'message').then(([message]) => message as Answered)
  child.send(asked)
  return answer
}
let count = 0
function work(more: Partial<Asked> = {}): { asked: Asked; computed(): string[] } {
  const key = `k${++count}`
  const file = join(folder, key)
  writeFileSync(file, '')
  return {
    asked: { key, file, callers: 1, workMs: 50, maxFlightMs: 30_000, ...more },
    computed: () => readFileSync(file, 'utf8').split('\n').slice(0, -1),
  }
}

test('a thousand callers in three processes compute once', async () => {
  const nodes = await Promise.all([start(), start(), start()])
  for (const tags of [[], ['a', 'b']]) {
    const { asked, computed } = work({ callers: 334, workMs: 300, ...(tags.length > 0 && { tags }) })
    const answers = await Promise.all(nodes.map((node) => ask(node, asked)))
    expect(computed()).toHaveLength(1)
    for (const { values, unled } of answers) expect([values, unled]).toEqual([[`by ${computed()[0]}`], 0])
  }
})

test('when the process that computes is killed another takes over, once, long before the flight is overdue', async () => {
  const [leader, ...others] = await Promise.all([start(), start(), start()])
  const { asked, computed } = work({ callers: 100, workMs: undefined })
  void ask(leader, asked).catch(() => undefined)
  await eventually(computed).toHaveLength(1)
  const answers = others.map((node) => ask(node, { ...asked, workMs: 50 }))
  // They have found it led, and wait.
  await new Promise((resolve) => setTimeout(resolve, 500))
  expect(computed()).toHaveLength(1)
  leader.kill('SIGKILL')
  const [one, two] = await Promise.all(answers)
  expect(computed()).toHaveLength(2)
  expect([one!.values, two!.values]).toEqual([[`by ${computed()[1]}`], [`by ${computed()[1]}`]])
  // A lease of five seconds, and a look of one and a half at most.
  for (const { tookMs, unled } of [one!, two!]) {
    expect(tookMs).toBeLessThan(12_000)
    expect(unled).toBe(0)
  }
}, 40_000)

test('a process that stands still is waited for until its lease is over, and harms nothing when it wakes', async () => {
  const [frozen, other] = await Promise.all([start(), start()])
  const { asked, computed } = work({ workMs: 400, tags: ['t'] })
  const late = ask(frozen, asked)
  await eventually(computed).toHaveLength(1)
  frozen.kill('SIGSTOP')
  const { values } = await ask(other, { ...asked, workMs: 0 })
  expect(values).toEqual([`by ${other.pid}`])
  frozen.kill('SIGCONT')
  await late
  expect(computed()).toEqual([String(frozen.pid), String(other.pid)])
  const after = await Promise.all([frozen, other].map((node) => ask(node, asked)))
  for (const {
    values: [value],
  } of after)
    expect(value).toMatch(/^by/)
  expect(computed()).toHaveLength(2)
}, 40_000)

test('nobody waits for longer than the flight may take, though its leader lives and never ends', async () => {
  const [leader, other] = await Promise.all([start(), start()])
  const { asked, computed } = work({ workMs: undefined, maxFlightMs: 1_000 })
  void ask(leader, asked).catch(() => undefined)
  await eventually(computed).toHaveLength(1)
  const { values, tookMs, unled } = await ask(other, { ...asked, callers: 50, workMs: 0 })
  expect(values).toEqual([`by ${other.pid}`])
  expect(tookMs).toBeGreaterThan(900)
  expect(tookMs).toBeLessThan(5_000)
  expect(unled).toBe(1)
  expect(computed()).toHaveLength(2)
})

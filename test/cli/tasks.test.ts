import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { openSqlite, type SqliteTaskStore } from '../../src/backends/sqlite/task-store.ts'
import { Progress } from '../../src/cli/progress.ts'
import { redriveTasks } from '../../src/cli/redrive.ts'
import { age, table } from '../../src/cli/table.ts'
import type { DeadReason } from '../../src/ports/task-store.ts'
import { runCli } from './cli.ts'
import { newTask } from '../support/new-task.ts'

vi.setConfig({ testTimeout: 60_000 }) // each command is a process

const bytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))
let folder: string
let url: string
let store: SqliteTaskStore
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-tasks-cli-'))
  url = `sqlite:${folder}/tasks.db`
  store = await openSqlite(url)
})
afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true })
})

async function add(tool = 'report', queue = 'default'): Promise<string> {
  const { task } = await store.create(newTask({ owner: 'owner', tool, queue, ttlMs: 3_600_000 }))
  return task.id
}
async function claim(tool = 'report', queue = 'default'): Promise<{ id: string; fence: number }> {
  const token = randomUUID()
  const request = { worker: 'w', token, queue, tools: [tool], handlerRevisions: [], limit: 1, leaseMs: 60_000 }
  return (await store.claim(request))[0]!
}
async function addDead(dead: DeadReason = 'crashes', tool = 'report', queue = 'default'): Promise<string> {
  await add(tool, queue)
  const { id, fence } = await claim(tool, queue)
  await store.finish([{ id, fence, state: 'failed', error: bytes({ code: -32603, message: 'It crashed.' }), dead }])
  return id
}
const cli = (...args: string[]) => runCli(['tasks', ...args], { HOLDFAST_TASKS_URL: url })
const json = async (...args: string[]): Promise<unknown[]> => {
  const { stdout } = await cli(...args, '--json')
  return stdout.trim().split('\n').map((line) => JSON.parse(line) as unknown) // prettier-ignore
}

describe('holdfast tasks list', () => {
  test('shows tasks in a table, the newest first, with what is to be known of each', async () => {
    const dead = await addDead()
    const asking = await add('interview', 'slow')
    const { fence } = await claim('interview', 'slow')
    await store.park(asking, fence, { asks: [{ name: 'format', request: bytes('?') }] })
    const { code, stdout } = await cli('list')
    expect(code).toBe(0)
    const lines = stdout.split('\n')
    expect(lines[0]).toMatch(/^ID +STATE +TOOL +QUEUE +AGE +RETRIES +CRASHES +NOTE$/)
    expect(lines[1]).toMatch(new RegExp(`^${asking} +parked +interview +slow +\\d+s +0 +0 +asks format$`))
    expect(lines[2]).toMatch(new RegExp(`^${dead} +failed +report +default +\\d+s +0 +0 +dead: crashes$`))
  })

  test('of one state, tool or queue, dead letters alone, page by page', async () => {
    const dead = await addDead()
    const ready = [await add(), await add('other'), await add('other', 'slow')]
    const idsOf = async (...args: string[]): Promise<string[]> =>
      ((await json('list', ...args))[0] as { tasks: { id: string }[] }).tasks.map(({ id }) => id)
    expect(await idsOf('--dead')).toEqual([dead])
    // Made within a millisecond they have no order.
    expect((await idsOf('--state', 'ready')).toSorted()).toEqual(ready.toSorted())
    expect(await idsOf('--tool', 'other', '--queue', 'slow')).toEqual([ready[2]])
    const first = await cli('list', '--limit', '3')
    const cursor = /There are more: --cursor (\S+)/.exec(first.stdout)![1]!
    expect(await idsOf('--cursor', cursor)).toEqual([dead])
    expect((await cli('list', '--state', 'cancelled')).stdout).toBe('There are no such tasks.\n')
  })

  test('what clients wrote does not steer the terminal', async () => {
    await add('\u001b[2Jevil\n')
    const { stdout } = await cli('list')
    expect(stdout).toContain('·[2Jevil·')
    expect(stdout).not.toContain('\u001b')
  })
})

describe('holdfast tasks show', () => {
  test('says how a task fares, what is on record of it, and how it ended', async () => {
    const id = await add()
    const { fence } = await claim()
    await store.recordStep({ id, fence, name: 'orders', value: bytes([1, 2]), leaseMs: 60_000 })
    await store.park(id, fence, { asks: [{ name: 'format', request: bytes('?') }] })
    const { stdout } = await cli('show', id)
    expect(stdout).toMatch(/^task +\S+\nstate +parked\ntool +report\n/)
    expect(stdout).toMatch(/\nexpires +\S+Z, in 59m\n|\nexpires +\S+Z, in 1h\n/)
    expect(stdout).toMatch(/\n {2}ON RECORD +KIND +VALUE\n {2}orders +step +5 bytes\n {2}format +ask +no answer yet\n/)
    const dead = await addDead()
    const shown = (await cli('show', dead)).stdout
    expect(shown).toMatch(/\nstate +failed, a dead letter: crashes\n/)
    expect(shown).toMatch(/\nerror +It crashed\. \(-32603\)\n/)
    expect(shown).toContain(`holdfast tasks redrive ${dead}`)
    expect(await json('show', dead)).toMatchObject([
      { id: dead, dead: 'crashes', error: { message: 'It crashed.' }, result: null, journal: [] },
    ])
  })

  test('a task that is not there is an error', async () => {
    const id = randomUUID()
    const { code, stderr } = await cli('show', id)
    expect([code, stderr]).toEqual([1, expect.stringContaining(`There is no task ${id}.`)])
  })
})

describe('holdfast tasks cancel', () => {
  test('ends what nobody is at, tells who is at it, and leaves what has ended', async () => {
    const dead = await addDead()
    await add()
    const held = await claim()
    const ready = await add()
    const { code, stdout } = await cli('cancel', ready, held.id)
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^${ready} is cancelled\\.\n${held.id} is at a worker, which is told`))
    expect((await store.get(ready, 'owner'))?.state).toBe('cancelled')
    expect(await store.heartbeat('w', [held], 60_000)).toMatchObject([{ cancel: true }])
    expect((await cli('cancel', dead)).code).toBe(1)
    const unknown = randomUUID()
    expect(await json('cancel', unknown, dead)).toEqual([
      { id: unknown, outcome: 'unknown' },
      { id: dead, outcome: 'ended' },
    ])
  })
})

describe('holdfast tasks redrive', () => {
  test('starts a dead letter again as a new task, once, however often it is said', async () => {
    const dead = await addDead()
    const { code, stdout } = await cli('redrive', dead)
    expect(code).toBe(0)
    const newId = new RegExp(`^${dead} is tried again, as (\\S+)\\.\n$`).exec(stdout)![1]!
    expect(await store.get(newId, 'owner')).toMatchObject({ state: 'ready', tool: 'report' })
    expect((await store.get(dead, 'owner'))?.state).toBe('failed')
    expect((await cli('redrive', dead)).stdout).toBe(`${dead} was tried again before, as ${newId}.\n`)
    expect((await store.list({ limit: 10 })).tasks).toHaveLength(2)
    const alive = await cli('redrive', newId)
    expect([alive.code, alive.stdout]).toEqual([1, `${newId} is no dead letter.\n`])
  })

  test('all dead letters, or those of a tool, a queue, a reason; again it starts none twice', async () => {
    const crashed = [await addDead(), await addDead()]
    const other = await addDead('expired', 'other', 'slow')
    expect((await cli('redrive', '--all-dead', '--tool', 'other', '--queue', 'default')).stdout).toBe(
      '0 of 0 dead letters are tried again.\n',
    )
    const expired = (await json('redrive', '--all-dead', '--reason', 'expired')) as { id: string }[]
    expect(expired).toEqual([{ id: other, newId: expect.any(String) as string, outcome: 'redriven' }])
    const { code, stdout } = await cli('redrive', '--all-dead')
    expect([code, stdout]).toEqual([0, '2 of 3 dead letters are tried again; 1 had been before.\n'])
    expect((await store.list({ limit: 100, state: 'ready' })).tasks).toHaveLength(3)
    expect(crashed).toHaveLength(2)
  })

  test('where a terminal waits, a bar shows how far it is, beside what is printed', async () => {
    for (let index = 0; index < 3; index++) await addDead()
    const [shown, printed] = [[] as string[], [] as string[]]
    const noting = (lines: string[]) => (text: unknown) => lines.push(String(text)) > 0
    vi.spyOn(process.stderr, 'write').mockImplementation(noting(shown))
    vi.spyOn(process.stdout, 'write').mockImplementation(noting(printed))
    const wasTTY = process.stderr.isTTY
    process.stderr.isTTY = true
    try {
      await redriveTasks([], { allDead: true, tasks: url })
    } finally {
      process.stderr.isTTY = wasTTY
      vi.restoreAllMocks()
    }
    expect(shown[0]).toMatch(/^\rredriving [█░]{30} 1\/3 33 %$/)
    expect(shown.slice(-2)).toEqual([expect.stringMatching(/ 3\/3 100 %$/), '\r\u001b[K'])
    expect(printed).toEqual(['3 of 3 dead letters are tried again.\n'])
  })

  test.each([
    [[], 'Name dead letters by their ids, or all of them by --all-dead.'],
    [['x', '--all-dead'], 'Name dead letters by their ids, or all of them by --all-dead.'],
    [['x', '--tool', 't'], 'they go with --all-dead.'],
  ])('%j is refused, with what to write', async (args, problem) => {
    const { code, stderr } = await cli('redrive', ...args)
    expect([code, stderr]).toEqual([1, expect.stringContaining(problem)])
  })
})

describe('which store', () => {
  test('a file that is not there is an error: it would show no tasks', async () => {
    const { code, stderr } = await runCli(['tasks', 'list'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error: There is no file .*tasks\.db: name the store of the tasks with --tasks/)
  })

  test('a flag goes before a variable; an unknown scheme is an error', async () => {
    const id = await add()
    const listed = await runCli(['tasks', 'list', '--tasks', url, '--json'], { HOLDFAST_TASKS_URL: 'sqlite:other.db' })
    expect(JSON.parse(listed.stdout)).toMatchObject({ tasks: [{ id }] })
    const wrong = await cli('list', '--tasks', 'mysql://u:secret@h/d')
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('"mysql:"; there are sqlite:')])
    expect(wrong.stderr).not.toContain('secret')
  })

  test('what is wrongly said is told with what there is', async () => {
    const { code, stderr } = await cli('list', '--state', 'done')
    expect(code).toBe(2)
    expect(stderr).toContain('Allowed choices are ready, leased, parked')
    expect((await cli('list', '--limit', '0')).stderr).toContain('1 to 1000')
  })
})

test('a table fits the terminal: what is too long is cut', () => {
  const rows = [
    { a: 'x', b: 'y'.repeat(30) },
    { a: 'long one', b: '' },
  ]
  const text = table<(typeof rows)[number]>([['A', ({ a }) => a], ['B', ({ b }) => b]], rows, 20) // prettier-ignore
  expect(text).toBe(`A         B\nx         ${'y'.repeat(9)}…\nlong one\n`)
})

test('an age is said in its biggest unit', () => {
  expect([0, 59_000, 61_000, 7_300_000, 200_000_000].map(age)).toEqual(['0s', '59s', '1m', '2h', '2d'])
})

test('a progress bar moves on a terminal, ends whole, and leaves nothing; elsewhere there is none', () => {
  const written: string[] = []
  const bar = (isTTY: boolean): Progress =>
    new Progress('redriving', 4, { isTTY, write: (text: string) => written.push(text) })
  const shown = bar(true)
  for (const done of [1, 2, 4]) shown.update(done)
  shown.end()
  expect(written).toEqual([
    expect.stringMatching(/^\rredriving █{7}░{23} 1\/4 25 %$/),
    expect.stringMatching(/^\rredriving █{30} 4\/4 100 %$/),
    '\r\u001b[K',
  ])
  written.length = 0
  bar(false).update(4)
  bar(false).end()
  expect(written).toEqual([])
})

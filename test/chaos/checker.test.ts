// The checker is held to histories written by hand: good ones pass, and for each invariant there is one that fails by its name.
import { mkdtemp, rm } from 'node:fs/promises'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { check, checkFile } from './checker.ts'
import { INVARIANTS } from './check/invariants.ts'
import { HistoryWriter, type About, type ChaosEvent, type Op } from './history.ts'

/** Writes a history, one event a millisecond. */
class Story {
  readonly events: ChaosEvent[] = []
  #t = 0
  #count = 0

  /** Time without events. */
  pass(ms: number): this {
    this.#t += ms
    return this
  }
  note(process: string, op: Op, about: About = {}): this {
    return this.#add(process, op, 'ok', ++this.#count, about)
  }
  /** Begins and ends `ok` with `value`; `between` happens meanwhile. */
  fails(process: string, op: Op, about: About): this {
    const id = ++this.#count
    this.#add(process, op, 'invoke', id, about)
    return this.#add(process, op, 'fail', id, about)
  }
  does(process: string, op: Op, about: About, value: unknown, between: (story: this) => void = () => undefined): this {
    const id = ++this.#count
    this.#add(process, op, 'invoke', id, about)
    between(this)
    return this.#add(process, op, 'ok', id, { ...about, value })
  }
  begins(process: string, op: Op, about: About): this {
    return this.#add(process, op, 'invoke', ++this.#count, about)
  }
  #add(process: string, op: Op, phase: ChaosEvent['phase'], id: number, about: About): this {
    this.events.push({ t: ++this.#t, process, op, opId: String(id), phase, ...about })
    return this
  }
}

const SETTINGS = { store: 'sqlite', queue: 'store', seed: 1, leaseMs: 2000, retentionMs: 30_000, skewMs: 1000 }
const CREATION = { owner: 'ann', kind: 'steps', maxAttempts: 3, maxCrashes: 2 }
const task = 't'
const RESULT = { fence: 3, one: 1, name: 'Bo' }
const OPEN = { state: 'working' }
const DONE = { state: 'completed', result: RESULT }
const ROW = { state: 'completed', fence: 3, doneFence: 3, attempts: 0, crashes: 1, result: 'digest' }
const CANCELLED_ROW = { state: 'cancelled', fence: 1, doneFence: 1, attempts: 0, crashes: 0 }

/** In place of an answer: none was delivered. */
const NEVER = Symbol('never')

/** What may be told otherwise in a mutant. */
interface Changes {
  firstFence?: number
  secondFence?: number
  beforeEnd?: (story: Story) => void
  afterEnd?: (story: Story) => void
  /** What the second holder does with the step. */
  step?: (story: Story) => void
  deliver?: unknown
  finish?: (story: Story) => void
  row?: object
  rest?: Record<string, number>
  isCut?: boolean
  hasFault?: boolean
}

/** A worker is killed after a step, another one takes the task over, asks, and completes it; a second task is cancelled at once. */
function tell({
  firstFence = 1,
  secondFence = 2,
  deliver = 'Bo',
  hasFault = true,
  ...changes
}: Changes = {}): ChaosEvent[] {
  const story = new Story()
  story.begins('nemesis', 'run', { value: SETTINGS })
  story.does('client-1', 'create', { value: CREATION }, undefined)
  const create = story.events.at(-1)!
  story.events[story.events.length - 1] = { ...create, task }
  claim(story, 'worker-1', firstFence)
  story.note('worker-1', 'enter', { task, fence: firstFence })
  step(story, 'worker-1', firstFence)
  if (hasFault)
    story.does(
      'nemesis',
      'fault',
      { value: { name: 'worker killed', targets: ['worker-1'], part: 'process' } },
      undefined,
    )
  story.does('client-1', 'read', { task }, OPEN).pass(2500)
  claim(story, 'worker-2', secondFence)
  story.note('worker-2', 'enter', { task, fence: secondFence })
  if (changes.step === undefined) story.note('worker-2', 'use', { task, fence: secondFence, name: 'one', value: 1 })
  else changes.step(story)
  story.does('worker-2', 'park', { task, fence: secondFence }, 'parked')
  story.does('client-1', 'answer', { task, name: 'name', value: 'Bo' }, undefined)
  claim(story, 'worker-2', 3)
  story.note('worker-2', 'enter', { task, fence: 3 })
  story.note('worker-2', 'use', { task, fence: 3, name: 'one', value: 1 })
  if (deliver !== NEVER) story.note('worker-2', 'deliver', { task, fence: 3, name: 'name', value: deliver })
  story.note('worker-2', 'leave', { task, fence: 3, value: RESULT })
  changes.beforeEnd?.(story)
  if (changes.finish === undefined)
    story.does('worker-2', 'finish', { task, fence: 3, value: { state: 'completed', result: 'digest' } }, 'done')
  else changes.finish(story)
  story.does('client-1', 'read', { task }, DONE)
  story.does('client-2', 'peek', { task }, { state: 'missing' })
  changes.afterEnd?.(story)
  story.note('auditor', 'row', { task, value: changes.row ?? ROW })
  // The other task.
  story.does('client-2', 'create', { task: 'c', value: CREATION }, undefined)
  story.does('node-1', 'cancel-met', { task: 'c' }, 'cancelled')
  story.note('auditor', 'row', { task: 'c', value: CANCELLED_ROW })
  story.pass(31_000).does('client-1', 'read', { task }, { state: 'missing' })
  story.note('auditor', 'rest', { value: changes.rest ?? { rows: 0, journals: 0 } })
  if (changes.isCut !== true) story.events.push({ ...story.events[0]!, t: 99_999, phase: 'ok' })
  return story.events
}

const claim = (story: Story, process: string, fence: number): Story =>
  story.does(
    process,
    'claim',
    { task, fence, value: { token: `${process} ${fence} ${story.events.length}` } },
    undefined,
  )
const step = (story: Story, process: string, fence: number): Story =>
  story
    .note(process, 'run-step', { task, fence, name: 'one' })
    .does(process, 'record', { task, fence, name: 'one', value: 1 }, 'recorded')
    .note(process, 'use', { task, fence, name: 'one', value: 1 })

test('a history in which everything is as it should be has no problems, and is counted', () => {
  const { problems, counts, faults } = check(tell())
  expect(problems).toEqual([])
  expect(counts).toMatchObject({ tasks: 2, completed: 1, cancelled: 1, claims: 3, takeovers: 1, steps: 1, answers: 1 })
  expect(faults).toEqual({ 'worker killed': { times: 1, failed: 0, hits: 1 } })
})

test('what may be is no problem: stale holders that are refused, unknown outcomes, reads beside an end, late answers', () => {
  const late = (story: Story): void => {
    story.note('worker-1', 'run-step', { task, fence: 1, name: 'two' })
    story.does('worker-1', 'record', { task, fence: 1, name: 'two', value: 2 }, 'lost')
    story.note('worker-1', 'leave', { task, fence: 1, value: { fence: 1 } })
    story.does('worker-1', 'finish', { task, fence: 1, value: { state: 'completed', result: 'other' } }, 'lost')
    story.begins('client-3', 'create', { value: CREATION })
    story.does('client-1', 'answer', { task, name: 'name', value: 'Cy' }, undefined)
    // An end that a read overlaps may be seen by it or not.
    story.does('client-3', 'read', { task }, OPEN, () => story.does('client-4', 'read', { task }, OPEN))
  }
  const { problems, counts } = check(tell({ beforeEnd: late }))
  expect(problems).toEqual([])
  expect(counts).toMatchObject({ refusedWrites: 2, unknownCreations: 1 })
})

const MUTANTS: Record<string, Record<string, ChaosEvent[]>> = {
  'every acknowledged task ends': {
    'a task that is never heard of again': tell({
      afterEnd: (story) => story.does('client-1', 'create', { task: 'gone', value: CREATION }, undefined),
    }),
    'a task that stays open': tell({
      afterEnd: (story) => {
        story.does('client-1', 'create', { task: 'open', value: CREATION }, undefined)
        story.note('auditor', 'row', { task: 'open', value: { state: 'leased', fence: 1, attempts: 0, crashes: 0 } })
      },
    }),
  },
  'a task ends once': {
    'two ends': tell({
      afterEnd: (story) => story.does('client-1', 'read', { task }, { state: 'failed', error: 'lost' }),
    }),
    'an end that is taken back': tell({ afterEnd: (story) => story.does('client-1', 'read', { task }, OPEN) }),
    'a result that changes': tell({
      afterEnd: (story) => story.does('client-1', 'read', { task }, { ...DONE, result: { ...RESULT, one: 2 } }),
    }),
    'a row that changes': tell({
      afterEnd: (story) => story.note('auditor', 'row', { task, value: { ...ROW, crashes: 0 } }),
    }),
    'two writes of an end that were both told it was done': tell({
      afterEnd: (story) =>
        story.does('worker-1', 'finish', { task, fence: 1, value: { state: 'completed', result: 'digest' } }, 'done'),
    }),
  },
  'a task stays readable': {
    'a task that is missing at once': tell({
      beforeEnd: (story) => story.does('client-1', 'read', { task }, { state: 'missing' }),
    }),
    'a task that is missing before its time': tell({
      afterEnd: (story) => story.pass(20_000).does('client-1', 'read', { task }, { state: 'missing' }),
    }),
  },
  'fences rise': {
    'a fence given twice': tell({ secondFence: 1 }),
    'a fence that falls': tell({ firstFence: 3, secondFence: 2 }),
  },
  'handlers hold their claim': {
    'a handler that nobody claimed for': tell({
      beforeEnd: (story) => story.note('worker-3', 'enter', { task, fence: 3 }),
    }),
  },
  "the result is the holder's": {
    'an end that a stale holder wrote': tell({
      finish: (story) =>
        story.does('worker-1', 'finish', { task, fence: 1, value: { state: 'completed', result: 'digest' } }, 'done'),
    }),
    'a result of somebody else': tell({ row: { ...ROW, doneFence: 2 } }),
    'a result that is not what was sent': tell({ row: { ...ROW, result: 'another' } }),
    'a result that no handler returned': tell({
      afterEnd: (story) => story.does('client-1', 'read', { task }, { ...DONE, result: { fence: 3, one: 7 } }),
    }),
    'a completion that no claim has written': tell({ row: { ...ROW, fence: 4, doneFence: 4 } }),
  },
  'tasks end well': {
    'a task that fails though nothing in it does': tell({
      row: { ...ROW, state: 'failed', dead: 'error', result: undefined },
    }),
    'a completion without a result': tell({
      afterEnd: (story) => story.does('client-1', 'read', { task }, { state: 'completed' }),
    }),
  },
  'attempts are bounded': {
    'more attempts than allowed': tell({ row: { ...ROW, attempts: 4 } }),
    'more crashes than allowed': tell({ row: { ...ROW, crashes: 4 } }),
    'more claims than anything accounts for': tell({
      beforeEnd: (story) => {
        for (let fence = 10; fence < 25; fence++) claim(story, 'worker-4', fence)
      },
      row: { ...ROW, doneFence: 30, state: 'failed', dead: 'crashes', result: undefined },
    }),
  },
  'steps are recorded once': {
    'a step on record twice': tell({ step: (story) => step(story, 'worker-2', 2) }),
    'a step that runs again although it is on record': tell({
      step: (story) => story.note('worker-2', 'run-step', { task, fence: 2, name: 'one' }),
    }),
    'a value that is not what is on record': tell({
      step: (story) => story.note('worker-2', 'use', { task, fence: 2, name: 'one', value: 2 }),
    }),
  },
  'answers stay as they were accepted': {
    'an answer that nobody gave': tell({ deliver: 'Di' }),
    'an answer that changes': tell({
      beforeEnd: (story) => story.note('worker-2', 'deliver', { task, fence: 3, name: 'name', value: 'Cy' }),
    }),
    'a second answer that takes the place of the first': tell({
      beforeEnd: (story) => story.does('client-1', 'answer', { task, name: 'more', value: 'first' }, undefined),
      afterEnd: (story) => {
        story.does('client-1', 'answer', { task, name: 'more', value: 'second' }, undefined)
        story.note('worker-2', 'deliver', { task, fence: 3, name: 'more', value: 'second' })
      },
    }),
    'an answer that is lost': tell({ deliver: NEVER }),
  },
  'cancels hold': {
    'a cancelled task that completes': tell({
      afterEnd: (story) => {
        story.does('node-1', 'cancel-met', { task }, 'cancelled')
        story.does('client-1', 'read', { task }, DONE)
      },
    }),
    'a cancelled task that runs': tell({
      afterEnd: (story) => {
        story.does('node-1', 'cancel-met', { task: 'x' }, 'cancelled')
        story.does('worker-1', 'claim', { task: 'x', fence: 1, value: { token: 'x' } }, undefined)
        story.note('worker-1', 'enter', { task: 'x', fence: 1 })
      },
    }),
  },
  'owners are apart': {
    "a task that is shown to somebody else's client": tell({
      afterEnd: (story) => story.does('client-2', 'peek', { task }, OPEN),
    }),
  },
  'nothing is refused': {
    'an answer that a client should not see': tell({
      afterEnd: (story) => story.fails('client-1', 'answer', { task, name: 'name', value: '-32603' }),
    }),
  },
  'nothing is left': { 'a row that is never purged': tell({ rest: { rows: 1, journals: 0 } }) },
  'undisturbed workers keep their tasks': {
    'leases that nobody renews': tell({
      beforeEnd: (story) => {
        story.pass(3000)
        for (const fence of [10, 11, 12]) {
          story.does('worker-3', 'claim', { task: 'l', fence, value: { token: String(fence) } }, undefined)
          story.pass(2500)
        }
      },
    }),
  },
  'the run is complete': { 'a history that ends too early': tell({ isCut: true }) },
  'faults hit work': { 'a run without faults': tell({ hasFault: false }) },
  'tasks change hands': { 'a run in which every worker keeps its tasks': withoutTakeover() },
}

function withoutTakeover(): ChaosEvent[] {
  const story = new Story()
  story.begins('nemesis', 'run', { value: SETTINGS })
  story.does('client-1', 'create', { task, value: CREATION }, undefined)
  story.does('nemesis', 'fault', { value: { name: 'broker purged', targets: 'all', part: 'queue' } }, undefined)
  story.note('auditor', 'row', { task, value: CANCELLED_ROW })
  story.events.push({ ...story.events[0]!, t: 99_999, phase: 'ok' })
  return story.events
}

const CASES = Object.entries(MUTANTS).flatMap(([name, histories]) =>
  Object.entries(histories).map(([about, events]): [string, string, ChaosEvent[]] => [name, about, events]),
)
test.each(CASES)('%s: the checker names %s', (name, _about, events) => {
  const { problems } = check(events)
  expect(problems.filter((problem) => problem.startsWith(`${name}: `))).not.toEqual([])
})

test('every invariant has a mutant', () => {
  expect(Object.keys(INVARIANTS).filter((name) => MUTANTS[name] === undefined)).toEqual([])
})

let dir: string
beforeAll(async () => void (dir = await mkdtemp(join(tmpdir(), 'holdfast-history-'))))
afterAll(() => rm(dir, { recursive: true, force: true }))

test('what processes write to a file is what the checker reads', () => {
  const path = join(dir, 'history')
  const [nemesis, worker] = [new HistoryWriter(path, 'nemesis'), new HistoryWriter(path, 'worker-1')]
  const run = nemesis.begin('run', { value: SETTINGS })
  worker.begin('claim', { value: { token: 'a' } }).ok({ task, fence: 1 })
  worker.begin('record', { task, fence: 1, name: 'one', value: 1 }).ok({ value: 'recorded' })
  worker.begin('finish', { task, fence: 1 })
  run.ok()
  nemesis.close()
  worker.close()
  expect(checkFile(path).counts).toMatchObject({ events: 7, claims: 1, steps: 1, takeovers: 0 })
})

test('a history without settings, or with a line that is no event, is refused', () => {
  expect(() => check([])).toThrow('must begin with `run`')
  const path = join(dir, 'torn')
  writeFileSync(path, '{"t":1,"process":"nemesis","op":"run","opId":"1","phase":"invoke"}\n{"t":2,"pro')
  expect(() => checkFile(path)).toThrow('Line 2')
})

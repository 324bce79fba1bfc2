import type * as transitions from '../../src/tasks/transitions.ts'
import type { Row } from '../../src/tasks/transitions.ts'

/** The operations that the search runs; a mutant replaces some of them. */
export type Transitions = typeof transitions

/** What may go on beside the operations themselves; a mutant switches something off, or on. */
export interface Rules {
  readonly transitions: Transitions
  /** Time does what it has made due. */
  readonly hasSweeper: boolean
  /** The client is told of its task before the task is stored. */
  readonly acknowledgesEarly: boolean
  /** Somebody waits for the task on its call. */
  readonly isAttended: boolean
}

/** A worker's own view of the task that it took. `knows`: what it believes to be on record. */
interface View {
  readonly fence: number
  readonly step: string | undefined
  readonly answer: string | undefined
}

/**
 * Everything at one moment. Times are relative to it, so that the number of worlds is finite. The handler takes the step
 * `s`, asks `q`, and returns a result that says under which fence, with which step and which answer.
 */
interface World {
  readonly row: Row | undefined
  readonly isCreating: boolean
  readonly isAcknowledged: boolean
  readonly workers: readonly (View | undefined)[]
  /** Each of these happens at most so often: without a bound there would be worlds without end. */
  readonly left: {
    readonly cancels: number
    readonly releases: number
    readonly throws: number
    readonly lost: number
    readonly attends: number
  }
  /** The first answer that was accepted; or that nobody gave one in time. */
  readonly accepted: string | undefined
}

export interface Found {
  readonly worlds: number
  readonly finals: ReadonlySet<string>
  /** What was violated, and the way to it. */
  readonly violation: { readonly what: string; readonly path: readonly string[] } | undefined
}

const LEASE = 1
/** Shorter than the time to live, so that both come first at times. */
const ASK_EXPIRES = 2
const TTL = 4
const NEW: Omit<transitions.NewRow, 'isAttended'> = {
  delayMs: 0,
  ttlMs: TTL,
  maxAttempts: 2,
  maxCrashes: 1,
  failsWhenLost: false,
  retentionMs: 1_000_000,
}
const SWEEP = { crashBackoffMs: 1, expiredError: 'expired', lostError: 'lost', expiredAnswer: 'nobody' }

const START: World = {
  row: undefined,
  isCreating: false,
  isAcknowledged: false,
  workers: [undefined, undefined],
  left: { cancels: 1, releases: 1, throws: 1, lost: 1, attends: 1 },
  accepted: undefined,
}

/** A time that has passed is as good as now. */
const relative = (time: number, by: number): number => Math.max(0, time - by)

function tick(row: Row): Row {
  return {
    ...row,
    leaseUntilMs: relative(row.leaseUntilMs, 1),
    runAtMs: relative(row.runAtMs, 1),
    cancelAtMs: row.cancelAtMs === undefined ? undefined : 0,
    expiresMs: row.expiresMs === undefined ? undefined : relative(row.expiresMs, 1),
  }
}

const isFinal = (row: Row): boolean => ['completed', 'failed', 'cancelled'].includes(row.state)

/** All that can happen next. */
function* next(world: World, rules: Rules): Generator<[string, World]> {
  const { row, left } = world
  const t = rules.transitions
  if (row === undefined) {
    if (!world.isCreating) {
      yield ['the client creates', { ...world, isCreating: true, isAcknowledged: rules.acknowledgesEarly }]
      return
    }
    yield [
      'the store commits, and the client is told',
      { ...world, row: t.create({ ...NEW, isAttended: rules.isAttended }, 0), isAcknowledged: true },
    ]
    if (!rules.acknowledgesEarly) return
    yield ['the node dies before the commit', { ...world, isCreating: false }]
    return
  }
  const to = (changed: Row, more: Partial<World> = {}): World => ({ ...world, row: changed, ...more })
  const withView = (index: number, view: View | undefined): readonly (View | undefined)[] =>
    world.workers.map((old, other) => (other === index ? view : old))

  if (!isFinal(row)) yield ['time passes', to(tick(row))]
  if (rules.hasSweeper) {
    const swept = t.sweep(row, SWEEP, 0)
    if (swept.outcome !== undefined && swept.outcome !== 'purged') {
      const isSilent = swept.row.journal.some(({ value }) => value === SWEEP.expiredAnswer)
      const accepted = world.accepted ?? (isSilent ? SWEEP.expiredAnswer : undefined)
      yield [`sweep: ${swept.outcome}`, to(swept.row, { accepted })]
    }
  }
  if (left.cancels > 0)
    yield ['the client cancels', to(t.cancel(row, 0).row, { left: { ...left, cancels: left.cancels - 1 } })]
  if (rules.isAttended && left.attends > 0)
    yield ['a node attends', to(t.attend(row, TTL, 0).row, { left: { ...left, attends: left.attends - 1 } })]
  if (row.journal.some(({ kind }) => kind === 'ask'))
    for (const value of ['yes', 'no']) {
      const answered = t.answer(row, [{ name: 'q', value }], 0)
      if (answered.row !== row)
        yield [`the client answers ${value}`, to(answered.row, { accepted: world.accepted ?? value })]
    }

  for (const [index, view] of world.workers.entries()) {
    const who = `worker ${index}`
    if (view === undefined) {
      const claimed = t.claim(row, who, `${who}-${row.fence}`, LEASE, 0)
      if (claimed.outcome) {
        const entry = (name: string): string | undefined =>
          claimed.row.journal.find((recorded) => recorded.name === name)?.value
        const seen = { fence: claimed.row.fence, step: entry('s'), answer: entry('q') }
        yield [`${who} claims`, to(claimed.row, { workers: withView(index, seen) })]
      }
      continue
    }
    const gone = withView(index, undefined)
    const { fence } = view
    yield [`${who} dies`, { ...world, workers: gone }]
    const beat = t.heartbeat(row, fence, undefined, LEASE, 0)
    yield beat.outcome === 'lost'
      ? [`${who} learns that its lease is lost`, { ...world, workers: gone }]
      : [`${who} renews`, to(beat.row)]
    if (left.releases > 0) {
      const released = t.release(row, fence, 0)
      yield [`${who} releases`, to(released.row, { workers: gone, left: { ...left, releases: left.releases - 1 } })]
    }
    if (left.throws > 0) {
      const tried = t.retry(row, fence, 1, undefined, 0)
      yield [`${who} throws`, to(tried.row, { workers: gone, left: { ...left, throws: left.throws - 1 } })]
    }
    // The handler's next act; each may be carried out although the reply is lost, and is then carried out again.
    let act: string
    let done: Row
    let after: View | undefined
    if (view.step === undefined) {
      act = 'records its step'
      const recorded = t.recordStep(row, fence, 's', `s${fence}`, LEASE, 0)
      done = recorded.row
      const present = done.journal.find(({ name }) => name === 's')?.value
      after = recorded.outcome === 'lost' ? undefined : { ...view, step: present }
    } else if (view.answer === undefined) {
      act = 'parks'
      const parked = t.park(row, fence, { asks: [{ name: 'q', request: 'q?' }], expireAfterMs: ASK_EXPIRES }, 0)
      done = parked.outcome === 'cancelled' ? t.finish(row, fence, { state: 'cancelled' }, 0).row : parked.row
      after = undefined
    } else {
      act = 'finishes'
      const result = `result under ${fence} of ${view.step} and ${view.answer}`
      done = t.finish(row, fence, { state: 'completed', result }, 0).row
      after = undefined
    }
    yield [`${who} ${act}`, to(done, { workers: withView(index, after) })]
    if (left.lost > 0 && done !== row)
      yield [`${who} ${act}, and the reply is lost`, to(done, { left: { ...left, lost: left.lost - 1 } })]
  }
}

/** What must hold of every step from one world to the next. */
function violated(before: World, after: World): string | undefined {
  if (after.isAcknowledged && after.row === undefined && !after.isCreating) return 'an acknowledged task is not there'
  const [was, is] = [before.row, after.row]
  if (was === undefined || is === undefined) return undefined
  if (is.fence < was.fence) return 'the fence fell'
  if (isFinal(was) && was !== is && JSON.stringify(was) !== JSON.stringify(is)) return 'a final state changed'
  if (was.state !== 'leased' && is.state === 'leased' && is.fence === was.fence)
    return 'a claim without a fence of its own'
  for (const entry of was.journal) {
    const now = is.journal.find(({ name }) => name === entry.name)
    if (now === undefined) return `the record of ${entry.name} is gone`
    if (entry.value !== undefined && now.value !== entry.value) return `the record of ${entry.name} changed`
  }
  if (new Set(is.journal.map(({ name }) => name)).size < is.journal.length) return 'a name is on record twice'
  if (is.state === 'completed') {
    const step = is.journal.find(({ name }) => name === 's')?.value
    const answer = is.journal.find(({ name }) => name === 'q')?.value
    if (is.result !== `result under ${is.doneFence} of ${step} and ${answer}`)
      return `the result is not that of its author: ${is.result}, ended under ${is.doneFence}`
    if (answer !== after.accepted) return `the answer is ${answer}, accepted was ${after.accepted}`
  }
  if (is.dead === 'expired' && is.isAttended) return 'a dead letter that nobody would have waited for'
  if (is.attempts > is.maxAttempts || is.crashes > is.maxCrashes + 1) return 'more attempts or crashes than allowed'
  return undefined
}

/** Runs through every world that can be reached, the nearest first. */
export function search(rules: Rules): Found {
  const key = (world: World): string =>
    JSON.stringify(world, (_key, value: unknown) => (value === undefined ? null : value))
  const seen = new Map<string, { world: World; from: string | undefined; by: string }>()
  const followers = new Map<string, string[]>()
  // What an attended task does beside its time is what any task does.
  const world: World = rules.isAttended ? { ...START, left: { ...START.left, releases: 0, throws: 0 } } : START
  const start = key(world)
  seen.set(start, { world, from: undefined, by: '' })
  const pathTo = (at: string): string[] => {
    const path: string[] = []
    for (let here: string | undefined = at; here !== undefined;) {
      const entry: { from: string | undefined; by: string } = seen.get(here)!
      if (entry.by !== '') path.unshift(entry.by)
      here = entry.from
    }
    return path
  }
  const queue = [start]
  const ended: string[] = []
  const finals = new Set<string>()
  for (let head = 0; head < queue.length; head++) {
    const at = queue[head]!
    const { world } = seen.get(at)!
    if (world.row !== undefined && isFinal(world.row)) {
      ended.push(at)
      finals.add(world.row.state)
    }
    for (const [by, after] of next(world, rules)) {
      const what = violated(world, after)
      if (what !== undefined) return { worlds: seen.size, finals, violation: { what, path: [...pathTo(at), by] } }
      const to = key(after)
      // A cancel is an end that nobody may rest on.
      if (by !== 'the client cancels') followers.set(to, [...(followers.get(to) ?? []), at])
      if (seen.has(to)) continue
      seen.set(to, { world: after, from: at, by })
      queue.push(to)
    }
  }
  // Backwards from the ends: what is not reached from there can never end.
  const canEnd = new Set(ended)
  for (const at of ended)
    for (const from of followers.get(at) ?? [])
      if (!canEnd.has(from)) {
        canEnd.add(from)
        ended.push(from)
      }
  const stuck = queue.find((at) => !canEnd.has(at))
  return {
    worlds: seen.size,
    finals,
    violation: stuck === undefined ? undefined : { what: 'there is no way to an end', path: pathTo(stuck) },
  }
}

// Breaks one thing after the other, in two lanes at once: one for processes, one for the store, the broker and the ways to them.
// What it does and when is drawn from a seed before anything runs; how long servers take to come back is theirs.
import { setTimeout as sleep } from 'node:timers/promises'
import { seeded } from '../cluster/load.ts'
import { until } from '../servers/tools.ts'
import type { QueueBackend, StoreBackend } from './backends/backend.ts'
import { LINK_FAULTS, type Links } from './backends/links.ts'
import type { FaultNote } from './check/operations.ts'
import type { HistoryWriter } from './history.ts'
import type { ChaosProcess } from './processes/chaos-process.ts'
import { CRASH_POINTS, type CrashPoint } from './processes/crash.ts'

/** What can be broken. */
export interface Victims {
  readonly workers: readonly ChaosProcess[]
  readonly nodes: readonly ChaosProcess[]
  readonly store: StoreBackend
  readonly queue: QueueBackend
  readonly leaseMs: number
}

/** One fault of a schedule. */
export interface Strike extends FaultNote {
  readonly lastingMs: number
  /** Until the next strike of its lane. */
  readonly pauseMs: number
  /** Resolves when what it is meant for can be struck. */
  ready(): Promise<void>
  run(lastingMs: number): Promise<void>
}

/** Points that workers pass, and those that nodes do. */
const POINTS_OF_WORKERS: readonly CrashPoint[] = [
  'after-claim',
  'after-step-effect',
  'after-handler',
  'after-finish',
  'after-park',
]
const POINTS_OF_NODES: readonly CrashPoint[] = ['after-create', 'after-reply', 'after-answer']
/** A point that nobody passes within this time is given up. */
const POINT_WAIT_MS = 4000
const MAX_SKEW_MS = 5000
/** Processes that may be down when another is struck. */
const MAX_DOWN = 2

interface Template {
  readonly name: string
  readonly part: FaultNote['part']
  /** From the lease, since what matters is whether it outlives it. */
  readonly lastingMs: number
  readonly targets: (random: () => number) => readonly string[] | 'all'
  readonly ready?: (targets: readonly string[] | 'all') => Promise<void>
  readonly run: (targets: readonly string[] | 'all', lastingMs: number) => Promise<void>
}

/** Begins with what makes tasks change hands, and leaves a holder behind that does not know. */
export const FIRST = ['two workers paused for more than a lease', 'worker killed'] as const

/** The schedule of a seed, for each lane; it has no end. */
export function* schedule(
  templates: readonly Template[],
  seed: number,
  first: readonly string[] = [],
): Generator<Strike> {
  const random = seeded(seed)
  let bag: Template[] = []
  for (let count = 0; ; count++) {
    // Each fault once before any comes again, in an order of the seed's.
    if (bag.length === 0) bag = [...templates]
    let index = Math.floor(random() * bag.length)
    if (count < first.length) index = bag.findIndex(({ name }) => name === first[count])
    const [template] = bag.splice(index, 1)
    const { name, part, run } = template!
    const targets = template!.targets(random)
    yield {
      name,
      part,
      targets,
      lastingMs: Math.round(template!.lastingMs * (0.8 + 0.4 * random())),
      // Of few faults each comes often: without a rest between them nothing would ever be whole.
      pauseMs: Math.round((200 + 600 * random()) * Math.max(1, 8 / templates.length)),
      ready: async () => template!.ready?.(targets),
      run: (lastingMs) => run(targets, lastingMs),
    }
  }
}

/** What happens to processes. */
export function processFaults({ workers, nodes, leaseMs }: Victims): Template[] {
  const one = (of: readonly ChaosProcess[]) => (random: () => number) => [of[Math.floor(random() * of.length)]!.name]
  const all = [...workers, ...nodes]
  const named = (targets: readonly string[] | 'all'): ChaosProcess => all.find(({ name }) => name === targets[0])!
  /** Once it is up, and not too many others are down. */
  const ready = async (targets: readonly string[] | 'all'): Promise<void> => {
    const victims = all.filter(({ name }) => targets.includes(name))
    const isTurn = async (): Promise<boolean> =>
      victims.every(({ isUp }) => isUp) && all.filter(({ isUp }) => !isUp).length <= MAX_DOWN
    await until('What is to be struck being up', 30_000, isTurn)
  }
  /** Nobody waits for that: what is broken next is another. Who can't be started again is missed by its tasks. */
  const revive = (victim: ChaosProcess, afterMs: number): void => void victim.revive(afterMs).catch(() => undefined)
  const killed = (of: readonly ChaosProcess[], what: string): Template => ({
    name: `${what} killed`,
    part: 'process',
    lastingMs: leaseMs / 2,
    targets: one(of),
    ready,
    async run(targets, lastingMs) {
      const victim = named(targets)
      await victim.kill()
      revive(victim, lastingMs)
    },
  })
  const paused = (what: string, lastingMs: number, targets: Template['targets']): Template => ({
    name: `${what} paused for ${lastingMs < leaseMs ? 'less' : 'more'} than a lease`,
    part: 'process',
    lastingMs,
    targets,
    ready,
    async run(targets, ms) {
      const victims = all.filter(({ name }) => targets.includes(name))
      for (const victim of victims) victim.pause()
      await sleep(ms)
      for (const victim of victims) victim.resume()
    },
  })
  const two: Template['targets'] = (random) => {
    const first = Math.floor(random() * workers.length)
    const second = (first + 1 + Math.floor(random() * (workers.length - 1))) % workers.length
    return [workers[first]!.name, workers[second]!.name]
  }
  const crashed = (of: readonly ChaosProcess[], point: CrashPoint): Template => ({
    name: `killed ${point}`,
    part: 'process',
    lastingMs: POINT_WAIT_MS,
    targets: one(of),
    ready,
    async run(targets, ms) {
      const victim = named(targets)
      await victim.tell('arm', { point })
      if (await victim.hasDied(ms)) revive(victim, leaseMs / 2)
      else await victim.tell('arm', { point: null })
    },
  })
  const told = (
    name: string,
    lastingMs: number,
    run: (victim: ChaosProcess, ms: number) => Promise<void>,
  ): Template => ({
    name,
    part: 'process',
    lastingMs,
    targets: one(workers),
    ready,
    run: (targets, ms) => run(named(targets), ms),
  })
  return [
    killed(workers, 'worker'),
    paused('two workers', leaseMs * 2.8, two),
    paused('worker', leaseMs * 0.4, one(workers)),
    told('worker blocked for more than its lease', leaseMs * 1.8, async (victim, ms) => {
      await victim.tell('block', { ms })
      await sleep(ms)
    }),
    told("worker's clock set", 500, async (victim, ms) => {
      await victim.tell('skew', { ms: Math.round(((ms % 7) / 3 - 1) * MAX_SKEW_MS) })
      await sleep(ms)
    }),
    ...POINTS_OF_WORKERS.map((point) => crashed(workers, point)),
    ...(nodes.length === 0
      ? []
      : [
          killed(nodes, 'node'),
          paused('node', leaseMs * 0.8, one(nodes)),
          ...POINTS_OF_NODES.map((point) => crashed(nodes, point)),
        ]),
  ]
}

/** What happens to the store, the broker, and the ways to them. */
export function backendFaults({ workers, nodes, store, queue, leaseMs }: Victims): Template[] {
  const all = [...workers, ...nodes].map(({ name }) => name)
  const ofServer = (faults: StoreBackend['faults'], part: 'store' | 'queue'): Template[] =>
    Object.entries(faults).map(([name, run]) => ({
      name,
      part,
      lastingMs: leaseMs * 0.8,
      targets: () => 'all',
      run: (_targets, ms) => run(ms),
    }))
  const ofLinks = (links: Links | undefined, part: 'store' | 'queue', what: string): Template[] =>
    links === undefined
      ? []
      : Object.entries(LINK_FAULTS).flatMap(([name, fail]) =>
          (links.areApart ? ['one', 'all'] : ['all']).map((reach) => ({
            name: `the way to the ${what} ${name}${reach === 'one' ? ', for one' : ''}`,
            part,
            lastingMs: leaseMs * (reach === 'one' ? 1.5 : 0.8),
            targets: (random: () => number) =>
              reach === 'one' ? [all[Math.floor(random() * all.length)]!] : ('all' as const),
            async run(targets: readonly string[] | 'all', ms: number) {
              const broken = await links.broken(targets)
              try {
                for (const link of broken) await fail(link)
                await sleep(ms)
              } finally {
                for (const link of broken) await link.clear()
              }
            },
          })),
        )
  return [
    ...ofServer(store.faults, 'store'),
    ...ofServer(queue.faults, 'queue'),
    ...ofLinks(store.links, 'store', 'store'),
    ...ofLinks(queue.links, 'queue', 'broker'),
  ]
}

/** Strikes until `signal` fires; what it has broken by then is made whole. */
export async function strike(
  strikes: Iterable<Strike>,
  history: HistoryWriter,
  signal: AbortSignal,
  onStrike: (name: string) => void,
): Promise<void> {
  for (const { name, part, targets, lastingMs, pauseMs, ready, run } of strikes) {
    if (signal.aborted) return
    await ready().catch(() => undefined) // then it can't be struck either, and the history says so
    if (signal.aborted) return
    onStrike(name)
    const begun = history.begin('fault', { value: { name, part, targets } satisfies FaultNote })
    try {
      await run(lastingMs)
      begun.ok()
    } catch (error) {
      // A process that is just coming up can't be told anything; what was meant for it did not happen, or in part.
      begun.fail({ value: (error as Error).message })
    }
    await sleep(pauseMs)
  }
}

/** Names of all crash points, for help texts. */
export const crashPointNames = (): string[] => Object.keys(CRASH_POINTS)

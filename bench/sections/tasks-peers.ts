/** The same no-op job on Holdfast and on job libraries, in the same minutes, each as durable as it says. */
import { randomInt } from 'node:crypto'
import { startPostgres } from '../../test/servers/postgres.ts'
import { startRedis } from '../../test/servers/redis.ts'
import type { Context, SectionReport } from '../lib/context.ts'
import { onAllCores } from '../lib/cores.ts'
import { loadNote } from '../lib/machine.ts'
import { ensurePeers, peerVersions } from '../lib/peers.ts'
import { clearProgress, progress } from '../lib/progress.ts'
import { median, pairedRatio } from '../lib/stats.ts'
import { ratio, table, whole } from '../lib/table.ts'
import { postgresHome } from '../tasks/places.ts'
import type { Home } from '../tasks/places.ts'
import { drain, Rig } from '../tasks/rig.ts'
import type { Latencies, Peak } from '../tasks/rig.ts'
import type { Place } from '../tasks/system.ts'
import { callers, concurrency, holdfastModule, pacedShare, payloadBytes } from './tasks.ts'

interface Subject {
  label: string
  module: string
  home: Home
  /** What an acknowledged job is worth, and when another worker has it after a crash; from its documentation. */
  durability: string
  rig?: Rig
  peaks: Peak[]
  backlogPerSecond?: number
  paced?: Latencies
}

const peerModule = (name: string): string => new URL(`../peers/tasks/${name}.js`, import.meta.url).href

/** Holdfast on Postgres beside graphile-worker, pg-boss and BullMQ. */
export async function taskPeers(context: Context): Promise<SectionReport | undefined> {
  if (!context.tasks.hasPeers) return undefined
  ensurePeers()
  return onAllCores(context.cores, () => measureAll(context))
}

async function measureAll({ budget }: Context): Promise<SectionReport> {
  progress('tasks-peers: starting servers')
  await using postgres = postgresHome(await startPostgres())
  await using always = await redisHome('always')
  await using everySecond = await redisHome('everysec')
  const versions = peerVersions()
  const subjects: Subject[] = [
    {
      label: 'Holdfast',
      module: holdfastModule,
      home: postgres,
      durability: 'Postgres, fsync; fenced; result kept; taken over after 30 s',
      peaks: [],
    },
    {
      label: `graphile-worker ${versions['graphile-worker']}`,
      module: peerModule('graphile-worker'),
      home: postgres,
      durability: 'Postgres, fsync; no fence; job deleted at its end; taken over after 4 h',
      peaks: [],
    },
    {
      label: `pg-boss ${versions['pg-boss']}`,
      module: peerModule('pg-boss'),
      home: postgres,
      durability: 'Postgres, fsync; no fence; result kept; taken over after 15 min',
      peaks: [],
    },
    {
      label: `bullmq ${versions['bullmq']}, appendfsync always`,
      module: peerModule('bullmq'),
      home: always,
      durability: 'Redis, fsync; lock token; result kept; taken over after 30 to 60 s',
      peaks: [],
    },
    {
      label: `bullmq ${versions['bullmq']}, appendfsync everysec`,
      module: peerModule('bullmq'),
      home: everySecond,
      durability: 'Redis: the last second may be lost; else as above',
      peaks: [],
    },
  ]
  const gaps: string[] = []
  const measure = async (what: string, body: (subject: Subject) => Promise<void>): Promise<void> => {
    for (const subject of subjects.filter(({ label }) => !gaps.some((gap) => gap.startsWith(label)))) {
      progress(`tasks-peers: ${what}: ${subject.label}`)
      try {
        await body(subject)
      } catch (error) {
        gaps.push(`${subject.label} could not be measured: ${String(error)}`)
      }
    }
  }
  const place = async ({ home }: Subject): Promise<Place> => ({ url: await home.empty(), concurrency, payloadBytes })
  await measure('warming', async (subject) => {
    subject.rig = await Rig.open(subject.module, await place(subject))
    await subject.rig.peak(budget.taskPeakMs, callers)
  })
  for (let round = 1; round <= budget.taskRounds; round++)
    await measure(`at full speed, ${round} of ${budget.taskRounds}`, async ({ rig, peaks }) => {
      peaks.push(await rig!.peak(budget.taskPeakMs, callers))
    })
  await measure(`${pacedShare * 100} % of its peak`, async (subject) => {
    const perSecond = pacedShare * median(subject.peaks.map((peak) => peak.perSecond))
    subject.paced = await subject.rig!.openLoop(perSecond, budget.taskPacedMs)
  })
  await measure('closing', ({ rig }) => rig!.close())
  await measure(`a backlog of ${whole(budget.taskBacklog)}`, async (subject) => {
    subject.backlogPerSecond = await drain(subject.module, await place(subject), budget.taskBacklog)
  })
  clearProgress()
  const measured = subjects.filter(({ backlogPerSecond }) => backlogPerSecond !== undefined)
  const text = [
    report(measured),
    ...measured.map(({ label, durability }) => `${label}: ${durability}.`),
    loadNote(),
    ...gaps,
  ]
  return {
    title: `The same no-op job on job libraries (${callers} callers, one job a call; ${concurrency} at once; latencies at ${pacedShare * 100} % of each one's peak)`,
    text: text.join('\n'),
    data: measured.map(({ label, durability, peaks, paced, backlogPerSecond }) => ({
      label,
      durability,
      peaks,
      paced,
      backlogPerSecond,
    })),
    failures: gaps.length,
  }
}

function report(measured: readonly Subject[]): string {
  const rates = ({ peaks }: Subject): number[] => peaks.map(({ perSecond }) => perSecond)
  const [first] = measured
  const head = [
    'library',
    'jobs/s',
    'of Holdfast',
    'backlog jobs/s',
    'of Holdfast',
    'at',
    'create p50',
    'p99 ms',
    'pickup p50',
    'p99 ms',
    'both sides µs/job',
  ]
  const rows = measured.map((subject) => {
    const { label, peaks, paced, backlogPerSecond } = subject
    return [
      label,
      whole(median(rates(subject))),
      ratio(pairedRatio(rates(subject), rates(first!))),
      whole(backlogPerSecond!),
      (backlogPerSecond! / first!.backlogPerSecond!).toFixed(2),
      `${whole(paced!.perSecond)}/s`,
      ms(paced!.createP50Ms),
      ms(paced!.createP99Ms),
      ms(paced!.pickupP50Ms),
      ms(paced!.pickupP99Ms),
      peaks.at(-1)!.cpuUs.map(whole).join(' + '),
    ]
  })
  return table(head, rows)
}

/** Redis whose file is synced so often; each place is a database of its own. */
async function redisHome(appendfsync: string): Promise<Home> {
  const server = await startRedis({ args: ['--appendfsync', appendfsync, '--databases', '1000'] })
  return {
    empty: () => Promise.resolve(`${server.url}/${randomInt(1000)}`),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

const ms = (value: number): string => value.toFixed(1)

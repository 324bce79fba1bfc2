/** Durable tasks: how soon they are accepted and begun, how many a second, and when another worker has those of a dead one. */
import { setTimeout as wait } from 'node:timers/promises'
import { startPostgres } from '../../test/servers/postgres.ts'
import type { Context, SectionReport } from '../lib/context.ts'
import { onAllCores } from '../lib/cores.ts'
import { loadNote } from '../lib/machine.ts'
import { clearProgress, progress } from '../lib/progress.ts'
import { median } from '../lib/stats.ts'
import { table, whole } from '../lib/table.ts'
import { commitCost, statementsPerSecond, syncCost } from '../tasks/fsync.ts'
import type { Cost } from '../tasks/fsync.ts'
import { postgresHome, queueHomes, storeHomes } from '../tasks/places.ts'
import type { Home } from '../tasks/places.ts'
import { Rig, takeover } from '../tasks/rig.ts'
import type { Latencies, Peak } from '../tasks/rig.ts'
import type { Place } from '../tasks/system.ts'

export const holdfastModule = new URL('../tasks/holdfast.ts', import.meta.url).href
/** Handlers at once, in the one worker. */
export const concurrency = 100
/** Callers that create at full speed, each waiting for its last creation. */
export const callers = 200
/** The emulator serves few at a time, and lets the connections of more time out. */
export const dynamodbCallers = 16
/** Length of arguments, and of results. */
export const payloadBytes = 200
/** Of the peak: latencies are those of a system with room. */
export const pacedShare = 0.3
const heldJobs = 20
const defaultLeaseMs = 30_000
const tunedLeaseMs = 5000
/** Looked at for so long, after as long to settle. */
const idleMs = 10_000

interface Measured {
  name: string
  peaks: Peak[]
  paced: Latencies
  tunedTakeover: { firstMs: number; lastMs: number }
}

/** Every store with every queue. */
export function tasks(context: Context): Promise<SectionReport> {
  return onAllCores(context.cores, () => measureAll(context))
}

async function measureAll({ budget, tasks: choice, scratchDir }: Context): Promise<SectionReport> {
  const measured: Measured[] = []
  const gaps: string[] = []
  const notes: string[] = []
  const isChosen = (store: string, queue: string): boolean =>
    choice.pairs?.some((pair) => pair === store || pair === `${store}+${queue}`) ?? true
  const chosen = Object.keys(storeHomes).flatMap((store) =>
    Object.keys(queueHomes)
      .filter((queue) => isChosen(store, queue))
      .map((queue) => ({ store, queue })),
  )
  const measurePair = async (name: string, place: () => Promise<Place>): Promise<Measured> => {
    const rig = await Rig.open(holdfastModule, await place())
    const peaks: Peak[] = []
    const callersAtOnce = name.startsWith('dynamodb') ? dynamodbCallers : callers
    try {
      progress(`tasks: ${name}: warming`)
      await rig.peak(budget.taskPeakMs, callersAtOnce)
      for (let round = 1; round <= budget.taskRounds; round++) {
        progress(`tasks: ${name}: at full speed, ${round} of ${budget.taskRounds}`)
        peaks.push(await rig.peak(budget.taskPeakMs, callersAtOnce))
      }
      const perSecond = pacedShare * median(peaks.map((peak) => peak.perSecond))
      progress(`tasks: ${name}: ${whole(perSecond)} a second`)
      const paced = await rig.openLoop(perSecond, budget.taskPacedMs)
      await rig.close()
      progress(`tasks: ${name}: a worker is killed`)
      const tunedTakeover = await takeover(
        holdfastModule,
        { ...(await place()), leaseMs: tunedLeaseMs },
        heldJobs,
        tunedLeaseMs,
      )
      return { name, peaks, paced, tunedTakeover }
    } catch (error) {
      await rig.close().catch(() => undefined) // the first error says more
      throw error
    }
  }

  let sync: Cost | undefined
  let isFirst = true
  for (const queue of Object.keys(queueHomes)) {
    const stores = chosen.filter((pair) => pair.queue === queue).map(({ store }) => store)
    if (stores.length === 0) continue
    progress(`tasks: starting ${queue}`)
    await using broker = (await queueHomes[queue]?.()) ?? nothing
    for (const store of stores) {
      const name = `${store}+${queue}`
      try {
        progress(`tasks: starting ${store}`)
        await using home = await storeHomes[store]!(scratchDir)
        const isEmbedded = queue === 'store' && store !== 'postgres'
        const place = async (): Promise<Place> => ({
          url: await home.empty(),
          ...(queue === 'store' ? {} : { queueUrl: await broker.empty() }),
          concurrency,
          payloadBytes,
          isEmbedded,
        })
        if (isFirst) sync = await syncCost(scratchDir)
        isFirst = false
        measured.push(await measurePair(name, place))
        if (name === 'postgres+store') notes.push(...(await postgresNotes(home, place)))
      } catch (error) {
        gaps.push(`${name} could not be measured: ${String(error)}`)
      }
    }
  }
  if (chosen.some(({ store, queue }) => store === 'postgres' && queue === 'store')) {
    progress('tasks: starting postgres without fsync')
    await using home = postgresHome(await startPostgres({ settings: { fsync: 'off' } }))
    measured.push(
      await measurePair('the first, fsync off', async () => ({ url: await home.empty(), concurrency, payloadBytes })),
    )
  }
  clearProgress()
  if (sync !== undefined)
    notes.push(`A write of 8 kB and fdatasync beside it: p50 ${ms(sync.p50Ms)} ms, p99 ${ms(sync.p99Ms)} ms.`)
  return {
    title: `Durable tasks (fsync on; ${concurrency} at once; latencies at ${pacedShare * 100} % of the peak, from when each was due)`,
    text: [report(measured), ...notes, loadNote(), ...gaps].join('\n'),
    data: { measured, sync, notes },
    failures: gaps.length,
  }
}

/** What is looked at with Postgres alone: the cost of a commit, an idle worker, a takeover with the default lease. */
async function postgresNotes(home: Home, place: () => Promise<Place>): Promise<string[]> {
  progress('tasks: commits')
  const [on, off] = [await commitCost(await home.empty(), true), await commitCost(await home.empty(), false)]
  progress('tasks: an idle worker')
  const idlePlace = await place()
  const rig = await Rig.open(holdfastModule, idlePlace)
  await wait(idleMs)
  const perSecond = await statementsPerSecond(idlePlace.url, idleMs)
  await rig.close()
  progress(`tasks: a worker is killed (default lease, ${defaultLeaseMs / 1000} s)`)
  const { firstMs, lastMs } = await takeover(holdfastModule, await place(), heldJobs, defaultLeaseMs / 2)
  return [
    `Postgres, takeover with the default lease: the first after ${seconds(firstMs)} s, the last of ${heldJobs} after ${seconds(lastMs)} s (40 or less).`,
    `Postgres, an idle node and an idle worker: ${perSecond.toFixed(2)} statements a second (1 or less).`,
    `Postgres, one row and its commit: p50 ${ms(on.p50Ms)} ms, p99 ${ms(on.p99Ms)} ms; without waiting for the disk ${ms(off.p50Ms)} and ${ms(off.p99Ms)} ms.`,
  ]
}

function report(measured: readonly Measured[]): string {
  const head = [
    'store + queue',
    'tasks/s',
    'at',
    'create p50',
    'p99 ms',
    'pickup p50',
    'p99 ms',
    `takeover s (lease ${tunedLeaseMs / 1000} s)`,
    'node + worker µs/task',
  ]
  const rows = measured.map(({ name, peaks, paced, tunedTakeover }) => [
    name,
    whole(median(peaks.map(({ perSecond }) => perSecond))),
    `${whole(paced.perSecond)}/s`,
    ms(paced.createP50Ms),
    ms(paced.createP99Ms),
    ms(paced.pickupP50Ms),
    ms(paced.pickupP99Ms),
    seconds(tunedTakeover.lastMs),
    peaks.at(-1)!.cpuUs.map(whole).join(' + '),
  ])
  return table(head, rows)
}

const nothing: Home = {
  empty: () => Promise.reject(new Error('the store rings by itself')),
  [Symbol.asyncDispose]: () => Promise.resolve(),
}
const ms = (value: number): string => value.toFixed(1)
const seconds = (valueMs: number): string => (valueMs / 1000).toFixed(1)

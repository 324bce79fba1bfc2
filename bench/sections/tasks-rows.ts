/** How long a claim takes beside few rows and beside many. */
import { Client } from 'pg'
import { openTaskStore } from '../../src/compose/task-store.ts'
import { systemClock } from '../../src/ports/clock.ts'
import type { ClaimedTask } from '../../src/ports/task-store.ts'
import type { Context, SectionReport } from '../lib/context.ts'
import { onAllCores } from '../lib/cores.ts'
import { loadNote } from '../lib/machine.ts'
import { clearProgress, progress } from '../lib/progress.ts'
import { table, whole } from '../lib/table.ts'
import { prepare } from '../tasks/holdfast.ts'
import { storeHomes } from '../tasks/places.ts'
import { quantile } from '../lib/stats.ts'
import { claim, fill, finish } from '../tasks/rows.ts'
import { concurrency, dynamodbCallers, payloadBytes } from './tasks.ts'

/** Fewer than a third of the fewest rows. */
const claims = 300
/** The emulator takes an hour to fill more; say so by leaving them out. */
const dynamodbMostRows = 10_000
const queue = 'filled'

interface Measured {
  store: string
  rows: number
  p50Ms: number
  p99Ms: number
}

/** Claims of one task, each finished before the next, in tables that are filled more and more. */
export function taskRows(context: Context): Promise<SectionReport> {
  return onAllCores(context.cores, () => measureAll(context))
}

async function measureAll({ tasks: choice, scratchDir }: Context): Promise<SectionReport> {
  const measured: Measured[] = []
  const gaps: string[] = []
  let failures = 0
  const names = Object.keys(storeHomes).filter(
    (store) => choice.pairs?.some((pair) => pair === store || pair.startsWith(`${store}+`)) ?? true,
  )
  for (const store of names)
    try {
      progress(`tasks-rows: starting ${store}`)
      await using home = await storeHomes[store]!(scratchDir)
      for (const rows of choice.rows)
        if (store === 'dynamodb' && rows > dynamodbMostRows)
          gaps.push(
            `dynamodb beside ${whole(rows)} rows was left out: the emulator fills ${whole(dynamodbMostRows)} at most.`,
          )
        else measured.push(await measure(store, await home.empty(), rows))
    } catch (error) {
      failures++
      gaps.push(`${store} could not be measured: ${String(error)}`)
    }
  clearProgress()
  const rows = measured.map(({ store, rows: count, p50Ms, p99Ms }) => {
    const fewest = measured.find((other) => other.store === store)!
    return [store, whole(count), p50Ms.toFixed(2), p99Ms.toFixed(2), (p50Ms / fewest.p50Ms).toFixed(2)]
  })
  const head = ['store', 'rows', 'claim p50 ms', 'p99 ms', 'p50 beside that of the fewest']
  return {
    title: 'A claim of one task, beside rows of which a third each are ready, waiting and ended',
    text: [table(head, rows), loadNote(), ...gaps].join('\n'),
    data: measured,
    failures,
  }
}

async function measure(name: string, url: string, rows: number): Promise<Measured> {
  progress(`tasks-rows: ${name}: ${whole(rows)} rows`)
  await prepare({ url, concurrency, payloadBytes })
  const store = await openTaskStore(url, systemClock)
  try {
    await fill(store, queue, rows, name === 'dynamodb' ? dynamodbCallers : undefined)
    if (name === 'postgres') await settle(url)
    const times: number[] = []
    for (let index = 0; index < claims; index++) {
      const startedMs = performance.now()
      const tasks: readonly ClaimedTask[] = await claim(store, 1, queue)
      times.push(performance.now() - startedMs)
      if (tasks.length !== 1) throw new Error(`a claim beside ${rows} rows came back with ${tasks.length} tasks`)
      await finish(store, tasks)
    }
    return { store: name, rows, p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99) }
  } finally {
    await store.close()
  }
}

/** What autovacuum would have done by the time that a table has grown to this. */
async function settle(url: string): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  await client.query('vacuum analyze')
  await client.end()
}

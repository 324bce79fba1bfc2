/** What the guard around an outside call costs, where the call itself costs nothing. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { defineDependency } from '../../src/index.ts'
import type { Context, SectionReport } from '../lib/context.ts'
import { inHandler } from '../lib/in-handler.ts'
import { loadNote } from '../lib/machine.ts'
import { ensurePeers, peersDir } from '../lib/peers.ts'
import { clearProgress, progress } from '../lib/progress.ts'
import { median, spread } from '../lib/stats.ts'
import { table } from '../lib/table.ts'

const wantedUs = 10
const calls = 20_000

type Use = (work: (signal: AbortSignal) => Promise<number>, signal: AbortSignal) => Promise<number>

/** Bare, guarded, and the bare policies of cockatiel, in turns. */
export async function guard({ budget, tasks: { hasPeers } }: Context): Promise<SectionReport> {
  const dependency = defineDependency({ name: 'bench' })
  const { ctx, close } = await inHandler()
  try {
    const systems: { name: string; use: Use; us: number[] }[] = [
      { name: 'the call alone', use: (work, signal) => work(signal), us: [] },
      { name: 'Holdfast: ctx.use', use: (work) => ctx.use(dependency, work), us: [] },
      ...(hasPeers ? [{ name: 'cockatiel 4: the same policies, bare', use: await cockatiel(), us: [] }] : []),
    ]
    for (const { use } of systems) await perCallUs(use, ctx.signal) // warm-up
    for (let round = 0; round < budget.rounds; round++) {
      progress(`guard: round ${round + 1} of ${budget.rounds}`)
      for (const { use, us } of systems) us.push(await perCallUs(use, ctx.signal))
    }
    clearProgress()
    const bare = median(systems[0]!.us)
    const rows = systems.map(({ name, us }) => {
      const { median: middle, min, max } = spread(us)
      return [name, middle.toFixed(2), `${min.toFixed(2)} – ${max.toFixed(2)}`, (middle - bare).toFixed(2)]
    })
    return {
      title: `A guarded call (${calls} at a time, one after the other)`,
      text: `${table(['', 'µs a call', 'rounds', 'more than alone'], rows)}\nWanted: ${wantedUs} µs or less.\n${loadNote()}`,
      data: systems.map(({ name, us }) => ({ name, us })),
      failures: 0,
    }
  } finally {
    await close()
  }
}

async function cockatiel(): Promise<Use> {
  ensurePeers()
  const { policies } = (await import(pathToFileURL(join(peersDir, 'policies.js')).href)) as { policies(): Use }
  return policies()
}

async function perCallUs(use: Use, signal: AbortSignal): Promise<number> {
  const work = async (): Promise<number> => 1
  const startedMs = performance.now()
  for (let call = 0; call < calls; call++) await use(work, signal)
  return ((performance.now() - startedMs) * 1000) / calls
}

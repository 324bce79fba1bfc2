/** A model that turns slow, then dead, then back, behind three nodes: what becomes of the tools that do not need it. */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startRedis } from '../../test/servers/redis.ts'
import { plotCascade } from '../cascade/plot.ts'
import { runCascade } from '../cascade/run.ts'
import type { Phase, Run, Sample } from '../cascade/run.ts'
import { probeMs } from '../cascade/settings.ts'
import type { Context, SectionReport } from '../lib/context.ts'
import { onAllCores } from '../lib/cores.ts'
import { loadNote } from '../lib/machine.ts'
import { ensurePeers } from '../lib/peers.ts'
import { clearProgress, progress } from '../lib/progress.ts'
import { resultsDir } from '../lib/results.ts'
import { median, quantile, spread } from '../lib/stats.ts'
import { table } from '../lib/table.ts'

/** Paired: with and without faults, in turns. */
const rounds = 5
/** Wanted: the others' p99 moves by so much at most, or by the spread of the runs without faults. */
const mostMoved = 0.2
/** Wanted: once the breaker is open. */
const mostOpenMs = 5

const ill: readonly Phase[] = [
  { behaviour: 'healthy', durationMs: 4000 },
  { behaviour: 'slow', durationMs: 12_000 },
  { behaviour: 'dead', durationMs: 6000 },
  { behaviour: 'healthy', durationMs: 6000 },
]
const well: readonly Phase[] = [{ behaviour: 'healthy', durationMs: 28_000 }]

/** What one run came to. */
interface Figures {
  othersP50Ms: number
  othersP99Ms: number
  othersLost: number
  answersGood: number
}

/** Three nodes over one Redis, with the guard and without. */
export function cascade(context: Context): Promise<SectionReport> {
  return onAllCores(context.cores, () => measure(context))
}

async function measure(context: Context): Promise<SectionReport> {
  await using redis = await startRedis()
  const keys = `bench:${randomBytes(32).toString('base64')}`
  const run = (isGuarded: boolean, phases: readonly Phase[]): Promise<Run> =>
    runCascade(context, { stateUrl: redis.url, keys, isGuarded, phases })
  const runs: { calm: Run; ill: Run }[] = []
  const count = context.budget.rounds < rounds * 2 ? 1 : rounds
  for (let round = 0; round < count; round++) {
    const one: { calm?: Run; ill?: Run } = {}
    for (const kind of round % 2 === 0 ? (['calm', 'ill'] as const) : (['ill', 'calm'] as const)) {
      progress(
        `cascade: round ${round + 1} of ${count}, ${kind === 'ill' ? 'the model falls ill' : 'the model is well'}`,
      )
      one[kind] = await run(true, kind === 'ill' ? ill : well)
    }
    runs.push(one as { calm: Run; ill: Run })
  }
  progress('cascade: without the guard')
  const bare = await run(false, ill)
  clearProgress()

  const pairs = runs.map((one) => ({ calm: figuresOf(one.calm), ill: figuresOf(one.ill) }))
  const calm = spread(pairs.map((pair) => pair.calm.othersP99Ms))
  const moved = median(pairs.map((pair) => pair.ill.othersP99Ms / pair.calm.othersP99Ms)) - 1
  const allowed = Math.max(mostMoved, calm.max / calm.min - 1)
  const open = runs.flatMap((one) => openMs(one.ill))
  const back = runs.flatMap((one) => recoveriesMs(one.ill))
  const bareFigures = figuresOf(bare)
  const plot = context.tasks.hasPeers ? writePlot(runs[0]!.ill, bare) : 'not drawn (--no-peers)'

  const lost = (pick: 'calm' | 'ill'): string => String(pairs.reduce((sum, pair) => sum + pair[pick].othersLost, 0))
  const row = (label: string, pick: 'calm' | 'ill'): string[] => [
    label,
    median(pairs.map((pair) => pair[pick].othersP50Ms)).toFixed(1),
    median(pairs.map((pair) => pair[pick].othersP99Ms)).toFixed(1),
    lost(pick),
  ]
  const lines = [
    table(
      ['the tools that need no model', 'p50 ms', 'p99 ms', 'not served'],
      [
        row('model well', 'calm'),
        row('model slow, dead, back', 'ill'),
        [
          'the same without the guard',
          bareFigures.othersP50Ms.toFixed(1),
          bareFigures.othersP99Ms.toFixed(1),
          String(bareFigures.othersLost),
        ],
      ],
    ),
    `p99 moved by ${percent(moved)} (median of ${count} pairs; allowed ${percent(allowed)}: 20 %, or the spread of the runs with a well model, ${calm.min.toFixed(1)} to ${calm.max.toFixed(1)} ms).`,
    `Calls of the ill model, once the breaker is open: p50 ${quantile(open, 0.5).toFixed(1)} ms, p99 ${quantile(open, 0.99).toFixed(1)} ms (${mostOpenMs} or less), ${open.length} of them.`,
    `First answer of a node after the model was back: ${median(back).toFixed(0)} ms, at most ${Math.max(...back).toFixed(0)} ms (one probe interval: ${probeMs} ms).`,
    `The plot: ${plot}`,
    loadNote(),
  ]
  const data = {
    pairs,
    bare: bareFigures,
    moved,
    allowed,
    openMs: { p50: quantile(open, 0.5), p99: quantile(open, 0.99) },
    back,
  }
  const failures = pairs.reduce((sum, pair) => sum + pair.ill.othersLost + pair.calm.othersLost, 0)
  return {
    title: 'Cascade (a model behind three nodes turns slow, then dead, then back)',
    text: lines.join('\n'),
    data,
    failures,
  }
}

function writePlot(guarded: Run, bare: Run): string {
  ensurePeers()
  const name = 'cascade.svg'
  writeFileSync(join(resultsDir, name), plotCascade(guarded, bare))
  return `bench/results/${name}`
}

const isOther = ({ tool }: Sample): boolean => tool !== 'answer'

function figuresOf({ samples }: Run): Figures {
  const others = samples.filter(isOther)
  const latencies = others.map(({ latencyMs }) => latencyMs)
  return {
    othersP50Ms: quantile(latencies, 0.5),
    othersP99Ms: quantile(latencies, 0.99),
    othersLost: others.filter(({ outcome }) => outcome !== 'good').length,
    answersGood: samples.filter((sample) => !isOther(sample) && sample.outcome === 'good').length,
  }
}

/** Calls that the guard did not let out. */
function openMs({ samples }: Run): number[] {
  return samples.filter((sample) => !isOther(sample) && sample.outcome === 'refused').map(({ latencyMs }) => latencyMs)
}

/** For each node, from the model's return to its first answer. */
function recoveriesMs({ samples, phasesAtMs }: Run): number[] {
  const backMs = phasesAtMs.at(-1)!
  return [0, 1, 2].map((node) =>
    Math.min(
      ...samples
        .filter((sample) => !isOther(sample) && sample.node === node && sample.outcome === 'good')
        .map(({ atMs, latencyMs }) => atMs + latencyMs - backMs)
        .filter((ms) => ms > 0),
    ),
  )
}

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`

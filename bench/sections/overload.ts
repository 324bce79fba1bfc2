/** What becomes of a server that is asked for five times as much as it can do. */
import { setTimeout as wait } from 'node:timers/promises'
import type { Context, SectionReport } from '../lib/context.ts'
import type { CallerFigures, OpenCaller, OpenLoopResult } from '../lib/load/open-loop.ts'
import { postBytes } from '../lib/load/request.ts'
import { messageOf } from '../lib/load/verify.ts'
import { peersDir } from '../lib/peers.ts'
import { residentBytes } from '../lib/process-figures.ts'
import { clearProgress, progress } from '../lib/progress.ts'
import { startServer } from '../lib/server-process.ts'
import type { ServerCommand, ServerProcess } from '../lib/server-process.ts'
import { table, whole } from '../lib/table.ts'
import { holdfastCommand } from '../lib/targets.ts'
import type { Target } from '../lib/targets.ts'
import { poolSize, serviceMs } from '../servers/pool.ts'

/** Calls a second that the pool can serve. */
const capacity = (poolSize * 1000) / serviceMs
/** A client's patience: forty times what a call takes when there is room. */
const patienceMs = 2000
/** One second of the overload: as many clients as there might be. */
const maxConnections = 4000
/** Loads before the long one, as shares of the capacity; the first says what is normal. */
const steps = [0.5, 1, 1.5]
const overload = 5
/** What the polite caller asks for: far less than its half. */
const politePerSecond = capacity / 10
const tool = 'query'

interface Measured {
  name: string
  label: string
  steps: { load: number; result: OpenLoopResult }[]
  overload: OpenLoopResult
  /** Resident memory, each second of the overload. */
  residentBytes: number[]
  /** The same overload, with a polite caller beside the greedy one. */
  pair: OpenLoopResult
}

/** Drives Holdfast and the official SDK, with the same tool, past what it can do. */
export async function overloaded(context: Context): Promise<SectionReport> {
  const title = `Overload (a tool with ${poolSize} places of ${serviceMs} ms: ${whole(capacity)} calls/s; ${overload} times as many for ${context.budget.overloadMs / 1000} s)`
  const measured: Measured[] = []
  const gaps: string[] = []
  for (const target of context.targets) {
    const command = commandOf(context, target)
    if (command === undefined) continue
    try {
      measured.push(await measure(context, target, command))
    } catch (error) {
      gaps.push(`${target.name} could not be measured: ${String(error)}`)
    }
  }
  clearProgress()
  const rows = measured.flatMap(rowsOf)
  const head = [
    'server',
    'load',
    'asked/s',
    'good/s',
    'of peak',
    'p50 ms',
    'p99 ms',
    'of normal',
    'refused',
    'gave up',
    'failed',
    'MiB',
  ]
  const notes = measured.flatMap(({ label, overload: { lateP99Ms } }) =>
    lateP99Ms > 20
      ? [
          `Doubt: requests for ${label} left the generator up to ${lateP99Ms.toFixed(0)} ms late (p99): its latencies look worse than they are.`,
        ]
      : [],
  )
  const text = [table(head, rows), ...measured.map(verdict), ...notes, ...gaps].join('\n')
  const failures =
    gaps.length +
    measured.filter(({ name }) => name.startsWith('holdfast')).reduce((sum, one) => sum + failuresOf(one), 0)
  return { title, text, data: measured, failures }
}

/** The wire of 2026-07-28 for both: one server each. */
function commandOf({ scratchDir }: Context, { name, wire }: Target): ServerCommand | undefined {
  if (wire.mode !== 'envelope') return undefined
  if (name.startsWith('holdfast')) return holdfastCommand('holdfast-overload', 'overload.ts', `${scratchDir}/overload`)
  if (name === 'sdk2-2026') return { name: 'sdk2-overload', args: ['sdk2-overload.js'], cwd: peersDir }
  return undefined
}

async function measure(context: Context, target: Target, command: ServerCommand): Promise<Measured> {
  const { wire, path } = target
  const first = (port: number) => ({
    bytes: postBytes({ method: 'tools/call', id: 1, params: { name: tool, arguments: {} } }, wire, { port, path }),
    accept: (head: { status: number }, body: string) =>
      head.status === 200 && JSON.stringify(messageOf(head as never, body)).includes('"text":"done"'),
  })
  const server = await startServer(command, { cores: context.cores, first })
  try {
    const run = (callers: OpenCaller[], durationMs: number): Promise<OpenLoopResult> =>
      context.load.openLoop({ port: server.port, path, wire, tool, callers, durationMs, patienceMs, maxConnections })
    const one = (load: number): OpenCaller[] => [{ name: 'all', from: '127.0.0.1', perSecond: load * capacity }]
    const shortMs = context.budget.overloadMs / 6
    progress(`overload: ${target.name}, warm-up`)
    await run(one(0.5), Math.min(3000, shortMs))
    const results: Measured['steps'] = []
    for (const load of steps) {
      progress(`overload: ${target.name}, ${load} of capacity`)
      results.push({ load, result: await run(one(load), shortMs) })
    }
    progress(`overload: ${target.name}, ${overload} of capacity`)
    const [result, resident] = await watched(server, run(one(overload), context.budget.overloadMs))
    await wait(1000)
    progress(`overload: ${target.name}, two callers`)
    const pair = await run(
      [
        { name: 'greedy', from: '127.0.0.1', perSecond: overload * capacity - politePerSecond },
        { name: 'polite', from: '127.0.0.2', perSecond: politePerSecond },
      ],
      2 * shortMs,
    )
    return { name: target.name, label: target.label, steps: results, overload: result, residentBytes: resident, pair }
  } finally {
    await server.stop()
  }
}

/** Reads the server's memory each second while something goes on. */
async function watched<T>(server: ServerProcess, work: Promise<T>): Promise<[T, number[]]> {
  const readings: number[] = []
  const timer = setInterval(() => readings.push(residentBytes(server.pid)), 1000)
  try {
    return [await work, readings]
  } finally {
    clearInterval(timer)
  }
}

const peakOf = ({ steps, overload }: Measured): number =>
  Math.max(...[...steps.map(({ result }) => result), overload].map(({ callers }) => callers[0]!.goodPerSecond))
const normalOf = ({ steps }: Measured): CallerFigures => steps[0]!.result.callers[0]!
const failuresOf = ({ steps, overload, pair }: Measured): number =>
  [...steps.map(({ result }) => result), overload, pair].reduce(
    (sum, { callers }) => sum + callers.reduce((inner, { failed }) => inner + failed, 0),
    0,
  )
/** Mean memory in a part of the overload. */
function meanMib(readings: readonly number[], from: number, to: number): number {
  const part = readings.slice(Math.floor(readings.length * from), Math.ceil(readings.length * to))
  return part.reduce((sum, bytes) => sum + bytes, 0) / part.length / 1024 / 1024
}

function rowsOf(measured: Measured): string[][] {
  const peak = peakOf(measured)
  const normal = normalOf(measured)
  const { residentBytes: memory } = measured
  const row = (load: string, figures: CallerFigures, mib: string): string[] => [
    measured.label,
    load,
    whole(figures.offeredPerSecond),
    whole(figures.goodPerSecond),
    (figures.goodPerSecond / peak).toFixed(2),
    figures.p50Ms.toFixed(0),
    figures.p99Ms.toFixed(0),
    figures.good === 0 ? '-' : (figures.p99Ms / normal.p99Ms).toFixed(1),
    whole(figures.shed),
    whole(figures.gaveUp),
    whole(figures.failed),
    mib,
  ]
  const [greedy, polite] = measured.pair.callers as [CallerFigures, CallerFigures]
  return [
    ...measured.steps.map(({ load, result: { callers } }) => row(`${load} ×`, callers[0]!, '')),
    row(
      `${overload} ×`,
      measured.overload.callers[0]!,
      `${meanMib(memory, 0.2, 0.4).toFixed(0)} → ${meanMib(memory, 0.8, 1).toFixed(0)}`,
    ),
    row('greedy', greedy, ''),
    row('polite', polite, ''),
  ]
}

function verdict(measured: Measured): string {
  const { callers } = measured.overload
  const all = callers[0]!
  const polite = measured.pair.callers[1]!
  const growth = meanMib(measured.residentBytes, 0.8, 1) - meanMib(measured.residentBytes, 0.2, 0.4)
  const percent = (share: number): string => `${(share * 100).toFixed(0)} %`
  const p99 =
    all.good === 0
      ? 'no answer in time'
      : `p99 ${(all.p99Ms / normalOf(measured).p99Ms).toFixed(1)} times the normal one`
  return `${measured.label}: at ${overload} times capacity ${percent(all.goodPerSecond / peakOf(measured))} of the peak, ${p99}, memory ${growth < 0 ? '' : '+'}${growth.toFixed(0)} MiB; the polite caller keeps ${percent(polite.good / polite.offered)}.`
}

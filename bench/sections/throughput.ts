/** The same `tools/call` at every server, in rounds that measure each server once. */
import { performance } from 'node:perf_hooks'
import type { Context, SectionReport } from '../lib/context.ts'
import type { LoadResult } from '../lib/load/generator.ts'
import type { Operation } from '../lib/load/request.ts'
import { cpuReading, residentBytes } from '../lib/process-figures.ts'
import { clearProgress, progress } from '../lib/progress.ts'
import { startServer } from '../lib/server-process.ts'
import type { ServerProcess } from '../lib/server-process.ts'
import { median, pairedRatio } from '../lib/stats.ts'
import { mebibytes, milliseconds, ratio, table, whole } from '../lib/table.ts'
import { firstRequest, reference } from '../lib/targets.ts'
import type { Target } from '../lib/targets.ts'

/** One server in one round. */
export interface Round extends LoadResult {
  /** Processor time of the server per answer, microseconds; `null` where the system does not tell. */
  cpuUsPerRequest: number | null
  /** Share of the time in which the server's main thread ran or wanted to: near 1, it was saturated. */
  serverBusy: number | null
  /** Share of the time in which it wanted to run and something else had its core. */
  serverWaited: number | null
}

interface Measured {
  target: Target
  server: ServerProcess
  rounds: Round[]
  residentBytes: number
  /** Why it is measured no further. */
  broken: string | undefined
}

/** What {@link throughput} says of one server. */
export interface Summary {
  name: string
  failures: number
  rounds: readonly Round[]
}

/** Measures `operation` at every target of the context and says how each compares with the reference. */
export async function throughput(
  context: Context,
  operation: Operation,
  title: string,
): Promise<SectionReport & { data: readonly Summary[] }> {
  const running: Measured[] = []
  try {
    for (const target of context.targets) {
      progress(`${title}: starting and warming ${target.name}`)
      const server = await startServer(target.command, { cores: context.cores, first: firstRequest(target, operation) })
      const measured: Measured = { target, server, rounds: [], residentBytes: 0, broken: undefined }
      running.push(measured)
      await unlessBroken(measured, async () => {
        const { failures, firstFailure } = await loadOnce(context, operation, measured, context.budget.warmupMs)
        if (failures > 0) throw new Error(`${failures} wrong answers while warming, the first: ${firstFailure}`)
      })
    }
    for (let round = 0; round < context.budget.rounds; round += 1) {
      // Every round starts elsewhere, so that no server always follows the same neighbour.
      for (let step = 0; step < running.length; step += 1) {
        const measured = running[(round + step) % running.length]!
        progress(`${title}: round ${round + 1} of ${context.budget.rounds}, ${measured.target.name}`)
        await unlessBroken(measured, async () => {
          measured.rounds.push(await loadOnce(context, operation, measured, context.budget.durationMs))
        })
      }
    }
    for (const measured of running) {
      if (measured.broken === undefined) measured.residentBytes = residentBytes(measured.server.pid)
    }
  } finally {
    await Promise.all(running.map(({ server }) => server.stop()))
    clearProgress()
  }
  return report(title, running)
}

/** One server that breaks must not cost the figures of the others; without the reference there is nothing to say. */
async function unlessBroken(measured: Measured, step: () => Promise<void>): Promise<void> {
  if (measured.broken !== undefined) return
  try {
    await step()
  } catch (error) {
    if (measured.target.name === reference) throw error
    measured.broken = String(error)
  }
}

async function loadOnce(
  { load, budget }: Context,
  operation: Operation,
  { target, server }: Measured,
  durationMs: number,
): Promise<Round> {
  const { wire, path } = target
  const before = cpuReading(server.pid)
  const startedAt = performance.now()
  const result = await load.load({
    port: server.port,
    path,
    wire,
    operation,
    connections: budget.connections,
    warmupMs: budget.settleMs,
    durationMs,
    listed: budget.listed,
  })
  const after = cpuReading(server.pid)
  const share = (from: number | undefined, to: number | undefined): number | null =>
    from === undefined || to === undefined ? null : (to - from) / (performance.now() - startedAt)
  return {
    ...result,
    cpuUsPerRequest: before === undefined ? null : ((after!.usedMs - before.usedMs) * 1000) / result.answered,
    serverBusy: share(before?.wantedMs, after?.wantedMs),
    serverWaited: share(before?.waitedMs, after?.waitedMs),
  }
}

function report(title: string, all: readonly Measured[]): SectionReport & { data: readonly Summary[] } {
  const running = all.filter(({ broken }) => broken === undefined)
  const base = running.find(({ target }) => target.name === reference)!
  const rates = ({ rounds }: Measured): number[] => rounds.map(({ requestsPerSecond }) => requestsPerSecond)
  const summaries = running.map((measured) => {
    const { target, rounds } = measured
    const cpu = cpuTimes(measured)
    return {
      name: target.name,
      label: target.label,
      revision: target.wire.revision,
      mode: target.wire.mode,
      requestsPerSecond: median(rates(measured)),
      ofReference: pairedRatio(rates(measured), rates(base)),
      p50Us: median(rounds.map(({ p50Us }) => p50Us)),
      p99Us: median(rounds.map(({ p99Us }) => p99Us)),
      cpuUsPerRequest: cpu.length === 0 ? null : median(cpu),
      cpuOfReference: cpu.length === 0 ? null : pairedRatio(cpu, cpuTimes(base)).median,
      residentBytes: measured.residentBytes,
      failures: rounds.reduce((sum, round) => sum + round.failures, 0),
      firstFailure: rounds.find(({ firstFailure }) => firstFailure !== undefined)?.firstFailure,
      rounds,
    }
  })
  const rows = summaries.map((row) => [
    row.label,
    `${row.revision} ${row.mode}`,
    whole(row.requestsPerSecond),
    ratio(row.ofReference),
    milliseconds(row.p50Us),
    milliseconds(row.p99Us),
    row.cpuUsPerRequest?.toFixed(1) ?? '-',
    row.cpuOfReference?.toFixed(2) ?? '-',
    mebibytes(row.residentBytes),
    row.failures === 0 ? '' : `${row.failures} WRONG`,
  ])
  const head = ['server', 'wire', 'req/s', 'of plain', 'p50 ms', 'p99 ms', 'cpu µs/req', 'cpu/plain', 'rss MiB', '']
  const wrong = summaries
    .filter(({ failures }) => failures > 0)
    .map(({ name, firstFailure }) => `${name}: first wrong answer: ${firstFailure}`)
  const broken = all.filter((measured) => measured.broken !== undefined)
  const gaps = broken.map((measured) => `${measured.target.name} could not be measured: ${measured.broken}`)
  const text = [table(head, rows), ...wrong, ...gaps, ...doubts(base)].join('\n')
  const failures = broken.length + summaries.reduce((sum, summary) => sum + summary.failures, 0)
  return { title, text, data: summaries, failures }
}

/** Processor time per request in each round; empty where the system does not tell. */
function cpuTimes({ rounds }: Measured): number[] {
  return rounds.map(({ cpuUsPerRequest }) => cpuUsPerRequest).filter((value) => value !== null)
}

/** What makes the figures of this run doubtful: said beside them, not left to the reader to find out. */
function doubts({ rounds }: Measured): string[] {
  const middle = (figure: (round: Round) => number | null): number | undefined => {
    const values = rounds.map(figure).filter((value) => value !== null)
    return values.length === 0 ? undefined : median(values)
  }
  const generatorBusy = middle((round) => round.generatorBusy)!
  const serverBusy = middle((round) => round.serverBusy)
  const waited = middle((round) => round.serverWaited)
  const notes: string[] = []
  if (serverBusy !== undefined && serverBusy < 0.9) {
    const cause = generatorBusy > 0.9 ? 'the generator was at its limit' : 'the generator was kept from its core'
    notes.push(
      `Doubt: plain node:http was busy ${percent(serverBusy)} of the time, because ${cause}: it can do more, and rates compared with it look too good. Look at cpu/plain.`,
    )
  }
  if (waited !== undefined && waited > 0.1) {
    notes.push(`Doubt: other programs had the server's core ${percent(waited)} of the time: all rates are too low.`)
  }
  return notes
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`
}

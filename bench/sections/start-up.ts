/** Time from spawn to the first right answer, and what is resident then. */
import { join } from 'node:path'
import type { Context, SectionReport } from '../lib/context.ts'
import { residentBytes } from '../lib/process-figures.ts'
import { clearProgress, progress } from '../lib/progress.ts'
import { startServer } from '../lib/server-process.ts'
import { median, spread } from '../lib/stats.ts'
import { mebibytes, table } from '../lib/table.ts'
import { firstRequest, holdfastCommand, missing, scriptCommand } from '../lib/targets.ts'
import type { Target } from '../lib/targets.ts'

interface Spawned {
  target: Target
  firstAnswerMs: number[]
  residentBytes: number[]
}

/** Spawns each server in turn, as often as the budget says; the first turn warms the file cache and is not counted. */
export async function startUp(context: Context): Promise<SectionReport> {
  const title = 'Start-up: spawn to first answer'
  const spawned = startUpTargets(context).map((target): Spawned => ({ target, firstAnswerMs: [], residentBytes: [] }))
  for (let turn = 0; turn <= context.budget.spawns; turn += 1) {
    for (const { target, firstAnswerMs, residentBytes: resident } of spawned) {
      progress(`${title}: ${turn} of ${context.budget.spawns}, ${target.name}`)
      const server = await startServer(target.command, { cores: context.cores, first: firstRequest(target, 'add') })
      if (turn > 0) {
        firstAnswerMs.push(server.firstAnswerMs)
        resident.push(residentBytes(server.pid))
      }
      await server.stop()
    }
  }
  clearProgress()
  const floor = median(spawned[0]!.firstAnswerMs)
  const summaries = spawned.map((one) => ({
    name: one.target.name,
    firstAnswerMs: spread(one.firstAnswerMs),
    aboveBareMs: median(one.firstAnswerMs) - floor,
    residentBytes: median(one.residentBytes),
    raw: one.firstAnswerMs,
  }))
  const rows = summaries.map(({ firstAnswerMs: { median: middle, min, max }, ...row }, index) => [
    spawned[index]!.target.label,
    middle.toFixed(0),
    `${min.toFixed(0)}–${max.toFixed(0)}`,
    row.aboveBareMs.toFixed(0),
    mebibytes(row.residentBytes),
  ])
  const text = table(['server', 'median ms', 'min–max', 'above bare', 'rss MiB'], rows)
  return { title: `${title} (${context.budget.spawns} spawns each)`, text, data: summaries, failures: 0 }
}

/** A bare program, Holdfast with a definition in JavaScript, and the peers once each, whatever their wires. */
function startUpTargets({ targets, scratchDir }: Context): Target[] {
  const [plain, ...others] = targets
  const { wire, path } = plain!
  const bare: Target = { name: 'bare', label: 'bare node:http', wire, path, command: scriptCommand('bare', 'bare.js') }
  const command = holdfastCommand('holdfast-js', 'one-tool.js', join(scratchDir, 'data'))
  const holdfast: Target = { name: 'holdfast-js', label: 'Holdfast, one tool', wire, path, command }
  const selected = others.some(({ label }) => label === 'Holdfast') && missing(holdfast) === undefined ? [holdfast] : []
  const scripts = new Set<string>()
  const peers = others.filter(({ package: name, command: { args } }) => {
    if (name === undefined || scripts.has(args[0]!)) return false
    scripts.add(args[0]!)
    return true
  })
  return [bare, ...selected, ...peers]
}

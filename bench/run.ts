/** `npm run bench`: measures Holdfast beside its peers and plain `node:http`. See README.md here. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { killAll } from './lib/children.ts'
import { fullBudget, quickBudget } from './lib/context.ts'
import type { Context, SectionReport } from './lib/context.ts'
import { claimCores } from './lib/cores.ts'
import { LoadProcess } from './lib/load-process.ts'
import { describeMachine } from './lib/machine.ts'
import { clearProgress, progress } from './lib/progress.ts'
import { allTargets, missing, selectTargets } from './lib/targets.ts'
import { throughput } from './sections/throughput.ts'

interface Options {
  quick?: true
  json?: true
  only?: string[]
}

const list = (value: string): string[] => value.split(',').map((name) => name.trim())

const options = new Command('bench')
  .description('Measures Holdfast beside its peers and plain node:http: the same work, the same core, one run.')
  .option('--quick', 'short rounds: a first impression, not a result')
  .option(
    '--only <names>',
    'servers to measure, by comma: a name, or a family such as holdfast (plain is always measured)',
    list,
  )
  .option('--json', 'print the result as JSON on stdout instead of tables')
  .parse()
  .opts<Options>()

const scratchDir = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))
process.on('exit', () => {
  killAll()
  rmSync(scratchDir, { recursive: true, force: true })
})
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  process.once(signal, () => process.exit(code))

const cores = claimCores()
const say = (text: string): void => {
  clearProgress()
  if (options.json === true) process.stderr.write(`${text}\n`)
  else process.stdout.write(`${text}\n`)
}
const machine = describeMachine(cores)
say(`${machine.cpu}, ${machine.cores} cores, Node ${machine.node}; ${machine.pinning}`)

const targets = selectTargets(allTargets(join(scratchDir, 'data')), options.only ?? ['plain', 'holdfast']).filter(
  (target) => {
    const why = missing(target)
    if (why !== undefined) say(`${target.name} is left out: ${why}`)
    return why === undefined
  },
)
const budget = options.quick === true ? quickBudget : fullBudget
const load = new LoadProcess()
const context: Context = { cores, load, budget, targets, scratchDir }
const reports: SectionReport[] = []
reports.push(await throughput(context, 'add', 'tools/call'))
await load.stop()

for (const { title, text } of reports) say(`\n${title}\n\n${text}`)
const result = {
  measuredAt: new Date().toISOString(),
  machine,
  budget,
  sections: reports.map(({ title, data }) => ({ title, data })),
}
const resultsDir = fileURLToPath(new URL('results/', import.meta.url))
mkdirSync(resultsDir, { recursive: true })
const resultPath = join(resultsDir, `${result.measuredAt.replaceAll(':', '-').slice(0, 19)}.json`)
writeFileSync(resultPath, `${JSON.stringify(result, undefined, 2)}\n`)
progress('')
say(`\nWritten: ${resultPath}`)
if (options.json === true) process.stdout.write(`${JSON.stringify(result)}\n`)
process.exit(reports.some(({ failures }) => failures > 0) ? 1 : 0)

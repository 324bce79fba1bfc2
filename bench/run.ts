/** `npm run bench`: measures Holdfast beside its peers and plain `node:http`. See README.md here. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import { killAll } from './lib/children.ts'
import { fullBudget, quickBudget } from './lib/context.ts'
import type { Context, SectionReport } from './lib/context.ts'
import { claimCores } from './lib/cores.ts'
import { LoadProcess } from './lib/load-process.ts'
import { describeMachine } from './lib/machine.ts'
import { installPeers, peersInstalled, peerVersions } from './lib/peers.ts'
import { clearProgress } from './lib/progress.ts'
import { resultsDir, writeResults } from './lib/results.ts'
import type { Results } from './lib/results.ts'
import type { ServerCommand } from './lib/server-process.ts'
import { allTargets, missing, selectTargets } from './lib/targets.ts'
import type { Target } from './lib/targets.ts'
import { cache } from './sections/cache.ts'
import { cascade } from './sections/cascade.ts'
import { fanOut } from './sections/fan-out.ts'
import { guard } from './sections/guard.ts'
import { idleStreams } from './sections/idle-streams.ts'
import { nodes } from './sections/nodes.ts'
import { limited } from './sections/limits.ts'
import { overloaded } from './sections/overload.ts'
import { startUp } from './sections/start-up.ts'
import { taskPeers } from './sections/tasks-peers.ts'
import { taskRows } from './sections/tasks-rows.ts'
import { tasks } from './sections/tasks.ts'
import { throughput } from './sections/throughput.ts'
import { toolList } from './sections/tool-list.ts'

interface Options {
  quick?: true
  json?: true
  profile?: true
  peers: boolean
  only?: string[]
  sections: string[]
  pairs?: string[]
  rows: number[]
}

const sections: Record<string, (context: Context) => Promise<SectionReport | undefined>> = {
  call: (context) => throughput(context, 'add', 'tools/call'),
  'start-up': startUp,
  streams: idleStreams,
  list: toolList,
  limits: limited,
  overload: overloaded,
  'fan-out': fanOut,
  nodes,
  guard,
  cache,
  cascade,
  tasks,
  'tasks-peers': taskPeers,
  'tasks-rows': taskRows,
}

/** Prints for people: to stdout, or to stderr where stdout carries the JSON. */
function say(text: string): void {
  clearProgress()
  const stream = options.json === true ? process.stderr : process.stdout
  stream.write(`${text}\n`)
}

function parseOptions(): Options {
  const byComma = (value: string): string[] => value.split(',').map((name) => name.trim())
  const sectionNames = (value: string): string[] => {
    const names = byComma(value)
    const unknown = names.find((name) => !Object.hasOwn(sections, name))
    if (unknown === undefined) return names
    throw new InvalidArgumentError(`No section is named ${unknown}: choose from ${Object.keys(sections).join(', ')}.`)
  }
  return new Command('bench')
    .description('Measures Holdfast beside its peers and plain node:http: the same work, the same core, one run.')
    .option('--quick', 'short rounds: a first impression, not a result')
    .option(
      '--only <names>',
      'servers to measure, by comma; a family such as holdfast or sdk2 counts (plain always runs)',
      byComma,
    )
    .addOption(
      new Option('--sections <names>', 'what to measure, by comma')
        .argParser(sectionNames)
        .default(Object.keys(sections)),
    )
    .option('--pairs <names>', 'of tasks: stores, or store+queue, by comma (postgres,sqlite+rabbitmq)', byComma)
    .option(
      '--rows <counts>',
      'of tasks-rows: rows beside which claims are timed, by comma (1000000 takes minutes)',
      (value) => byComma(value).map(Number),
      [1000, 100_000],
    )
    .option('--no-peers', 'measure Holdfast and plain node:http alone, and install nothing')
    .option('--profile', 'also write a V8 processor profile of each Holdfast server of `call` into bench/results')
    .option('--json', 'print the result as JSON on stdout; everything else goes to stderr')
    .parse()
    .opts<Options>()
}

/** Sections that measure none of the servers. */
const needsNoTargets = (section: string): boolean =>
  section.startsWith('tasks') || section === 'guard' || section === 'cascade'

/** The servers of this run; says which are left out and why, and installs the peers where they are wanted. */
function chooseTargets(scratchDir: string): Target[] {
  if (options.sections.every(needsNoTargets)) return []
  const all = allTargets(join(scratchDir, 'data'))
  let targets = options.only === undefined ? all : selectTargets(all, options.only)
  if (!options.peers) {
    const [kept, left] = [
      targets.filter((target) => target.package === undefined),
      targets.filter((target) => target.package !== undefined),
    ]
    if (left.length > 0) say(`Left out (--no-peers): ${left.map(({ name }) => name).join(', ')}`)
    targets = kept
  }
  if (targets.some((target) => target.package !== undefined) && !peersInstalled()) {
    say('Installing the other servers into bench/peers/node_modules (npm ci, once; --no-peers goes without)')
    installPeers()
  }
  return targets.filter((target) => {
    const why = missing(target)
    if (why !== undefined) say(`Left out: ${target.name} (${why})`)
    return why === undefined
  })
}

/** Node writes the profile when the server ends, which Holdfast does in order. */
function profiled({ name, args, ...rest }: ServerCommand): ServerCommand {
  return {
    ...rest,
    name,
    args: ['--cpu-prof', `--cpu-prof-dir=${resultsDir}`, `--cpu-prof-name=${name}.cpuprofile`, ...args],
  }
}

/** Measures section after section; returns whether every answer was right. */
async function main(scratchDir: string): Promise<boolean> {
  const targets = chooseTargets(scratchDir)
  const versions = targets.some((target) => target.package !== undefined) ? peerVersions() : {}
  for (const target of targets) if (target.package !== undefined) target.label += ` ${versions[target.package]}`
  if (options.profile === true)
    for (const target of targets) if (target.label === 'Holdfast') target.command = profiled(target.command)
  const cores = claimCores()
  const machine = describeMachine(cores)
  say(`${machine.cpu}, ${machine.cores} cores, Node ${machine.node}; ${cores.note}`)

  const budget = options.quick === true ? quickBudget : fullBudget
  const load = new LoadProcess()
  const choice = { pairs: options.pairs, rows: options.rows, hasPeers: options.peers }
  const context: Context = { cores, load, budget, targets, tasks: choice, scratchDir }
  const results: Results = { startedAt: new Date().toISOString(), machine, versions, budget, sections: [] }
  for (const name of options.sections) {
    const report = await sections[name]!(context)
    if (report === undefined) continue
    results.sections.push(report)
    writeResults(results)
    say(`\n${report.title}\n\n${report.text}`)
  }
  await load.stop()
  say(`\nWritten: ${writeResults(results)}`)
  if (options.json === true) process.stdout.write(`${JSON.stringify(results)}\n`)
  return results.sections.every(({ failures }) => failures === 0)
}

const options = parseOptions()
const scratchDir = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))
process.on('exit', () => {
  killAll()
  rmSync(scratchDir, { recursive: true, force: true })
})
process.once('SIGINT', () => process.exit(130))
process.once('SIGTERM', () => process.exit(143))
try {
  process.exitCode = (await main(scratchDir)) ? 0 : 1
} catch (error) {
  clearProgress()
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}

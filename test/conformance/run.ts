// `npm run conformance`: the official conformance suite against examples/everything, started by the command line.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { startTestCluster } from '../cluster/cluster.ts'
import { NOT_RUN, REVISIONS, RUN, type Revision, type Scenario } from './scenarios.ts'
import { startServer } from './server.ts'
import { runScenario, type Outcome } from './suite.ts'

const HELP = `Runs the official MCP conformance suite against examples/everything.

Usage: npm run conformance -- [options]

  --scenario <name>      run this scenario alone, also one that is not on the list; may be repeated
  --revision <revision>  ${REVISIONS.join(' or ')}; may be repeated. Default: both
  --cluster              against three nodes behind a round-robin proxy and two workers, which share a Redis and a
                         Postgres; default: one node, which runs tasks itself
  --json                 print one JSON document instead of lines
  --help                 print this

Exit code: 0 if every scenario passed, 1 if one failed, 2 for wrong options, 130 if interrupted.`

/** How many scenarios run at once: each is a process that mostly waits. */
const PARALLEL = 2

const EVERYTHING = resolve('examples/everything/server.ts')

interface Job {
  revision: Revision
  scenario: Scenario
}

class UsageError extends Error {}

function readOptions(): { jobs: Job[]; cluster: boolean; json: boolean; help: boolean; all: boolean } {
  const { values } = parseArgs({
    options: {
      scenario: { type: 'string', multiple: true, default: [] },
      revision: { type: 'string', multiple: true, default: [...REVISIONS] },
      cluster: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const jobs = values.revision.flatMap((name) => {
    const revision = REVISIONS.find((known) => known === name)
    if (!revision) throw new UsageError(`There is no revision "${name}". The suite knows ${REVISIONS.join(' and ')}.`)
    const wanted = values.scenario
    const known: Scenario[] = wanted.length === 0 ? [...RUN[revision]] : [...RUN[revision], ...NOT_RUN[revision]]
    return known
      .filter((scenario) => wanted.length === 0 || wanted.includes(scenario.name))
      .map((scenario) => ({ revision, scenario }))
  })
  for (const name of values.scenario)
    if (!jobs.some((job) => job.scenario.name === name))
      throw new UsageError(`There is no scenario "${name}" for ${values.revision.join(' or ')}. See scenarios.ts.`)
  return { jobs, cluster: values.cluster, json: values.json, help: values.help, all: values.scenario.length === 0 }
}

async function runAll(
  url: string,
  jobs: readonly Job[],
  dir: string,
  signal: AbortSignal,
  onOutcome: (outcome: Outcome) => void,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  const queue = jobs.values()
  const work = async (): Promise<void> => {
    for (const { revision, scenario } of queue) {
      const outcome = await runScenario(url, revision, scenario, dir, signal)
      outcomes.push(outcome)
      onOutcome(outcome)
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, work))
  return outcomes
}

function printOutcome({ revision, scenario, checksPassed, problems }: Outcome): void {
  console.log(`${problems.length === 0 ? 'ok  ' : 'FAIL'} ${revision} ${scenario}: ${checksPassed} checks passed`)
  for (const problem of problems) console.log(`       ${problem}`)
}

async function main(): Promise<number> {
  const options = readOptions()
  if (options.help) {
    console.log(HELP)
    return 0
  }
  const interrupted = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupted.abort())
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-conformance-'))
  try {
    await using server = options.cluster
      ? await startTestCluster({ definition: EVERYTHING, workers: 2 })
      : await startServer(EVERYTHING, dir, interrupted.signal)
    const onOutcome = options.json ? () => undefined : printOutcome
    const outcomes = await runAll(server.url, options.jobs, dir, interrupted.signal, onOutcome)
    const revisions = new Set(options.jobs.map((job) => job.revision))
    const notRun = options.all
      ? [...revisions].flatMap((revision) => NOT_RUN[revision].map((scenario) => ({ revision, ...scenario })))
      : []
    const failed = outcomes.filter((outcome) => outcome.problems.length > 0).length
    const passed = outcomes.length - failed
    const checks = outcomes.reduce((sum, outcome) => sum + outcome.checksPassed, 0)
    if (options.json) console.log(JSON.stringify({ passed, failed, checks, outcomes, notRun }, null, 2))
    else {
      for (const { name, revision, reason } of notRun) console.log(`NOT RUN: ${name} (${revision}): ${reason}`)
      console.log(`conformance: ${passed} passed, ${failed} failed (${checks} checks), ${notRun.length} not run`)
    }
    return failed === 0 && passed > 0 ? 0 : 1
  } catch (error) {
    if (interrupted.signal.aborted) return 130
    throw error
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  const isUsage = error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')
  console.error(isUsage ? `${(error as Error).message}\n\n${HELP}` : error)
  process.exitCode = isUsage ? 2 : 1
}

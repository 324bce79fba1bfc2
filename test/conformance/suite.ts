import { spawn } from 'node:child_process'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Revision, Scenario } from './scenarios.ts'

const SCENARIO_TIMEOUT_MS = 60_000

/** The suite adds this check to every scenario; it passes also when the server never answered. */
const SCHEMA_CHECK = 'wire-schema-valid'

/** The suite's command line program, started by file so that no shell and no PATH is needed. */
export const SUITE = join(
  dirname(createRequire(import.meta.url).resolve('@modelcontextprotocol/conformance/package.json')),
  'dist/index.js',
)

/** One entry of the suite's `checks.json`. */
export interface Check {
  id: string
  status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO'
  errorMessage?: string
}

/** What a scenario came to: it passed if `problems` is empty. */
export interface Outcome {
  revision: Revision
  scenario: string
  /** How many checks the suite passed. */
  checksPassed: number
  problems: string[]
}

/**
 * Runs one scenario against a server, at one revision of the protocol.
 *
 * @param outputDir folder for what the suite writes; made if missing
 * @param signal aborts the run by ending the suite's process
 */
export async function runScenario(
  url: string,
  revision: Revision,
  scenario: Scenario,
  outputDir: string,
  signal: AbortSignal,
): Promise<Outcome> {
  const dir = join(outputDir, revision, scenario.name)
  await mkdir(dir, { recursive: true })
  // `--force` is what the suite's own `--requirements` does: the requirement set decides what belongs to a revision.
  const suiteArguments = ['--url', url, '--scenario', scenario.name, '--spec-version', revision, '--force', '-o', dir]
  const child = spawn(process.execPath, [SUITE, 'server', ...suiteArguments], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Half of a scenario's time is loading the suite; the cache takes a quarter off that.
    env: { ...process.env, NODE_COMPILE_CACHE: join(outputDir, 'compile-cache') },
    signal: AbortSignal.any([signal, AbortSignal.timeout(SCENARIO_TIMEOUT_MS)]),
  })
  const ended = new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', () => resolve(undefined))
  })
  const [failure, , stderr] = await Promise.all([ended, text(child.stdout), text(child.stderr)])
  signal.throwIfAborted()
  const outcome = (checksPassed: number, problems: string[]): Outcome => ({
    revision,
    scenario: scenario.name,
    checksPassed,
    problems,
  })
  if (failure !== undefined)
    return outcome(0, [`the suite did not finish within ${SCENARIO_TIMEOUT_MS} ms: ${failure}`])
  const checks = await readChecks(dir)
  if (checks === undefined) return outcome(0, [`the suite wrote no checks.json: ${stderr.trim().slice(-500)}`])
  return outcome(checks.filter((check) => check.status === 'SUCCESS').length, judge(scenario, checks))
}

/**
 * Says what is wrong with a scenario's checks. The suite's own exit code ignores warnings and skipped checks, and a
 * scenario without checks; none of these counts as passed here.
 */
export function judge(scenario: Scenario, checks: readonly Check[]): string[] {
  if (scenario.isStub === true) return judgeStub(checks)
  const problems = checks
    .filter(({ status }) => status === 'FAILURE' || status === 'WARNING' || status === 'SKIPPED')
    .map(({ status, id, errorMessage }) => `${status} ${id}${errorMessage === undefined ? '' : `: ${errorMessage}`}`)
  const passed = new Set(checks.filter(({ status }) => status === 'SUCCESS').map(({ id }) => id))
  passed.delete(SCHEMA_CHECK)
  if (passed.size === 0) problems.push('no check passed: the scenario tested nothing')
  for (const id of scenario.mustPass ?? [])
    if (!passed.has(id)) problems.push(`the check ${id} is not among the passed ones: its feature was not tested`)
  return problems
}

/** All that a stub may hold is the word that it is skipped. */
function judgeStub(checks: readonly Check[]): string[] {
  const own = checks.filter(({ id }) => id !== SCHEMA_CHECK)
  if (own.length > 0 && own.every(({ status }) => status === 'SKIPPED')) return []
  return ['the scenario is no stub any more: take `isStub` from it']
}

async function readChecks(dir: string): Promise<Check[] | undefined> {
  // The suite makes one folder a run, named after the scenario and the time.
  const [folder] = await readdir(dir)
  if (folder === undefined) return undefined
  const file = await readFile(join(dir, folder, 'checks.json'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  return file === undefined ? undefined : (JSON.parse(file) as Check[])
}

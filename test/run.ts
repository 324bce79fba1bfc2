// The whole verification: `npm test`. Prints each suite with its counts, and ends with a line `N passed, N failed`.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'

interface Suite {
  name: string
  passed: number
  failed: number
}
interface Stage {
  name: string
  about: string
  run(): Promise<Suite[]>
}

const root = join(import.meta.dirname, '..')
const temp = mkdtempSync(join(tmpdir(), 'holdfast-test-'))
const children = new Set<ReturnType<typeof spawn>>()

/** Runs a program in its own process group, so that it and what it started can be ended together. */
function run(command: string, args: string[]): Promise<{ code: number; output: string }> {
  const env = { ...process.env, TMPDIR: temp, PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}` }
  const child = spawn(command, args, { cwd: root, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  children.add(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      if (values.verbose) process.stderr.write(chunk)
    })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      children.delete(child)
      resolve({ code: code ?? 1, output })
    })
  })
}

/** A check that passes or fails as a whole. */
async function check(name: string, command: string, ...args: string[]): Promise<Suite[]> {
  const { code, output } = await run(command, args)
  if (code !== 0) console.log(output.trimEnd())
  return [{ name, passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1 }]
}

interface VitestReport {
  testResults: {
    name: string
    status: string
    message: string
    assertionResults: { status: string; fullName: string; failureMessages: string[] }[]
  }[]
}

/** Everything under `test/` that vitest runs, a suite for each folder. */
async function vitest(): Promise<Suite[]> {
  const file = join(temp, 'vitest.json')
  const { code, output } = await run('vitest', ['run', '--reporter=json', `--outputFile=${file}`])
  const suites = new Map<string, Suite>()
  let report: VitestReport
  try {
    report = JSON.parse(readFileSync(file, 'utf8')) as VitestReport
  } catch {
    console.log(output)
    return [{ name: 'vitest', passed: 0, failed: 1 }]
  }
  for (const { name, status, message, assertionResults } of report.testResults) {
    const folder = relative(join(root, 'test'), name).split('/')[0]!
    const suite = suites.get(folder) ?? { name: folder, passed: 0, failed: 0 }
    suites.set(folder, suite)
    const failed = assertionResults.filter((result) => result.status !== 'passed')
    suite.passed += assertionResults.length - failed.length
    suite.failed += failed.length
    for (const result of failed)
      console.log(`FAILED ${relative(root, name)}: ${result.fullName}\n${result.failureMessages.join('\n')}`)
    // A file that fails outside of a test (in its setup, or by a leak) fails the suite too; so does one without a test.
    if (failed.length === 0 && (status !== 'passed' || assertionResults.length === 0)) {
      suite.failed++
      console.log(`FAILED ${relative(root, name)}: ${message || 'no test ran'}`)
    }
  }
  const all = [...suites.values()]
  if (code !== 0 && all.every(({ failed }) => failed === 0)) {
    console.log(output)
    all.push({ name: 'vitest (an error outside of tests)', passed: 0, failed: 1 })
  }
  return all
}

/** A program of ours that ends with `NAME: N passed, N failed`. */
async function program(name: string, file: string, ...args: string[]): Promise<Suite[]> {
  const { code, output } = await run('node', [file, ...args])
  const match = /(\d+) passed, (\d+) failed[^\n]*\s*$/.exec(output)
  const [passed, failed] = match === null ? [0, 1] : [Number(match[1]), Number(match[2])]
  const isGood = code === 0 && failed === 0 && passed > 0
  if (!isGood) console.log(output.trimEnd())
  else for (const line of output.split('\n').filter((line) => /^(NOT RUN|READY)\b/.test(line))) console.log(line)
  return [{ name, passed, failed: isGood ? failed : Math.max(1, failed) }]
}

const STAGES: Stage[] = [
  { name: 'build', about: 'the package builds', run: () => check('build', 'npm', 'run', 'build') },
  { name: 'format', about: 'prettier', run: () => check('format', 'prettier', '--check', '--log-level', 'warn', '.') },
  { name: 'lint', about: 'oxlint with types, and import cycles', run: () => check('lint', 'oxlint', '--type-aware') },
  { name: 'types', about: 'TypeScript over everything, type tests included', run: () => check('types', 'tsc') },
  {
    name: 'servers',
    about: 'the real servers that tests run against, installed if need be',
    run: () => program('servers', 'test/servers/prepare.ts'),
  },
  { name: 'vitest', about: 'unit, contract, end-to-end and property tests', run: vitest },
  {
    name: 'conformance',
    about: 'the official conformance suite',
    run: () => program('conformance', 'test/conformance/run.ts'),
  },
  {
    name: 'cluster',
    about: 'the conformance suite against three nodes behind a round-robin proxy',
    run: () => program('conformance (cluster)', 'test/conformance/run.ts', '--cluster'),
  },
  {
    name: 'faults',
    about: 'every feature while the way to a backend of it is broken: one fault for each backend',
    run: () => program('faults', 'test/faults/run.ts', '--short'),
  },
  {
    name: 'chaos',
    about: 'tasks on real stores and brokers while everything breaks, and broken builds that must be found',
    run: () => program('chaos', 'test/chaos/short.ts'),
  },
  {
    name: 'packaging',
    about: 'the packed package, installed and run on each supported Node',
    run: () => program('packaging', 'test/packaging/run.ts'),
  },
]

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [] },
    verbose: { type: 'boolean', short: 'v', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  console.log(
    `npm test -- [--only STAGE]… [--verbose]\n\nStages:\n${STAGES.map(({ name, about }) => `  ${name.padEnd(12)} ${about}`).join('\n')}`,
  )
  process.exit(0)
}
const unknown = values.only.filter((name) => !STAGES.some((stage) => stage.name === name))
if (unknown.length > 0) {
  console.error(`There is no stage ${unknown.join(', ')}. The stages are ${STAGES.map(({ name }) => name).join(', ')}.`)
  process.exit(2)
}

function cleanUp(): void {
  for (const child of children) {
    try {
      process.kill(-child.pid!, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
  rmSync(temp, { recursive: true, force: true })
}
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    cleanUp()
    process.exit(130)
  })

let passed = 0
let failed = 0
for (const stage of STAGES.filter(({ name }) => values.only.length === 0 || values.only.includes(name))) {
  const startedMs = performance.now()
  const suites = await stage.run()
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1)
  for (const suite of suites) {
    passed += suite.passed
    failed += suite.failed
    console.log(
      `${suite.failed === 0 ? 'ok    ' : 'FAILED'} ${suite.name.padEnd(24)} ${String(suite.passed).padStart(6)} passed ${String(suite.failed).padStart(4)} failed`,
    )
  }
  console.log(`       ${stage.name} took ${seconds} s`)
}
cleanUp()
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 && passed > 0 ? 0 : 1

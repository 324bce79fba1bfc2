// `npm run test:faults`: see the help text.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { BACKEND_NAMES, type BackendName } from './backend.ts'
import { ABOUT_FAULT, FAULTS, type FaultName } from './faults.ts'
import { FEATURE_NAMES } from './features.ts'
import type { Line } from './stand-process.ts'

const HELP = `Breaks the way to each backend under load, and holds every cell of the table in docs/failures.md.

Usage: npm run test:faults -- [options]

  --backend <name>   ${BACKEND_NAMES.join(', ')}; may be repeated. Default: all
  --fault <name>     ${FAULTS.join(', ')}; may be repeated. Default: all
  --feature <name>   may be repeated. Default: all
  --short            one fault for each backend: every row of the table, in a minute or two
  --together <n>     backends at once, each in a process of its own (default 2)
  --verbose          every cell, with its figures
  --help             print this

Faults:
${FAULTS.map((name) => `  ${name.padEnd(12)} ${ABOUT_FAULT[name]}`).join('\n')}
Features: ${FEATURE_NAMES.join(', ')}.
Exit code: 0 if every cell held, else 1.`

/** The one fault of each that is looked at in short. */
const SHORT: Readonly<Record<BackendName, FaultName>> = {
  redis: 'black-holed',
  postgres: 'black-holed',
  dynamodb: 'refused',
  s3: 'flapping',
  rabbitmq: 'refused',
  kafka: 'black-holed',
  sqs: 'slow',
}

const { values } = parseArgs({
  options: {
    backend: { type: 'string', multiple: true },
    fault: { type: 'string', multiple: true },
    feature: { type: 'string', multiple: true },
    short: { type: 'boolean', default: false },
    together: { type: 'string', default: '2' },
    verbose: { type: 'boolean', short: 'v', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  console.log(HELP)
  process.exit(0)
}
const among = <Name extends string>(given: string[] | undefined, all: readonly Name[]): readonly Name[] | undefined =>
  given?.every((name) => (all as readonly string[]).includes(name)) === false ? undefined : ((given ?? all) as Name[])
const backends = among(values.backend, BACKEND_NAMES)
const faults = among(values.fault, FAULTS)
const features = among(values.feature, FEATURE_NAMES)
const together = Number(values.together)
if (backends === undefined || faults === undefined || features === undefined || !(together >= 1)) {
  console.error(HELP)
  process.exit(2)
}

const children = new Set<ReturnType<typeof spawn>>()
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    for (const child of children) child.kill('SIGKILL') // its watchdog ends what it has started
    process.exit(130)
  })

let passed = 0
let failed = 0
const waiting = [...backends]
await Promise.all(
  Array.from({ length: together }, async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift())
      await stand(name, values.short && values.fault === undefined ? [SHORT[name]] : faults)
  }),
)
console.log(`faults: ${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 && passed > 0 ? 0 : 1

/** Runs the faults of one backend in a process of its own, and counts its cells. */
async function stand(backend: BackendName, wanted: readonly FaultName[]): Promise<void> {
  const file = join(import.meta.dirname, 'stand-process.ts')
  const child = spawn(process.execPath, [file, backend, wanted.join(), features!.join()], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.add(child)
  const ended = once(child, 'close') as Promise<[number | null]>
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const left = new Set(wanted)
  for await (const text of createInterface({ input: child.stdout })) {
    const line = JSON.parse(text) as Line
    if (line.kind === 'progress') console.log(`       ${backend}: ${line.text}`)
    else if (line.kind === 'logs') console.log(line.text)
    else {
      left.delete(line.fault)
      print(backend, line)
    }
  }
  const [code] = await ended
  children.delete(child)
  if (errors !== '') console.log(`${backend} said:\n${errors.trimEnd()}`)
  // What was not judged was not held.
  failed += left.size * features!.length
  if (code !== 0 || left.size > 0) console.log(`FAILED ${backend} ended with ${code} before ${[...left].join(', ')}`)
  if (code !== 0 && left.size === 0) failed++
}

function print(backend: BackendName, { fault, seconds, report }: Line & { kind: 'report' }): void {
  const bad = report.verdicts.filter(({ problems }) => problems.length > 0)
  passed += report.verdicts.length - bad.length
  failed += bad.length
  // It is of the fault as a whole, and counts as a cell of its own.
  if (report.problems.length > 0) failed++
  else passed++
  const recovered = Math.max(0, ...report.verdicts.map(({ recoveredAfterMs = 0 }) => recoveredAfterMs))
  const { during, after } = report.attempts
  console.log(
    `${bad.length + report.problems.length === 0 ? 'ok    ' : 'FAILED'} ${backend}, ${fault}: ${report.verdicts.length} features in ${seconds} s; well again after ${(recovered / 1000).toFixed(1)} s; at most ${during} connections tried in a second meanwhile, ${after} then`,
  )
  for (const problem of report.problems) console.log(`       ${problem}`)
  for (const { feature, uses, slowestMs, recoveredAfterMs, problems } of values.verbose ? report.verdicts : bad) {
    const figures = `${uses} uses, slowest meanwhile ${Math.round(slowestMs)} ms, last refused ${Math.round(recoveredAfterMs ?? 0)} ms after`
    console.log(`       ${feature.padEnd(13)} ${figures}`)
    for (const problem of problems) console.log(`         ${problem}`)
  }
}

// What `npm test` runs, as a stage of its own: a run takes all of a small machine, and tests beside it would be late.
// Six pairs that cover every store and every queue, and the builds that such a run must find.
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { QueueName, StoreName } from './backends/backend.ts'
import type { Verdict } from './checker.ts'
import type { BrokenBuild } from './processes/broken.ts'
import { runChaos } from './run-chaos.ts'

const SEED = 20_261_123
const SECONDS = 20

const PAIRS: readonly (readonly [StoreName, QueueName])[] = [
  ['sqlite', 'store'],
  ['postgres', 'store'],
  ['postgres', 'rabbitmq'],
  ['postgres', 'kafka'],
  ['dynamodb', 'sqs'],
  ['dynamodb', 'rabbitmq'],
]
/** What each broken build must be found by: one of these. */
const FOUND_BY: Readonly<Record<BrokenBuild, readonly string[]>> = {
  'no-fence': ['a task ends once', "the result is the holder's", 'steps are recorded once'],
  'ack-before-commit': ['a task stays readable'],
  'no-sweeper': ['every acknowledged task ends'],
  'lease-not-renewed': ['undisturbed workers keep their tasks'],
}

// Not in the temporary folder, which goes with the run: what failed is to be looked at.
const dir = join(import.meta.dirname, '../../node_modules/.cache', `holdfast-chaos-${process.pid}`)
await mkdir(dir, { recursive: true })
let passed = 0
let failed = 0

/** Runs one, and says what came of it. @param judge what is wrong with its verdict */
async function one(
  name: string,
  settings: { store: StoreName; queue: QueueName; build?: BrokenBuild },
  judge: (verdict: Verdict) => readonly string[],
): Promise<void> {
  const startedMs = performance.now()
  const history = join(dir, `${name}.jsonl`)
  let wrong: readonly string[]
  let about = ''
  try {
    const verdict = await runChaos({ ...settings, seed: SEED, seconds: SECONDS, history })
    const { tasks, claims, takeovers, crashPoints } = verdict.counts
    about = `${tasks} tasks, ${claims} claims, ${takeovers} taken over, ${crashPoints} crash points`
    wrong = judge(verdict)
  } catch (error) {
    wrong = [String((error as Error).stack)]
  }
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(0)
  console.log(`${wrong.length === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds} s): ${about}`)
  for (const problem of wrong) console.log(`       ${problem}`)
  if (wrong.length > 0) console.log(`       history and logs: ${history}*`)
  if (wrong.length === 0) passed++
  else failed++
}

for (const [store, queue] of PAIRS) await one(`${store}+${queue}`, { store, queue }, ({ problems }) => problems)
for (const [build, names] of Object.entries(FOUND_BY))
  await one(`broken: ${build}`, { store: 'sqlite', queue: 'store', build: build as BrokenBuild }, ({ problems }) =>
    problems.some((problem) => names.some((name) => problem.startsWith(`${name}: `)))
      ? []
      : [`was not found by "${names.join('" or "')}", but by ${JSON.stringify(problems.slice(0, 5))}`],
  )
if (failed === 0) await rm(dir, { recursive: true, force: true })
console.log(`chaos: ${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1

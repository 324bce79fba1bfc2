// `npm run chaos`: see the help text.
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { QUEUES, STORES, type QueueName, type StoreName } from './backends/backend.ts'
import type { Verdict } from './checker.ts'
import { BROKEN, type BrokenBuild } from './processes/broken.ts'
import { crashPointNames } from './nemesis.ts'
import { runChaos } from './run-chaos.ts'

/** One cause has many effects. */
const MAX_SHOWN = 25

const HELP = `Runs nodes, workers and clients on real servers, breaks one thing after the other, and judges what happened by a
history that is written on the way.

Usage: npm run chaos -- [options]

  --store <name>      ${STORES.join(', ')} (default sqlite)
  --queue <name>      ${QUEUES.join(', ')} (default store: the store's own bell)
  --all               every pair of them, one after the other
  --minutes <n>       how long faults go on, for each pair (default 1)
  --seed <n>          decides which faults come when, and what tasks do (default: by the clock)
  --broken <build>    a build that lacks something, which must be found: ${Object.keys(BROKEN).join(', ')}
  --history <file>    where the history is kept (default: a new folder; its path is printed)
  --json              a line of JSON for each pair
  --help              print this

Crash points: ${crashPointNames().join(', ')}.
Exit code: 0 if no invariant was broken, faults hit tasks in flight, and tasks were taken over; else 1. See docs/design/chaos.md.`

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'sqlite' },
    queue: { type: 'string', default: 'store' },
    all: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    broken: { type: 'string' },
    history: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  console.log(HELP)
  process.exit(0)
}
const [minutes, seed] = [Number(values.minutes), Number(values.seed)]
const isKnown =
  STORES.includes(values.store as StoreName) &&
  QUEUES.includes(values.queue as QueueName) &&
  (values.broken === undefined || Object.hasOwn(BROKEN, values.broken)) &&
  !(values.all && values.history !== undefined)
if (!isKnown || !(minutes > 0) || !Number.isSafeInteger(seed)) {
  console.error(HELP)
  process.exit(2)
}

const dir = await mkdtemp(join(tmpdir(), 'holdfast-chaos-'))
// What was started ends with this process, however it ends: its watchdog sees to that.
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    clearLine()
    console.error(`Stopped by ${signal}; histories are in ${dir}.`)
    process.exit(130)
  })

const pairs: { store: StoreName; queue: QueueName }[] = values.all
  ? STORES.flatMap((store) => QUEUES.map((queue) => ({ store, queue })))
  : [{ store: values.store as StoreName, queue: values.queue as QueueName }]
let bad = 0
for (const pair of pairs) {
  const name = `${pair.store}+${pair.queue}`
  const history = values.history === undefined ? join(dir, `${name}.jsonl`) : resolve(values.history)
  if (!values.json) console.log(`${name}: seed ${seed}, history ${history}`)
  try {
    const verdict = await runChaos({
      ...pair,
      seed,
      history,
      seconds: minutes * 60,
      build: values.broken as BrokenBuild | undefined,
      onProgress: progress,
    })
    clearLine()
    print(name, history, verdict)
    if (verdict.problems.length > 0) bad++
  } catch (error) {
    clearLine()
    console.error(`${name}: ${(error as Error).stack}`)
    bad++
  }
}
console.log(`${pairs.length - bad} passed, ${bad} failed`)
process.exitCode = bad === 0 ? 0 : 1

function progress(line: string): void {
  if (process.stderr.isTTY && !values.json)
    process.stderr.write(`\r\u001B[2K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`)
}
function clearLine(): void {
  if (process.stderr.isTTY && !values.json) process.stderr.write('\r\u001B[2K')
}

function print(pair: string, history: string, { problems, counts, faults }: Verdict): void {
  if (values.json) return console.log(JSON.stringify({ pair, seed, minutes, history, problems, counts, faults }))
  for (const [name, count] of Object.entries(counts)) console.log(`  ${name.padEnd(20)} ${count}`)
  console.log('  faults, and tasks in flight that they hit:')
  for (const [name, { times, failed, hits }] of Object.entries(faults))
    console.log(
      `    ${name.padEnd(56)} ${String(times).padStart(4)} × ${String(hits).padStart(5)}${failed > 0 ? `  (${failed} could not be done)` : ''}`,
    )
  for (const problem of problems.slice(0, MAX_SHOWN)) console.log(`  PROBLEM ${problem}`)
  if (problems.length > MAX_SHOWN) console.log(`  and ${problems.length - MAX_SHOWN} more: --json shows all`)
}

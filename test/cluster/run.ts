// `npm run test:cluster`: load and faults for as long as is asked.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { FAULTS, runChaos } from './chaos.ts'
import { startTestCluster } from './cluster.ts'
import { History } from './history.ts'

const HELP = `Runs three nodes and a Redis under load, breaks one thing after the other, and judges what clients saw.

Usage: npm run test:cluster -- [options]

  --minutes <n>        how long (default 5)
  --seed <n>           decides what is broken when (default: by the clock)
  --fault <name>       this fault alone; may be repeated. Default: all of them
  --proxy <name>       round-robin (default) or haproxy
  --history <file>     keep the history there
  --help               print this

Faults: ${Object.keys(FAULTS).join(', ')}.
Exit code: 0 if no client saw more than an error that says retry and every retry succeeded, else 1.`

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    fault: { type: 'string', multiple: true, default: Object.keys(FAULTS) },
    proxy: { type: 'string', default: 'round-robin' },
    history: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  console.log(HELP)
  process.exit(0)
}
const unknown = values.fault.filter((name) => !Object.hasOwn(FAULTS, name))
const [minutes, seed] = [Number(values.minutes), Number(values.seed)]
const isProxy = values.proxy === 'round-robin' || values.proxy === 'haproxy'
if (unknown.length > 0 || !(minutes > 0) || !Number.isSafeInteger(seed) || !isProxy) {
  console.error(HELP)
  process.exit(2)
}

const dir = await mkdtemp(join(tmpdir(), 'holdfast-cluster-'))
try {
  await using cluster = await startTestCluster({
    definition: resolve(import.meta.dirname, 'fixture.ts'),
    proxy: values.proxy as 'round-robin' | 'haproxy',
  })
  const startedMs = performance.now()
  const onFault = (name: string): void =>
    console.log(`${((performance.now() - startedMs) / 1000).toFixed(0).padStart(5)} s  ${name}`)
  console.log(`seed ${seed}`)
  const history = new History(values.history === undefined ? join(dir, 'history') : resolve(values.history))
  const verdict = await runChaos(cluster, history, {
    seed,
    faults: values.fault,
    durationMs: minutes * 60_000,
    onFault,
  })
  const { problems, ...counts } = verdict
  console.log(JSON.stringify(counts, null, 2))
  for (const problem of problems) console.log(`PROBLEM ${problem}`)
  if (problems.length > 0)
    for (const [index, node] of cluster.nodes.entries()) console.log(`--- node ${index + 1}\n${node.process.log()}`)
  console.log(
    `${Object.values(counts.operations).reduce((sum, { ok }) => sum + ok, 0)} passed, ${problems.length} failed`,
  )
  process.exitCode = problems.length === 0 ? 0 : 1
} finally {
  await rm(dir, { recursive: true, force: true })
}

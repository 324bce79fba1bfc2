// A process of its own for each backend: `node stand-process.ts BACKEND FAULT,… FEATURE,…`. Tells what comes of each fault in a
// line of JSON on standard output.
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startRedis } from '../servers/redis.ts'
import { startToxiproxy } from '../servers/toxiproxy.ts'
import { guard, release } from '../servers/watchdog.ts'
import type { BackendName } from './backend.ts'
import { BACKENDS } from './backends/index.ts'
import type { FaultName } from './faults.ts'
import type { FeatureName } from './features.ts'
import { startNodes } from './nodes.ts'
import { runFault, type FaultReport } from './run-fault.ts'

/** A line that this process writes. */
export type Line =
  | { readonly kind: 'progress'; readonly text: string }
  | { readonly kind: 'report'; readonly fault: FaultName; readonly seconds: number; readonly report: FaultReport }
  /** Whatever nodes have logged, where something was wrong. */
  | { readonly kind: 'logs'; readonly text: string }

const LOG_TAIL = 4000
/**
 * A call that needs nothing takes a few milliseconds. Where one took so long, nothing that was late says anything, and the fault is
 * tried again; a node that is at fault itself is late each time.
 */
const STARVED_MS = 500
const TURNS = 3
/** What nodes have in files lies in memory where that can be had: a disk that is busy would look like a fault. */
const MEMORY = '/dev/shm'
const tell = (line: Line): boolean => process.stdout.write(`${JSON.stringify(line)}\n`)

async function main(name: BackendName, faults: readonly FaultName[], features: readonly FeatureName[]): Promise<void> {
  const backend = BACKENDS[name]
  await using stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'holdfast-faults-'))
  guard({ folder: dir })
  stack.defer(async () => {
    await rm(dir, { recursive: true, force: true })
    await release({ folder: dir })
  })
  tell({ kind: 'progress', text: 'starts' })
  const [toxiproxy, redis] = await Promise.all([startToxiproxy(), startRedis()])
  stack.use(toxiproxy)
  stack.use(redis)
  const stand = await backend.start(toxiproxy, stack)
  // What is not broken: a Redis, and files that both nodes have.
  const healthy = {
    state: redis.url,
    artifacts: `file:${join(dir, 'artifacts')}`,
    tasks: `sqlite:${join(dir, 'tasks.db')}`,
  }
  const nodes = stack.use(await startNodes(dir, { ...healthy, ...stand.options }))
  for (const fault of faults) {
    const startedMs = performance.now()
    let report: FaultReport
    for (let turn = 1; ; turn++) {
      tell({ kind: 'progress', text: fault })
      report = await runFault({ backend, stand, fault, features, nodes })
      if (!hasProblems(report) || !(report.controlMs > STARVED_MS) || turn === TURNS) break
      const late = `${Math.round(report.controlMs)} ms for a call that needs nothing`
      tell({ kind: 'progress', text: `${fault} again: the machine had no time (${late})` })
    }
    const seconds = Math.round((performance.now() - startedMs) / 1000)
    tell({ kind: 'report', fault, seconds, report })
    if (hasProblems(report))
      tell({ kind: 'logs', text: nodes.all.map((node) => node.log().slice(-LOG_TAIL)).join('\n---\n') })
  }
}

const hasProblems = ({ problems, verdicts }: FaultReport): boolean =>
  problems.length + verdicts.flatMap((verdict) => verdict.problems).length > 0

const [, , name, faults, features] = process.argv
await main(name as BackendName, faults!.split(',') as FaultName[], features!.split(',') as FeatureName[])

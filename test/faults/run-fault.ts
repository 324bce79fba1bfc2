// One fault of one backend, under load.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Backend, Stand } from './backend.ts'
import { cellOf } from './cells.ts'
import { breakLinks, type FaultName } from './faults.ts'
import type { FeatureName } from './features.ts'
import { judge, judgeAttempts, type Verdict } from './judge.ts'
import { Load } from './load.ts'
import { Attempts, type FaultNodes } from './nodes.ts'

/** What a run is about. */
export interface FaultRun {
  readonly backend: Backend
  readonly stand: Stand
  readonly fault: FaultName
  readonly features: readonly FeatureName[]
  readonly nodes: FaultNodes
}

/** What came of it. */
export interface FaultReport {
  readonly verdicts: readonly Verdict[]
  /** What is wrong with no single feature. */
  readonly problems: readonly string[]
  readonly attempts: { readonly during: number; readonly after: number }
  /** The longest of the calls that need nothing: so late was the machine. */
  readonly controlMs: number
}

/** Everything works, and soon, before it is broken; the first uses on a busy machine may take their time. */
const FIRST_USES_MS = 30_000
const FIRST_USES = 2
const SOON_MS = 1500
/** A first time-out, and then as long again in which the fault is known. */
const faultMs = ({ boundMs }: Backend): number => boundMs + 2500
/** Everything is well again for so long. */
const WELL_USES = 3
const POLL_MS = 100
/** What was begun so long before the fault is under way, and not over. */
const UNDER_WAY_MS = 500
/** What is noticed of a fault after so long has been noticed. */
const NOTICED_MS = 500

/** Breaks the backend, mends it, waits until all is well, and judges. */
export async function runFault({ backend, stand, fault, features, nodes }: FaultRun): Promise<FaultReport> {
  await using stack = new AsyncDisposableStack()
  using attempts = new Attempts(stand.links.map(({ port }) => port))
  const load = await Load.start(features, nodes, stack, backend.pace)
  const firstUses = () => features.map((feature) => load.lastOf(feature, 0, FIRST_USES))
  const isSettled = (): boolean =>
    firstUses().every(
      (uses) =>
        uses.length === FIRST_USES &&
        uses.every(({ code, startMs, endMs }) => code === 'ok' && endMs - startMs < SOON_MS),
    )
  for (const limitMs = performance.now() + FIRST_USES_MS; !isSettled() && performance.now() < limitMs;)
    await sleep(POLL_MS)
  const settledMs = Math.min(...firstUses().flatMap((uses) => uses.map(({ startMs }) => startMs)))
  for (const feature of features) if (cellOf(feature, backend).goesOn === true) load.use(feature)
  await sleep(UNDER_WAY_MS)
  const beganMs = performance.now()
  const heal = await breakLinks(stand.links, fault)
  let endedMs: number
  try {
    await sleep(faultMs(backend))
  } finally {
    endedMs = performance.now()
    await heal()
  }
  const isWell = (): boolean =>
    features.every((feature) => {
      const last = load.lastOf(feature, endedMs, WELL_USES)
      return last.length === WELL_USES && last.every(({ code }) => code === 'ok')
    })
  // As long again: whatever is not well by then is told by the judge.
  const untilMs = endedMs + 2 * backend.recoverMs + 2000
  while (!isWell() && performance.now() < untilMs) await sleep(POLL_MS)
  await load.stop()
  const seen = {
    fault,
    settledMs,
    beganMs,
    endedMs,
    records: load.records,
    attempts: {
      during: attempts.mostInASecond(beganMs + NOTICED_MS, endedMs),
      after: attempts.mostInASecond(endedMs, Infinity),
    },
  }
  const control = load.records.filter(({ feature, startMs }) => feature === 'call' && startMs >= settledMs)
  return {
    verdicts: features.map((feature) => judge(feature, seen, backend)),
    problems: judgeAttempts(seen, backend),
    attempts: seen.attempts,
    controlMs: Math.max(...control.map(({ startMs, endMs }) => endMs - startMs)),
  }
}
